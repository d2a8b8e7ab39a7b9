"""Grids of factors, and codes whose scores are known."""

from itertools import product

import numpy as np


def grid(*sizes, repeats=1):
    """Every combination of factor values, as floats ``(rows, factors)``."""
    return np.array(list(product(*map(range, sizes))) * repeats, dtype=float)


def standardised(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def perfect(factors):
    """A copy of the factors: permuted, one sign flipped, each bent by a monotone function."""
    bent = [np.exp(factors[:, 0] / 2), -3 * factors[:, 1], factors[:, 2] ** 2 / 4 + factors[:, 2]]
    return np.stack([bent[1], bent[2], bent[0]], axis=1)


def rotated(factors):
    """The first two factors turned by 45 degrees, the others as they are."""
    z = standardised(factors)
    turned = np.stack([z[:, 0] + z[:, 1], z[:, 0] - z[:, 1]], axis=1) / np.sqrt(2)
    return np.concatenate([turned, z[:, 2:]], axis=1)


def noise(rows, latents=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, latents))
