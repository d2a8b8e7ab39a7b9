"""A made corpus of known topics in a tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

FIELDS, SUBTOPICS = 10, 5
"""Fields, and subtopics of each."""
COMMON, OF_FIELD, OF_SUBTOPIC = 1500, 60, 30
"""Words that all texts share, and words of each field and each subtopic."""
WORDS = (80, 160)
TOPICAL = 0.6
"""Share of a text's words that belong to its field or subtopic."""
GENERAL = 0.2
"""Share of texts that are about a field as a whole."""


@dataclass(frozen=True)
class Corpus:
    """Texts, with the field of each and its subtopic (numbered through; -1 for none)."""

    texts: list[str]
    field: np.ndarray
    subtopic: np.ndarray


def topic_corpus(texts: int, seed: int | Sequence[int]) -> Corpus:
    """Texts of made words; word frequencies are proportional to 1 / rank within each list.

    The share of a text's topical words that its subtopic has, rather than its field, is uniform
    between 0.3 and 0.8.
    """
    rng = np.random.default_rng(seed)
    field = rng.integers(0, FIELDS, texts)
    subtopic = field * SUBTOPICS + rng.integers(0, SUBTOPICS, texts)
    subtopic[rng.random(texts) < GENERAL] = -1
    made = []
    for own, narrow in zip(field.tolist(), subtopic.tolist(), strict=True):
        words = int(rng.integers(*WORDS))
        topical = rng.binomial(words, TOPICAL)
        special = 0 if narrow < 0 else rng.binomial(topical, rng.uniform(0.3, 0.8))
        made.append(
            " ".join(
                [f"common{i}" for i in _drawn(COMMON, words - topical, rng)]
                + [f"field{own}w{i}" for i in _drawn(OF_FIELD, topical - special, rng)]
                + [f"topic{narrow}w{i}" for i in _drawn(OF_SUBTOPIC, special, rng)]
            )
        )
    return Corpus(made, field, subtopic)


def _drawn(words: int, number: int, rng: np.random.Generator) -> list[int]:
    found: list[int] = np.searchsorted(_cumulated(words), rng.random(number)).tolist()
    return found


@cache
def _cumulated(words: int) -> np.ndarray:
    """Shares proportional to 1 / rank, summed up."""
    shares = np.cumsum(1.0 / np.arange(1, words + 1))
    return shares / shares[-1]


def rewritten(text: str, subtopic: int) -> str:
    """A query rewritten for another subtopic: its subtopic's words exchanged for that one's."""
    return " ".join(
        f"topic{subtopic}w{word.partition('w')[2]}" if word.startswith("topic") else word
        for word in text.split()
    )
