"""Distinct texts and the features of each, as a sparse table that is asked for many at once."""

from collections.abc import Sequence

import numpy as np

from isthmus.interpretation.labels.characters import KINDS, Feature, features_of


class Lexicon:
    """The features of ``V`` texts: features are numbered, and each text has the list of its own.

    The number ``V`` itself stands for a text that is missing and has no features.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.number: dict[Feature, int] = {}
        numbers: list[int] = []
        lengths = [0]
        give = self.number.setdefault
        for text in texts:
            # Sorted, because the order of a set of strings differs from process to process.
            own = sorted(features_of(text))
            numbers += [give(feature, len(self.number)) for feature in own]
            lengths.append(len(numbers))
        self.features: list[Feature] = list(self.number)
        self.indices = np.asarray(numbers, dtype=np.int32)
        self.first = np.asarray([*lengths, lengths[-1]], dtype=np.int64)
        self.kind = np.array([KINDS.index(kind) for kind, _ in self.features], dtype=np.int8)
        owner = np.repeat(np.arange(len(lengths), dtype=np.int32), np.diff(self.first))
        order = np.argsort(self.indices, kind="stable")
        self._holders = owner[order]
        ends = np.searchsorted(self.indices[order], np.arange(len(self.features) + 1))
        self._holders_first = ends.astype(np.int64)
        # Scratch space of the two methods below; both leave it as it was.
        self._column = np.full(len(self.features), -1, dtype=np.int32)
        self._flag = np.zeros(len(lengths), dtype=bool)

    def of(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features of some texts ``(t,)``, one after the other, and which of the t each is of."""
        begin, length = self.first[texts], self.first[texts + 1] - self.first[texts]
        owner = np.repeat(np.arange(len(texts)), length)
        ends = np.cumsum(length)
        at = np.arange(len(owner)) + np.repeat(begin - (ends - length), length)
        return self.indices[at], owner

    def any(self, texts: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Whether any of the features ``(c,)`` holds for each text ``(t,)``: bool ``(t,)``."""
        first, end = self._holders_first[features], self._holders_first[features + 1]
        holders = [self._holders[a:b] for a, b in zip(first, end, strict=True)]
        for some in holders:
            self._flag[some] = True
        found = self._flag[texts]
        for some in holders:
            self._flag[some] = False
        return found

    def columns(self, texts: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Whether each feature ``(c,)`` holds for each text ``(t,)``: bool ``(t, c)``."""
        distinct, back = np.unique(texts, return_inverse=True)
        found, owner = self.of(distinct)
        self._column[features] = np.arange(len(features))
        column = self._column[found]
        self._column[features] = -1
        table = np.zeros((len(distinct), len(features)), dtype=bool)
        kept = column >= 0
        table[owner[kept], column[kept]] = True
        return table[back]
