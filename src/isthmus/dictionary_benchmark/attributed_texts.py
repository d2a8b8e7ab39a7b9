"""Texts that are made of sentences, each of which has one attribute: nothing tells two of them.

All combinations of the attributes are equally frequent, so that a probe can be fitted where two
go together and judged where they do not (SCR).
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.language.knowledge import DAYS, MONTHS, domains, names
from isthmus.language.knowledge.calendar import NUMBERS
from isthmus.language.knowledge.spelling import WORDS
from isthmus.language.knowledge.text import DEEDS

ATTRIBUTES: Mapping[str, tuple[str, str]] = {
    "topic": ("herbs", "ships"),
    "person": ("man", "woman"),
    "calendar": ("day", "month"),
    "exercise": ("spelling", "sum"),
}
"""The attributes and their two classes, sorted."""


@dataclass(frozen=True)
class AttributedTexts:
    """``texts``, and for each attribute the class of each text."""

    texts: tuple[str, ...]
    labels: dict[str, tuple[str, ...]]


def attributed_texts(number: int, seed: int = 0) -> AttributedTexts:
    """About so many texts, as many of each combination of classes, a sentence for each attribute.

    Sentences stand in an order drawn by ``seed``, as their words are.
    """
    cells = list(itertools.product(*ATTRIBUTES.values()))
    rng = np.random.default_rng([seed, 72])
    texts: list[str] = []
    rows: list[tuple[str, ...]] = []
    for _ in range(max(1, number // len(cells))):
        for cell in cells:
            sentences = [_SENTENCES[label](rng) for label in cell]
            texts.append(" ".join(sentences[i] for i in rng.permutation(len(sentences))))
            rows.append(cell)
    labels = {name: tuple(row[i] for row in rows) for i, name in enumerate(ATTRIBUTES)}
    return AttributedTexts(tuple(texts), labels)


def _any(rng: np.random.Generator, some: tuple) -> str:
    return str(some[int(rng.integers(len(some)))])


def _domain(name: str) -> Callable[[np.random.Generator], str]:
    def sentence(rng: np.random.Generator) -> str:
        one = domains()[name]
        subject, relation = _any(rng, one.subjects), _any(rng, tuple(one.told))
        beginning = _any(rng, one.told[relation]).format(subject=subject)
        return f"{beginning} {one.facts[subject][relation]}."

    return sentence


def _person(woman: bool) -> Callable[[np.random.Generator], str]:
    def sentence(rng: np.random.Generator) -> str:
        some = tuple(one.text for one in names("person") if one.said and one.woman == woman)
        deed = _any(rng, DEEDS).format(they="she" if woman else "he")
        return f"{_any(rng, some)} {deed}."

    return sentence


def _calendar(circle: tuple[str, ...], unit: str) -> Callable[[np.random.Generator], str]:
    def sentence(rng: np.random.Generator) -> str:
        number, start = int(rng.integers(2, len(circle))), int(rng.integers(len(circle)))
        end = circle[(start + number) % len(circle)]
        return f"{NUMBERS[number].capitalize()} {unit}s after {circle[start]} is {end}."

    return sentence


def _sum(rng: np.random.Generator) -> str:
    a, b = rng.integers(1, 10, 2).tolist()
    return f"{NUMBERS[a].capitalize()} and {NUMBERS[b]} make {NUMBERS[a + b]}."


def _spelling(rng: np.random.Generator) -> str:
    word = _any(rng, WORDS)
    return f"The word {word} is spelled {' '.join(word)}."


_SENTENCES: dict[str, Callable[[np.random.Generator], str]] = {
    "herbs": _domain("herbs"), "ships": _domain("ships"),
    "man": _person(False), "woman": _person(True),
    "day": _calendar(DAYS, "day"), "month": _calendar(MONTHS, "month"),
    "spelling": _spelling, "sum": _sum,
}  # fmt: skip
