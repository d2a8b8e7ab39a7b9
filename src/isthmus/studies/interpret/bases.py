"""Bases that sparse dictionaries are compared with."""

import warnings

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
