"""Bases and purity, against closed forms."""

import numpy as np
import pytest

from isthmus.studies.interpret.bases import independent, principal, purity, turned


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


def test_a_column_is_turned_so_that_its_tail_is_positive():
    tail = np.array([0.0, 0.0, 0.0, 0.0, 5.0])
    values = turned(np.stack([tail, -tail], 1))
    assert values[:, 0] == pytest.approx(values[:, 1])
    assert values[:, 0] == pytest.approx(tail - 1.0)


def test_purity_is_the_share_of_the_commonest_token_where_a_direction_is_strongest():
    token = np.array([7, 7, 7, 8, 9, 8, 8, 8])
    values = np.zeros((8, 3))
    values[:4, 0] = [4, 3, 2, 1]  # three of token 7, one of 8
    values[[0, 3, 4, 5], 1] = 1.0  # 7, 8, 9, 8
    values[0, 2] = 1.0  # fires too rarely
    assert purity(values, token, 4) == pytest.approx([0.75, 0.5])
