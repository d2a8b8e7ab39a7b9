"""Rows near a curved surface of known dimension."""

import numpy as np


def embedded(
    dimension: int,
    rows: int,
    seed: int,
    *,
    width: int = 64,
    units: int = 128,
    bend: float = 0.5,
    noise: float = 0.5,
) -> np.ndarray:
    """Normal factors through a random layer of tanh units, with noise, ``(rows, width)`` float32.

    The rows lie near a surface of ``dimension`` dimensions. ``bend`` is the standard deviation of
    what the tanh units read, and so how far the surface is from flat; every element has unit
    variance before noise of standard deviation ``noise`` is added.
    """
    rng = np.random.default_rng([seed, dimension])
    factors = rng.standard_normal((rows, dimension))
    inward = rng.standard_normal((dimension, units)) * bend / dimension**0.5
    smooth = np.tanh(factors @ inward) @ rng.standard_normal((units, width))
    smooth = (smooth - smooth.mean(0)) / smooth.std(0)
    return (smooth + noise * rng.standard_normal(smooth.shape)).astype(np.float32)


def sheet(
    seed: int, *, rows: int = 1000, anomalies: int = 100, width: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """Normal rows ``(rows, width)`` on a curved sheet, and anomalies ``(anomalies, width)``.

    Normal rows stand in five blobs of a sheet of three dimensions that a sine bends, with noise of
    standard deviation 0.1; anomalies are uniform in the box around them. Float32.
    """
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-2, 2, (5, 3))
    place = centres[rng.integers(5, size=rows)] + 0.4 * rng.standard_normal((rows, 3))
    curved = np.concatenate([place, np.sin(place)], axis=1)
    normal = curved @ rng.standard_normal((6, width)) + 0.1 * rng.standard_normal((rows, width))
    odd = rng.uniform(normal.min(0), normal.max(0), (anomalies, width))
    return normal.astype(np.float32), odd.astype(np.float32)
