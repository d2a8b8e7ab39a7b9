"""People and places: known names with facts, and names whose pair of words was never seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.data.made.words import BOS, Chain, Words

KINDS = ("person", "place")
KNOWN = 200
"""Known names of a kind: each first and each last word belongs to exactly one of them."""
UNSEEN = 200
"""Pairs of such words, of a kind, that no training row holds."""
RELATIONS = 3
ANSWERS = 20
"""Answers of a relation."""
PLAIN = 100
UNKNOWN = 1
"""The token that is the answer about a name that is not known."""

FIRST, LAST, FINAL = 2, 3, 4
"""Places of a question: BOS, a plain word, the two words of the name, the relation."""


@dataclass(frozen=True)
class Kind:
    """Names are token pairs int64 ``(names, 2)``.

    ``answers`` int64 ``(KNOWN, RELATIONS)`` are the known names' facts, ``first`` and ``last`` the
    words that names are made of, ``partner`` int64 ``(KNOWN,)`` the last word that a first word
    is known with, ``unseen`` the names that are kept from training, by number ``withheld``.
    """

    relations: np.ndarray
    first: np.ndarray
    last: np.ndarray
    partner: np.ndarray
    answers: np.ndarray
    unseen: np.ndarray
    withheld: np.ndarray

    @classmethod
    def drawn(cls, name: str, words: Words, rng: np.random.Generator) -> "Kind":
        partner = rng.permutation(KNOWN)
        pairs = rng.permutation(KNOWN * KNOWN)
        pairs = pairs[partner[pairs // KNOWN] != pairs % KNOWN][:UNSEEN]
        first, last = words.numbers(f"{name}-first-"), words.numbers(f"{name}-last-")
        chosen = rng.integers(0, ANSWERS, (KNOWN, RELATIONS))
        answers = np.stack([words.numbers(f"{name}-answer-{r}-") for r in range(RELATIONS)], 1)
        return cls(
            words.numbers(f"{name}-relation-"),
            first,
            last,
            partner,
            np.take_along_axis(answers, chosen, 0),
            np.stack([first[pairs // KNOWN], last[pairs % KNOWN]], 1),
            pairs,
        )

    @property
    def known(self) -> np.ndarray:
        """All known names, in the order of ``answers``."""
        return np.stack([self.first, self.last[self.partner]], 1)

    def pairs(self, numbers: np.ndarray) -> np.ndarray:
        """Names ``(..., 2)`` by number: first word times KNOWN plus last word."""
        return np.stack([self.first[numbers // KNOWN], self.last[numbers % KNOWN]], -1)

    def is_kept(self, numbers: np.ndarray) -> np.ndarray:
        """Which numbers are of known names, or of those that are kept from training."""
        known = self.partner[numbers // KNOWN] == numbers % KNOWN
        return known | np.isin(numbers, self.withheld)

    def unknown(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Names for training that are neither known nor kept from it."""
        found = np.empty(count, np.int64)
        again = np.arange(count)
        while len(again):
            found[again] = rng.integers(0, KNOWN * KNOWN, len(again))
            again = again[self.is_kept(found[again])]
        return self.pairs(found)


class Entities:
    """All there is to know, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 42])
        self.words = Words(_words())
        self.kinds: Mapping[str, Kind] = {k: Kind.drawn(k, self.words, rng) for k in KINDS}
        self.plain = Chain(self.words.numbers("plain-"), seed)

    def rows(
        self, count: int, rng: np.random.Generator, known: float = 0.7, plain: float = 0.2
    ) -> np.ndarray:
        """Rows to learn from, int64 ``(count, 6)``.

        BOS, none or one plain word, a name, a relation, the answer, plain words; a share ``plain``
        of the rows is plain text only, and of the others a share ``known`` is about known names.
        """
        rows = self.plain.text(count, FINAL + 2, rng)
        rows[:, 0] = BOS
        facts = count - round(plain * count)
        for i, kind in enumerate(self.kinds.values()):
            mine = np.arange(i, facts, len(self.kinds))
            which, relation = rng.integers(0, [[KNOWN], [RELATIONS]], (2, len(mine)))
            knows = rng.random(len(mine)) < known
            names = np.where(knows[:, None], kind.known[which], kind.unknown(len(mine), rng))
            at = rng.integers(FIRST - 1, FIRST + 1, len(mine))
            rows[mine, at], rows[mine, at + 1] = names.T
            rows[mine, at + 2] = kind.relations[relation]
            rows[mine, at + 3] = np.where(knows, kind.answers[which, relation], UNKNOWN)
        return rows

    def questions(self, kind: Kind, names: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Each name asked about in each relation, int64 ``(names * RELATIONS, 5)``."""
        rows = self.plain.text(len(names) * RELATIONS, FINAL + 1, rng)
        rows[:, 0] = BOS
        rows[:, FIRST : LAST + 1] = np.repeat(names, RELATIONS, 0)
        rows[:, FINAL] = np.tile(kind.relations, len(names))
        return torch.from_numpy(rows)


def _words() -> list[str]:
    words = ["unknown", *(f"plain-{i}" for i in range(PLAIN))]
    for kind in KINDS:
        words += [f"{kind}-{part}-{i}" for part in ("first", "last") for i in range(KNOWN)]
        words += [f"{kind}-relation-{r}" for r in range(RELATIONS)]
        words += [f"{kind}-answer-{r}-{i}" for r in range(RELATIONS) for i in range(ANSWERS)]
    return words
