"""Which latents fire together."""

import numpy as np
import torch
from scipy.sparse import csr_array

from isthmus.interpretation.latents.entries import Entries
from isthmus.interpretation.latents.randomness import mixed

ENTRIES = 2**23
"""Active latents of the sampled tokens that are remembered, 32 MiB."""

PAIRS = 2**28
"""Pairs of latents active on one token that are counted."""

LEAST = 3
"""Tokens on which two latents have to fire together to be neighbours."""

PIECE = 2**21
"""Pairs of latents that are looked at at once."""


class Joint:
    """Firing of all latents on a uniform sample of the tokens, all of them where they fit.

    A token is in the sample where its random number is below ``share``, which is halved whenever
    the sample grows beyond :data:`ENTRIES` active latents or :data:`PAIRS` pairs of them. What is
    in the end depends on the text and the seed alone.
    """

    def __init__(self, latents: int, seed: int) -> None:
        self.latents, self.seed, self.share = latents, seed, 1.0
        self._keys: list[np.ndarray] = []  # of tokens
        self._counts: list[np.ndarray] = []
        self._active: list[np.ndarray] = []
        self._entries = self._pairs = 0

    def update(self, entries: Entries) -> None:
        """Sample from one block."""
        block = entries.block
        if len(block.row) == 0:
            return
        key = (mixed(self.seed, 2, block.row, block.place) >> np.uint64(11)) * 2.0**-53
        counts = np.bincount(entries.token, minlength=len(key))
        self._append(key, counts, entries.latent[entries.by_token].astype(np.int32))
        while (self._entries > ENTRIES or self._pairs > PAIRS) and self._entries:
            self.share /= 2
            parts = zip(self._keys, self._counts, self._active, strict=True)
            self._keys, self._counts, self._active = [], [], []
            self._entries = self._pairs = 0
            for part in list(parts):
                self._append(*part)

    def _append(self, key: np.ndarray, counts: np.ndarray, active: np.ndarray) -> None:
        kept = key < self.share
        if not kept.all():
            active = active[np.repeat(kept, counts)]
            key, counts = key[kept], counts[kept]
        self._keys.append(key)
        self._counts.append(counts)
        self._active.append(active)
        self._entries += len(active)
        self._pairs += int((counts.astype(np.int64) ** 2).sum())

    @property
    def tokens(self) -> int:
        """Tokens in the sample."""
        return sum(len(key) for key in self._keys)

    def neighbours(self, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each latent up to ``n`` others that fire with it, and phi, the largest first.

        Phi is the correlation of the two latents' firing over the sampled tokens. Latents that fire
        together on fewer than :data:`LEAST` of them, and those with phi not above zero, are left
        out.
        """
        tokens = self.tokens
        if tokens == 0:
            return [_nobody()] * self.latents
        counts = np.concatenate(self._counts)
        bounds = np.concatenate(([0], np.cumsum(counts)))
        stored = np.concatenate(self._active)
        ones = np.ones(len(stored), np.float32)
        fired = csr_array((ones, stored, bounds), shape=(tokens, self.latents))
        by_latent = csr_array(fired.T)
        own = np.bincount(stored, minlength=self.latents).astype(np.float64)
        spread = np.sqrt(own * (tokens - own))
        found: list[tuple[np.ndarray, np.ndarray]] = []
        step = max(1, PIECE // self.latents)
        for start in range(0, self.latents, step):
            part = csr_array(by_latent[start : start + step] @ fired)
            often = np.flatnonzero(part.data >= LEAST)
            latent = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))[often]
            other, both = part.indices[often], part.data[often].astype(np.float64)
            apart = other != latent + start
            latent, other, both = latent[apart], other[apart], both[apart]
            with np.errstate(divide="ignore", invalid="ignore"):
                phi = both * tokens - own[start + latent] * own[other]
                phi /= spread[start + latent] * spread[other]
            table = torch.zeros(part.shape)
            table[torch.from_numpy(latent), torch.from_numpy(other.astype(np.int64))] = (
                torch.from_numpy(np.nan_to_num(phi, posinf=0.0).astype(np.float32))
            )
            best = table.topk(min(n, self.latents), dim=1)
            for row, values in zip(best.indices.numpy(), best.values.numpy(), strict=True):
                found.append((row[values > 0], values[values > 0]))
        return found


def _nobody() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.float32)
