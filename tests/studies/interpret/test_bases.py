"""Bases, against closed forms."""

import numpy as np
import pytest

from isthmus.studies.interpret.bases import independent, principal


def test_principal_components_are_orthonormal_and_diagonalise_the_covariance():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 6)) * np.arange(1, 7) + 3.0
    basis = principal(rows)
    assert basis @ basis.T == pytest.approx(np.eye(6), abs=1e-9)
    covariance = basis @ np.cov(rows.T) @ basis.T
    assert covariance == pytest.approx(np.diag(np.diag(covariance)), abs=1e-6)
    assert (np.diff(np.diag(covariance)) < 0).all()


def test_independent_components_are_found():
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((3, 3))
    rows = rng.laplace(size=(4000, 3)) @ mixing
    unmixing, found = independent(rows, seed=0)
    unit = mixing / np.linalg.norm(mixing, axis=1, keepdims=True)
    cosines = np.abs(found @ unit.T) / np.linalg.norm(found, axis=1, keepdims=True)
    assert cosines.max(0).min() > 0.98
    values = (rows - rows.mean(0)) @ unmixing.T
    assert np.corrcoef(values.T) == pytest.approx(np.eye(3), abs=1e-6)
