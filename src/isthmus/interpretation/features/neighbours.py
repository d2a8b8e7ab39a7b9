"""What stands beside a latent: latents that fire with it, tokens whose logits it moves."""

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from isthmus.interpretation.features.stream import Entries, mixed

ENTRIES = 2**23
"""Active latents of the sampled tokens that are remembered, 32 MiB."""

PAIRS = 2**28
"""Pairs of latents active on one token that are counted."""

LEAST = 3
"""Tokens on which two latents have to fire together to be neighbours."""

PIECE = 2**21
"""Pairs of latents that are looked at at once."""

LOGITS = 2**24
"""Logits that are held at once."""


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
        sampled = key < self.share
        if not sampled.all():
            active = active[np.repeat(sampled, counts)]
            key, counts = key[sampled], counts[sampled]
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
        count = np.bincount(stored, minlength=self.latents).astype(np.float64)
        spread = np.sqrt(count * (tokens - count))
        listed: list[tuple[np.ndarray, np.ndarray]] = []
        step = max(1, PIECE // self.latents)
        for start in range(0, self.latents, step):
            part = csr_array(by_latent[start : start + step] @ fired)
            often = np.flatnonzero(part.data >= LEAST)
            latent = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))[often]
            other, both = part.indices[often], part.data[often].astype(np.float64)
            distinct = other != latent + start
            latent, other, both = latent[distinct], other[distinct], both[distinct]
            with np.errstate(divide="ignore", invalid="ignore"):
                phi = both * tokens - count[start + latent] * count[other]
                phi /= spread[start + latent] * spread[other]
            table = torch.zeros(part.shape)
            table[torch.from_numpy(latent), torch.from_numpy(other.astype(np.int64))] = (
                torch.from_numpy(np.nan_to_num(phi, posinf=0.0).astype(np.float32))
            )
            best = table.topk(min(n, self.latents), dim=1)
            for row, values in zip(best.indices.numpy(), best.values.numpy(), strict=True):
                listed.append((row[values > 0], values[values > 0]))
        return listed


def _nobody() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.float32)


def logit_effects(
    rows: Tensor, unembedding: Tensor, n: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The tokens whose logits one unit of each latent raises most, and lowers most.

    Each is token numbers and effects, ``(latents, n)``, the strongest first. ``unembedding`` is
    ``(vocabulary, elements)`` with the final normalisation's gain folded in. Effects are
    ``rows @ unembedding.T``, before the division by the norm of the residual stream, which is
    positive and differs from token to token: they rank tokens, and are no changes of logits.
    """
    weight = unembedding.detach().to(rows)
    n = min(n, len(weight))
    up: list[tuple[np.ndarray, np.ndarray]] = []
    down: list[tuple[np.ndarray, np.ndarray]] = []
    for part in rows.split(max(1, LOGITS // len(weight))):
        effects = part @ weight.T
        for parts, largest in ((up, True), (down, False)):
            best = effects.topk(n, dim=1, largest=largest)
            parts.append((best.indices.cpu().numpy(), best.values.cpu().numpy()))
    return _joined(up), _joined(down)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    numbers, values = zip(*parts, strict=True)
    return np.concatenate(numbers), np.concatenate(values)
