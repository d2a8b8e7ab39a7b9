"""Which tokens each latent fires on, by its activation mass."""

from itertools import pairwise

import numpy as np

from isthmus.interpretation.latents.entries import Entries, ranks, starts

KEPT = 128
"""Distinct tokens of one latent that are remembered."""

PENDING = 2**22
"""Sums of blocks that wait to be added up, 64 MiB."""


class TokenMass:
    """Sums of each latent's absolute values by token.

    Exact while no latent fires on more than :data:`KEPT` different tokens. A latent that does
    keeps its heaviest, and forgets the rest now and then: a token that was forgotten starts again
    from zero, so that its share may come out too small, by at most ``lost`` (lossy counting, Manku
    and Motwani 2002), never too large.
    """

    def __init__(self, latents: int, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.total = np.zeros(latents)
        self.lost = np.zeros(latents)
        self._keys, self._sums = [np.zeros(0, np.int64)], [np.zeros(0, np.float64)]
        self._pending = 0

    def update(self, entries: Entries) -> None:
        """Add one block; without text nothing happens."""
        if entries.block.token is None or len(entries.latent) == 0:
            return
        token = entries.block.token[entries.token]
        keys, sums = _summed(entries.latent * self.vocabulary + token, entries.strength)
        self.total += np.bincount(entries.latent, entries.strength, len(self.total))
        self._keys.append(keys)
        self._sums.append(sums)
        self._pending += len(keys)
        if self._pending > PENDING:
            self._merge()

    def _merge(self) -> None:
        keys, sums = _summed(np.concatenate(self._keys), np.concatenate(self._sums))
        latent = keys // self.vocabulary
        most = np.diff(np.append(starts(latent), len(latent))).max(initial=0)
        if most > KEPT:
            order = np.lexsort((-sums, latent))
            kept = np.zeros(len(keys), bool)
            rank = ranks(latent[order])
            kept[order] = rank < KEPT
            heaviest = order[rank == KEPT]
            self.lost[latent[heaviest]] += sums[heaviest]
            keys, sums = keys[kept], sums[kept]
        self._keys, self._sums, self._pending = [keys], [sums], 0

    def heaviest(self, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each latent up to ``n`` tokens and their share of its mass, the largest first."""
        keys, sums = _summed(np.concatenate(self._keys), np.concatenate(self._sums))
        latent = keys // self.vocabulary
        order = np.lexsort((-sums, latent))
        order = order[ranks(latent[order]) < n]
        bounds = np.searchsorted(latent[order], np.arange(len(self.total) + 1))
        token, share = keys[order] % self.vocabulary, sums[order] / self.total[latent[order]]
        return [(token[a:b], share[a:b].astype(np.float32)) for a, b in pairwise(bounds.tolist())]


def _summed(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys in order, and the sums of their values."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = starts(keys)
    if len(first) == 0:
        return keys, values.astype(np.float64)
    return keys[first], np.add.reduceat(values[order].astype(np.float64), first)
