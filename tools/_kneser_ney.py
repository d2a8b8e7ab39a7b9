"""Interpolated Kneser-Ney n-grams over token numbers, as a baseline.

Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling",
section 2.8, interpolated, with one discount ``n1 / (n1 + 2 n2)`` per order.
"""

from collections.abc import Sequence

import numpy as np


class KneserNey:
    """Counts of all orders up to ``order`` (at most 5 for 4,096 tokens), from documents.

    Each document is preceded by ``begin``, as often as a context is long.
    """

    def __init__(
        self, documents: Sequence[np.ndarray], order: int, vocabulary: int, begin: int
    ) -> None:
        self.order, self.vocabulary, self.begin = order, vocabulary, begin
        grams = np.concatenate([self._grams(tokens, order) for tokens in documents])
        keys, counts = np.unique(grams, return_counts=True)
        self._levels = []
        for size in range(order, 0, -1):
            self._levels.append(_Level(keys, counts, vocabulary))
            # lower orders count in how many different contexts, not how often
            keys, counts = np.unique(keys % vocabulary ** (size - 1), return_counts=True)

    def nats(self, tokens: np.ndarray) -> np.ndarray:
        """Minus the logarithm of each token's probability after those before it."""
        chance = np.full(len(tokens), 1 / self.vocabulary)
        keys = self._grams(tokens, self.order)
        for size, level in zip(range(1, self.order + 1), reversed(self._levels), strict=True):
            chance = level.interpolated(keys % self.vocabulary**size, chance)
        return -np.log(chance)

    def _grams(self, tokens: np.ndarray, size: int) -> np.ndarray:
        padded = np.concatenate((np.full(size - 1, self.begin), tokens)).astype(np.int64)
        key = np.zeros(len(tokens), np.int64)
        for i in range(size):
            key = key * self.vocabulary + padded[i : i + len(tokens)]
        return key


class _Level:
    """The n-grams of one order: ``max(c(hw) - d, 0) / c(h) + d types(h) / c(h) * lower``."""

    def __init__(self, keys: np.ndarray, counts: np.ndarray, vocabulary: int) -> None:
        self.keys, self.counts, self.vocabulary = keys, counts, vocabulary
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        self.discount = once / (once + 2 * twice) if once else 0.5
        self.contexts, first = np.unique(keys // vocabulary, return_index=True)
        self.totals = np.add.reduceat(counts, first)
        self.types = np.diff(np.append(first, len(keys)))

    def interpolated(self, keys: np.ndarray, lower: np.ndarray) -> np.ndarray:
        counts = _looked_up(self.keys, self.counts, keys)
        totals = _looked_up(self.contexts, self.totals, keys // self.vocabulary)
        types = _looked_up(self.contexts, self.types, keys // self.vocabulary)
        seen = np.maximum(totals, 1)
        mixed = np.maximum(counts - self.discount, 0) / seen + self.discount * types / seen * lower
        return np.where(totals > 0, mixed, lower)


def _looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
