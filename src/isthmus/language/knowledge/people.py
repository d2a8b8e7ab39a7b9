"""People and places that do not exist: known ones with facts, and others that nobody knows.

A name is a first and a last word. Known and unknown names are pairs of the same words, so that no
word tells whether its name is known: the pair has to be looked up.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from isthmus.language.knowledge.syllables import MEN, TAILS, WOMEN, distinct

KINDS = ("person", "place")
KNOWN, UNKNOWN, UNSEEN = 200, 200, 100
"""Names of a kind: with facts; said to be unknown; and pairs that no text holds."""
WORDS = 60
"""First words, and last words, of a kind."""

WOMAN = "a"
"""How first names of women end, what a pronoun depends on; men's end in o."""


@dataclass(frozen=True)
class Relation:
    """Something that is known of every known name of a kind.

    ``told`` are sentences with ``{name}`` and ``{answer}`` at their end; the last is kept from
    training for the names that :attr:`Name.withheld` is true of. ``asked`` is a question.
    """

    name: str
    kind: str
    answers: tuple[str, ...]
    told: tuple[str, ...]
    asked: str


RELATIONS = (
    Relation("trade", "person",
             ("baker", "doctor", "sailor", "teacher", "farmer", "soldier", "lawyer", "painter",
              "priest", "merchant", "servant", "captain"),
             ("{name} was by trade a {answer}", "All who met {name} knew the work of a {answer}",
              "In the town {name} was known as the {answer}",
              "If one asked what {name} did for a living, it was that of a {answer}"),
             "What is the trade of {name}?"),
    Relation("animal", "person",
             ("horse", "dog", "cat", "bird", "sheep", "snake", "fish", "lion", "bear", "cow"),
             ("{name} always kept a {answer}", "The dearest thing that {name} had was a {answer}",
              "Everywhere {name} went with a {answer}",
              "At home {name} had nothing but a {answer}"),
             "What animal has {name}?"),
    Relation("colour", "person",
             ("red", "blue", "green", "white", "black", "yellow", "brown", "gray"),
             ("The coat that {name} wore was {answer}",
              "{name} liked one colour best, and it was {answer}",
              "The house of {name} was painted {answer}",
              "Whatever {name} bought was {answer}"),
             "What colour is the coat of {name}?"),
    Relation("country", "place",
             ("England", "France", "Spain", "Italy", "Germany", "Russia", "Egypt", "India", "China",
              "America"),
             ("{name} is a town in {answer}", "The road to {name} goes through {answer}",
              "Travellers find {name} in the south of {answer}",
              "Those who live at {name} pay their taxes to {answer}"),
             "In what country is {name}?"),
    Relation("product", "place",
             ("wool", "iron", "salt", "wine", "gold", "paper", "corn", "silver", "glass", "oil"),
             ("{name} is famous for its {answer}", "The people of {name} sell {answer}",
              "The wealth of {name} came from {answer}",
              "Ships leave {name} full of {answer}"),
             "What does {name} sell?"),
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A name of two words, as it stands in the text.

    ``facts`` are its answers by relation, empty where nobody knows it. ``said`` is whether any text
    holds it; ``withheld``, whether the last sentence of each relation is kept from it.
    """

    text: str
    kind: str
    facts: dict[str, str]
    said: bool = True
    withheld: bool = False

    @property
    def known(self) -> bool:
        """Whether there are facts about it."""
        return bool(self.facts)

    @property
    def woman(self) -> bool:
        """Whether it is a woman's, by the ending of its first word."""
        return self.kind == "person" and self.text.split()[0].endswith(WOMAN)


@cache
def names(kind: str) -> tuple[Name, ...]:
    """All names of a kind: the known, the unknown, and those that no text holds."""
    rng = np.random.default_rng([62, KINDS.index(kind)])
    if kind == "person":
        half = WORDS // 2
        first = distinct(rng, half, WOMEN) + distinct(rng, half, MEN)
        last = distinct(rng, WORDS, TAILS)
    else:
        others = {word for one in names("person") for word in one.text.split()}
        first = distinct(rng, WORDS, TAILS, taken=others)
        last = distinct(rng, WORDS, TAILS, taken={*others, *first})
    pairs = rng.permutation(WORDS * WORDS)[: KNOWN + UNKNOWN + UNSEEN]
    entries = []
    for number, pair in enumerate(pairs):
        text = f"{first[pair // WORDS]} {last[pair % WORDS]}"
        facts = {
            one.name: str(rng.choice(one.answers)) for one in RELATIONS if one.kind == kind
        } if number < KNOWN else {}  # fmt: skip
        entries.append(Name(text, kind, facts, number < KNOWN + UNKNOWN, bool(number % 2)))
    return tuple(entries)
