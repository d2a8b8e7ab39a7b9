"""Spheres within a sphere: data whose nesting a code of two dimensions should keep."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split


@dataclass(frozen=True, eq=False)
class Spheres:
    """Rows, standardised by the training part, and the sphere that each is on.

    ``train`` and ``test`` are float64 ``(rows, d + 1)``; the labels count the small spheres from
    0, and the last one is the large sphere around them.
    """

    train: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray
    test_labels: np.ndarray


def spheres(d: int = 100, inner: int = 10, rows: int = 500, *, seed: int = 42) -> Spheres:
    """Small spheres of radius 5 in ``d + 1`` dimensions, inside one of radius 25.

    Moor et al. 2020, section 5.1 and appendix A.5: centres are drawn from ``N(0, 100 / d I)``;
    each of the ``inner`` small spheres has ``rows`` points and the large one as many as all of
    them together, uniform on the sphere; a tenth is held out. Generator, order of the draws and
    seed 42 are the authors', so that the default is their very data; another seed gives fresh
    data of the same law.
    """
    rng = np.random.RandomState(seed)
    shifts = rng.normal(0, 10 / np.sqrt(d), (inner + 1, d + 1))
    parts = []
    for i in range(inner + 1):
        n, radius, shift = (rows, 5, shifts[i]) if i < inner else (inner * rows, 25, 0)
        points = rng.normal(size=(n, d + 1))
        parts.append(radius * points / np.linalg.norm(points, axis=1)[:, None] + shift)
    labels = np.repeat(np.arange(inner + 1), [rows] * inner + [inner * rows])
    train, test, of_train, of_test = train_test_split(
        np.concatenate(parts), labels, test_size=0.1, random_state=seed
    )
    mean, deviation = train.mean(0), train.std(0)
    return Spheres((train - mean) / deviation, (test - mean) / deviation, of_train, of_test)
