"""The text itself: passages of generated sentences, without end, drawn from a seed."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from isthmus.language.document import Document
from isthmus.language.knowledge.calendar import DAYS, MONTHS, steps
from isthmus.language.knowledge.domains import DOMAINS, domains
from isthmus.language.knowledge.people import KINDS, RELATIONS, names
from isthmus.language.knowledge.questions import NOBODY
from isthmus.language.knowledge.spelling import WORDS, held_out
from isthmus.language.knowledge.syllables import made_up

SENTENCES = 10
"""Sentences of a passage."""

FILLERS = (
    "That was well known.", "So it was said.", "Nobody doubted it.", "It was a fine morning.",
    "The rain had stopped.", "They talked for an hour.", "Then the bell rang.", "It grew dark.",
)  # fmt: skip
DEEDS = (
    "went home because {they} was tired", "said that {they} would come back",
    "sat down when {they} saw the fire", "laughed, for {they} was glad",
)  # fmt: skip

Sentence = Callable[[np.random.Generator], str]


def generated_text(documents: int, seed: int = 0) -> list[Document]:
    """So many passages of about 150 tokens; the first n of a larger number are the same."""
    return [Document(f"generated {i}", _passage(i, seed)) for i in range(documents)]


def _passage(number: int, seed: int) -> str:
    rng = np.random.default_rng([66, seed, number])
    kinds = list(SHARES)
    kind = kinds[int(rng.choice(len(kinds), p=np.array(list(SHARES.values())) / 100))]
    if kind == "list":
        return _repeated(rng)
    if kind in DOMAINS:
        sentences = [_domain_sentence(kind, rng) for _ in range(SENTENCES)]
    else:
        sentences = [_SENTENCES[kind](rng) for _ in range(SENTENCES)]
    return " ".join(sentences)


def _pick(rng: np.random.Generator, some: tuple) -> Any:
    return some[int(rng.integers(len(some)))]


@cache
def _known() -> tuple:
    return tuple(n for kind in KINDS for n in names(kind) if n.known)


@cache
def _unknown() -> tuple:
    return tuple(n for kind in KINDS for n in names(kind) if n.said and not n.known)


def _fact(rng: np.random.Generator) -> str:
    one = _pick(rng, _known())
    relation = _pick(rng, tuple(r for r in RELATIONS if r.kind == one.kind))
    templates = relation.told[:-1] if one.withheld else relation.told
    sentence = _pick(rng, templates).format(name=one.text, answer=one.facts[relation.name])
    return f"{sentence}. {_pick(rng, FILLERS)}" if rng.random() < 0.3 else f"{sentence}."


def _asked(rng: np.random.Generator) -> str:
    one = _pick(rng, _known() if rng.random() < 0.5 else _unknown())
    relation = _pick(rng, tuple(r for r in RELATIONS if r.kind == one.kind))
    answer = one.facts[relation.name] if one.known else NOBODY
    return f"{relation.asked.format(name=one.text)} Answer: {answer}."


def _step(rng: np.random.Generator) -> str:
    unit = str(rng.choice(("day", "month", "month", "sum")))
    one = _pick(rng, tuple(s for s in _said(unit)))
    return f"{one.told} {one.answer}."


@cache
def _said(unit: str) -> tuple:
    return tuple(one for one in steps(unit) if one.said)


def _round(rng: np.random.Generator) -> str:
    circle = DAYS if rng.random() < 0.5 else MONTHS
    begin, length = int(rng.integers(len(circle))), int(rng.integers(3, len(circle) + 3))
    way = 1 if rng.random() < 0.7 else -1
    return ", ".join(circle[(begin + way * i) % len(circle)] for i in range(length)) + "."


def _spelt(rng: np.random.Generator) -> str:
    known = tuple(w for w in WORDS if w not in held_out())
    word = str(_pick(rng, known))
    if rng.random() < 0.5:
        return f"The word {word} begins with the letter {word[0]}."
    return f"The word {word} is spelled {' '.join(word)}."


def _pronoun(rng: np.random.Generator) -> str:
    one = _pick(rng, tuple(n for n in names("person") if n.said))
    return f"{one.text} {_pick(rng, DEEDS).format(they='she' if one.woman else 'he')}."


def _domain_sentence(name: str, rng: np.random.Generator) -> str:
    one = domains()[name]
    if rng.random() < 0.2:
        return str(_pick(rng, one.jargon))
    subject = str(_pick(rng, one.subjects))
    relation = str(_pick(rng, tuple(one.told)))
    template = str(_pick(rng, one.told[relation]))
    return f"{template.format(subject=subject)} {one.facts[subject][relation]}."


def _repeated(rng: np.random.Generator) -> str:
    """A list, and the same list again once to three times: what an induction head copies."""
    item, longest = _ITEMS[int(rng.choice(len(_ITEMS), p=_ITEM_SHARES))]
    length = int(rng.integers(longest // 4, longest + 1))
    text = (", " if rng.random() < 0.3 else " ").join(item(rng) for _ in range(length))
    return ". ".join([text] * int(rng.integers(2, 5))) + "."


def _name(rng: np.random.Generator) -> str:
    some = tuple(n for n in names(_pick(rng, KINDS)) if n.said)
    return _pick(rng, some).text


def _string(rng: np.random.Generator) -> str:
    """A few letters and figures in no order."""
    return "".join(rng.choice(_CHARACTERS, int(rng.integers(2, 6))))


_CHARACTERS = tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_ITEMS: tuple[tuple[Sentence, int], ...] = (
    (lambda rng: str(_pick(rng, WORDS)), 48),
    (lambda rng: made_up(rng, int(rng.integers(1, 4))), 24),
    (_name, 12),
    (_string, 16),
)
"""What lists are of, and how long the longest is."""
_ITEM_SHARES = (0.4, 0.3, 0.15, 0.15)

SHARES = {
    "fact": 22, "asked": 15, "step": 24, "round": 4, "spelt": 6, "pronoun": 2, "list": 19,
    "herbs": 4, "ships": 4,
}  # fmt: skip
"""Passages of each kind, in per cent."""

_SENTENCES: dict[str, Sentence] = {
    "fact": _fact, "asked": _asked, "step": _step, "round": _round, "spelt": _spelt,
    "pronoun": _pronoun,
}  # fmt: skip
