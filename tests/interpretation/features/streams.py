"""Blocks of made codes, with the same codes dense for comparison."""

import numpy as np
import torch

from isthmus.interpretation.features.stream import Block, Entries


def blocks_of(z, row, place=None, token=None, document=None):
    """One block for all of a dense code ``z`` ``(tokens, latents)``, as entries."""
    z = np.asarray(z, np.float32)
    row = np.asarray(row)
    if place is None:
        place = np.concatenate([np.arange(n) for n in np.unique(row, return_counts=True)[1]])
    document = row if document is None else document
    block = Block(torch.zeros(len(z), 1), row, np.asarray(place), document, token)
    t, j = np.nonzero(z)
    shuffled = np.random.default_rng(0).permutation(len(t))
    t, j = t[shuffled], j[shuffled]
    return Entries.of(block, t, j, z[t, j])


def cut(z, row, place, token, rows):
    """The same in blocks of so many rows of text."""
    for start in range(0, int(row.max()) + 1, rows):
        part = (row >= start) & (row < start + rows)
        if part.any():
            yield blocks_of(z[part], row[part], place[part], token[part])


def made(rows=60, places=20, latents=12, seed=0):
    """A code in which latents fire at very different rates and sizes; the last one never."""
    rng = np.random.default_rng(seed)
    n = rows * places
    z = rng.lognormal(size=(n, latents)) * 10.0 ** rng.uniform(-2, 2, latents)
    z *= rng.random((n, latents)) < np.linspace(0.0, 0.9, latents)[::-1] ** 2
    token = rng.integers(0, 30, n)
    z[:, 1] *= token == 7
    row, place = np.divmod(np.arange(n), places)
    return z.astype(np.float32), row, place, token
