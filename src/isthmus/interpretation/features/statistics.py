"""How often each latent fires and how strongly: counts, sums, largest values and histograms."""

from itertools import pairwise

import numpy as np

from isthmus.interpretation.features.stream import Entries, ranks, starts

STEPS = 16
"""Bins for each factor of two of a value's size."""

OCTAVES = 16
"""Factors of two below the largest value that are told apart; smaller ones share a bin."""

BINS = STEPS * OCTAVES

PIECE = 1024
"""Latents whose histograms are made at once."""

KEPT = 128
"""Distinct tokens of one latent that are remembered."""

PENDING = 2**22
"""Sums of blocks that wait to be added up, 64 MiB."""


class FiringStatistics:
    """Statistics of each latent, exact, in memory of some kilobytes a latent.

    Sizes of values are counted in :data:`BINS` bins, equal parts of each factor of two, which
    follow the largest value so far. As the bins of a factor of two are finer than those of the
    next one and end where it begins, equal bins over the whole range are sums of them
    (:meth:`histograms`), and so no value is counted in the wrong one.
    """

    def __init__(self, latents: int) -> None:
        self.tokens = 0
        self.count = np.zeros(latents, np.int64)
        self.total = np.zeros(latents)
        self.top = np.zeros(latents, np.float32)
        self._octave = np.full(latents, -(2**15), np.int32)
        self._sizes = np.zeros((2, latents, BINS), np.uint32)  # of positive values, of negative
        self._signed = False

    def update(self, entries: Entries) -> None:
        """Count one block."""
        self.tokens += len(entries.block.row)
        if len(entries.latent) == 0:
            return
        first, latent = entries.first, entries.latent[entries.first]
        self.count[latent] += np.diff(np.append(first, len(entries.latent)))
        self.total[latent] += np.add.reduceat(entries.value.astype(np.float64), first)
        strongest = np.maximum.reduceat(entries.strength, first)
        self.top[latent] = np.maximum(self.top[latent], strongest)
        negative = entries.value < 0
        self._signed |= bool(negative.any())
        self._grow(latent, np.frexp(strongest)[1])
        side = negative * np.int64(len(self.count)) + entries.latent
        at = side * BINS + self._bin(entries.latent, entries.strength)
        np.add.at(self._sizes.reshape(-1), at, np.uint32(1))

    def _grow(self, latent: np.ndarray, octave: np.ndarray) -> None:
        """Let the bins of latents reach up to values below ``2**octave``."""
        grows = octave > self._octave[latent]
        latent, octave = latent[grows], octave[grows]
        shifts = np.minimum(octave - self._octave[latent], OCTAVES) * STEPS
        self._octave[latent] = octave
        for shift in np.unique(shifts):
            which = latent[shifts == shift]
            for sizes in self._sizes[: 1 + self._signed]:
                old = sizes[which]
                new = np.zeros_like(old)
                new[:, : BINS - shift] = old[:, shift:]
                new[:, 0] += old[:, :shift].sum(1, dtype=np.uint32)
                sizes[which] = new

    def _bin(self, latent: np.ndarray, strength: np.ndarray) -> np.ndarray:
        mantissa, octave = np.frexp(strength)
        below = self._octave[latent] - octave
        at = (OCTAVES - 1 - below) * STEPS + ((2.0 * mantissa - 1.0) * STEPS).astype(np.int64)
        return np.clip(at, 0, BINS - 1)

    @property
    def rate(self) -> np.ndarray:
        """Share of tokens on which each latent fires, ``(latents,)``."""
        return self.count / max(1, self.tokens)

    @property
    def mean(self) -> np.ndarray:
        """Mean value where it fires, ``(latents,)``; 0 where it never does."""
        return self.total / np.maximum(1, self.count)

    def percentile(self, latent: np.ndarray, strength: np.ndarray) -> np.ndarray:
        """Share of each latent's activations that are weaker than ``strength`` ``(latents, n)``.

        Within a bin, values are taken to be spread evenly.
        """
        sizes = self._sizes[:, latent].sum(0, dtype=np.int64)
        which = np.broadcast_to(latent[:, None], strength.shape)
        at = self._bin(which, strength)
        edge = np.ldexp(0.5, self._octave[which] - (OCTAVES - 1 - at // STEPS))
        low, step = edge * (1 + (at % STEPS) / STEPS), edge / STEPS
        low, step = np.where(at == 0, 0.0, low), np.where(at == 0, low + step, step)
        # A latent that never fired has no bins.
        inside = np.clip((strength - low) / np.maximum(step, 1e-300), 0.0, 1.0)
        below = np.take_along_axis(sizes.cumsum(1) - sizes, at, 1)
        inside_bin = np.take_along_axis(sizes, at, 1)
        return (below + inside * inside_bin) / np.maximum(1, sizes.sum(1, keepdims=True))

    def histograms(self) -> list[tuple[np.ndarray, float, float]]:
        """Of each latent counts of its nonzero values in equal bins, the lowest and highest edge.

        The bins are ``2**e / 32`` wide, with ``2**e`` the next power of two above the largest size:
        17 to 32 of them on each side of zero that has values, none for a latent that never fires.
        """
        histograms: list[tuple[np.ndarray, float, float]] = []
        half = 2 * STEPS
        for start in range(0, len(self.count), PIECE):
            part = slice(start, start + PIECE)
            negative, positive = (_linear(sizes) for sizes in self._sizes[::-1, part])
            every = np.concatenate((negative[:, ::-1], positive), 1)
            for counts, octave in zip(every, self._octave[part], strict=True):
                bins = np.flatnonzero(counts)
                if len(bins) == 0:
                    histograms.append((np.zeros(0), 0.0, 0.0))
                    continue
                # Zero belongs to the range.
                low, high = min(bins[0], half), max(bins[-1] + 1, half)
                step = 2.0 ** int(octave) / half
                histograms.append((counts[low:high], (low - half) * step, (high - half) * step))
        return histograms


def _linear(sizes: np.ndarray) -> np.ndarray:
    """Counts ``(latents, BINS)`` by size as counts in ``2 * STEPS`` equal bins."""
    bins = np.zeros((len(sizes), 2 * STEPS))
    # The upper half of the range is the last factor of two, bin by bin; and so downwards.
    for level in range(OCTAVES):
        end = BINS - level * STEPS
        octave = sizes[:, end - STEPS : end]
        low, parts = (2 * STEPS) >> (level + 1), max(1, STEPS >> level)
        summed = octave.reshape(len(sizes), parts, -1).sum(2)
        bins[:, low : low + parts] += summed
    return bins


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
            heaviest_keys = np.zeros(len(keys), bool)
            rank = ranks(latent[order])
            heaviest_keys[order] = rank < KEPT
            heaviest = order[rank == KEPT]
            self.lost[latent[heaviest]] += sums[heaviest]
            keys, sums = keys[heaviest_keys], sums[heaviest_keys]
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
