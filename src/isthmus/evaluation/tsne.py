"""A map of decoder directions in the plane, on which latents that point alike lie together."""

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from isthmus.evaluation.cosines import unit_rows

EARLY, LATE = 100, 200
"""Steps with and without exaggerated pulls."""

EXAGGERATION = 12.0

FEW = 50
"""Latents up to which distances are kept as they are: too few for neighbourhoods to tell."""

SCALING = 300
"""Steps of the map of few latents."""

CELL, FINEST, CELLS = 0.5, 32, 160
"""Width of a grid cell where the number of cells along an axis, within bounds, allows it."""


def direction_map(rows: Tensor, near: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Places of directions ``(latents, elements)`` in the plane, ``(latents, 2)`` float32.

    t-SNE (van der Maaten and Hinton 2008) on the graph of neighbours: latents pull those that are
    ``near`` them (``(latents, n)``, with their ``cosine``), all push each other. The pushes are
    computed on a grid by Fourier transform (Linderman et al. 2019), so that ten thousand latents
    take seconds. It starts at the two principal components and draws nothing at random. Distances
    between far groups mean little.

    Up to :data:`FEW` latents have room for the distances themselves: their map is that of
    :func:`scaled_distances`.
    """
    start = principal(rows)
    source, target, weight = _edges(near, cosine)
    spread = float(start.std())
    if spread <= 0:
        return start
    if len(start) <= FEW:
        return scaled_distances(rows, start)
    if len(source) == 0:
        return start
    at = start.astype(np.float64) / spread
    latents, speed = len(at), np.zeros_like(at)
    for step in range(EARLY + LATE):
        early = step < EARLY
        apart = at[target] - at[source]
        pull = weight / (1.0 + (apart**2).sum(1))
        pull *= EXAGGERATION if early else 1.0
        force = np.stack([np.bincount(source, pull * apart[:, i], latents) for i in (0, 1)], 1)
        # The usual rate, latents / exaggeration; pulls of a latent add up to one.
        speed = (0.5 if early else 0.8) * speed + (force + _pushes(at)) * (4.0 / EXAGGERATION)
        at += speed
    return (at - at.mean(0)).astype(np.float32)


def scaled_distances(rows: Tensor, start: np.ndarray) -> np.ndarray:
    """Places ``(latents, 2)`` whose distances are as near as can be to those of the unit vectors.

    Metric multidimensional scaling by majorisation (SMACOF; de Leeuw 1977) from ``start``
    ``(latents, 2)`` on; no step makes the squared error of the distances larger. Time and memory
    grow with the square of the number of latents.
    """
    units = unit_rows(rows, "rows of the dictionary").cpu().double()
    distances = torch.cdist(units, units, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    turn = np.arange(len(start)) * (np.pi * (3.0 - np.sqrt(5.0)))
    # Latents that the two components put on one place have to come apart.
    at = start + 1e-3 * float(start.std()) * np.stack([np.cos(turn), np.sin(turn)], 1)
    for _ in range(SCALING):
        apart = np.linalg.norm(at[:, None] - at, axis=2)
        ratio = np.divide(distances, apart, out=np.zeros_like(apart), where=apart > 0)
        at = (ratio.sum(1)[:, None] * at - ratio @ at) / len(at)
    return (at - at.mean(0)).astype(np.float32)


def principal(rows: Tensor) -> np.ndarray:
    """The two principal components of the directions as unit vectors, ``(latents, 2)``."""
    units = unit_rows(rows, "rows of the dictionary").cpu().double()
    centred = units - units.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    axes = vectors[:, -2:].flip(1)
    # An axis may point either way: let its largest element be positive.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    places = (centred @ axes).numpy()
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1]))).astype(np.float32)


def _edges(near: np.ndarray, cosine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who pulls whom, and how hard: pulls of a latent add up to one before both ways are averaged.

    They fall with the distance beyond that of the nearest neighbour, over the mean such distance.
    Latents at a right angle or more do not pull.
    """
    latents, n = near.shape
    distance = 1.0 - cosine.astype(np.float64)
    beyond = distance - distance[:, :1]
    scale = np.maximum(1e-12, beyond.mean(1, keepdims=True)) if n else 1.0
    weight = np.where(cosine > 0, np.exp(-beyond / scale), 0.0)
    weight /= np.maximum(1e-12, weight.sum(1, keepdims=True))
    source, target = np.repeat(np.arange(latents), n), near.ravel().astype(np.int64)
    keys = np.concatenate((source * latents + target, target * latents + source))
    distinct, at = np.unique(keys, return_inverse=True)
    both = np.bincount(at, np.concatenate((weight.ravel(), weight.ravel()))) / 2
    strong = both > 0
    return distinct[strong] // latents, distinct[strong] % latents, both[strong]


def _pushes(at: np.ndarray) -> np.ndarray:
    """``n / Z sum_j (y_i - y_j) / (1 + |y_i - y_j|^2)^2``, and Z the sum of ``1 / (1 + ...)``."""
    low = at.min(0)
    span = float((at.max(0) - low).max())
    cells = int(np.clip(span / CELL, FINEST, CELLS))
    width = max(1e-12, span / (cells - 1)) * (1 + 1e-9)
    place = (at - low) / width
    corner = place.astype(np.int64)
    part = place - corner
    corners, shares = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            corners.append((corner[:, 0] + dx) * (cells + 1) + corner[:, 1] + dy)
            shares.append(np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1]))
    everywhere, share = np.concatenate(corners), np.concatenate(shares)
    size = fft.next_fast_len(2 * (cells + 1), real=True)
    steps = np.minimum(np.arange(size), size - np.arange(size)) * width
    # Single precision is far finer than the grid.
    near = (1.0 / (1.0 + steps[:, None] ** 2 + steps[None, :] ** 2)).astype(np.float32)

    def field(charge: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        grid = np.bincount(everywhere, np.tile(charge, 4) * share, (cells + 1) ** 2)
        spread = grid.astype(np.float32).reshape(cells + 1, cells + 1)
        spectrum = fft.rfft2(spread, (size, size)) * kernel
        felt = fft.irfft2(spectrum, (size, size))[: cells + 1, : cells + 1].ravel()
        weighted: np.ndarray = (felt[everywhere] * share).reshape(4, -1).sum(0)
        return weighted

    ones = np.ones(len(at))
    total = field(ones, fft.rfft2(near)).sum() - len(at)
    kernel = fft.rfft2(near**2)
    kernel_sums = field(ones, kernel)
    push = np.stack([at[:, i] * kernel_sums - field(at[:, i], kernel) for i in (0, 1)], 1)
    return push * (len(at) / max(1e-12, total))
