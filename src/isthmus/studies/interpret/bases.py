"""Bases that sparse dictionaries are compared with, and how pure their directions are."""

import warnings
from itertools import pairwise

import numpy as np
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning


def principal(rows: np.ndarray) -> np.ndarray:
    """Principal components of ``(rows, width)``, orthonormal ``(width, width)``, largest first."""
    centred = rows - rows.mean(0, dtype=np.float64)
    vectors: np.ndarray = np.linalg.eigh(centred.T @ centred)[1].T[::-1]
    return vectors.copy()


def independent(rows: np.ndarray, seed: int, steps: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Unmixing and mixing directions of FastICA, each ``(components, width)``.

    The first give a component's value as a product with an activation, the second are what it
    stands for. Where it has not converged after ``steps`` iterations it is taken as it is.
    """
    ica = FastICA(random_state=seed, max_iter=steps, tol=1e-3, whiten="unit-variance")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica.fit(rows)
    return ica.components_, ica.mixing_.T


def turned(values: np.ndarray) -> np.ndarray:
    """The same columns ``(rows, directions)``, each with the sign that makes its tail the upper.

    A direction of no sign is read in the way that suits it best: that of positive skewness.
    """
    centred = values - values.mean(0)
    signs = np.where((centred**3).mean(0) < 0, -1.0, 1.0)
    turned: np.ndarray = centred * signs
    return turned


def purity(values: np.ndarray, token: np.ndarray, strongest: int) -> np.ndarray:
    """How far the places where a direction is strongest are places of one token, ``(columns,)``.

    ``values`` are ``(places, directions)``, ``token`` ``(places,)``: of the ``strongest`` places of
    each direction, the share that hold the commonest token among them. Directions that are
    positive at fewer places are left out.
    """
    kept = values[:, (values > 0).sum(0) >= strongest]
    top = np.argpartition(-kept, strongest - 1, axis=0)[:strongest]
    found = np.sort(token[top], axis=0)
    # In sorted order the commonest token is the longest run.
    run = np.ones(found.shape[1])
    best = run.copy()
    for previous, here in pairwise(found):
        run = np.where(here == previous, run + 1, 1)
        best = np.maximum(best, run)
    shares: np.ndarray = best / strongest
    return shares
