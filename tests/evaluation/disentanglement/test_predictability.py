import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import sap

from .grids import grid, noise


def test_continuous_factors_give_squared_correlations():
    factors = grid(7, 7)
    codes = np.stack([factors[:, 0], factors.sum(axis=1)], axis=1)
    got = sap(codes, factors, discrete_factors=False)
    # The first latent explains all and nothing, the sum half of each.
    np.testing.assert_allclose(got.per, [0.5, 0.5], atol=1e-12)


def test_squared_correlations_are_those_of_a_regression():
    factors = np.random.default_rng(1).normal(size=(80, 2))
    codes = factors @ np.array([[1.0, 0.3], [0.2, 1.0]]) + noise(80, 2)
    explained = [
        [r2_score(v, LinearRegression().fit(z[:, None], v).predict(z[:, None])) for v in factors.T]
        for z in codes.T
    ]
    np.testing.assert_allclose(sap(codes, factors).per, np.abs(np.diff(explained, axis=0))[0])


def test_published_accuracies_stop_below_one():
    factors = grid(2, 5, repeats=40)
    got = sap(factors, factors, adjusted=False)
    np.testing.assert_allclose(got.per, [0.5, 0.8], atol=0.08)
    assert sap(factors, factors).value > 0.9


def test_a_copy_leaves_no_gap():
    factors = grid(3, 3, repeats=10)
    got = sap(factors[:, [0, 0, 1]], factors)
    assert got.per[0] == 0
    assert got.per[1] > 0.8


def test_thresholds_reach_the_best_balanced_accuracy():
    # Two unit Gaussians 2 apart: the best threshold is right with probability Phi(1) = 0.841.
    factor = np.repeat([0, 1], 3000)
    code = 2 * factor + noise(6000, 1)[:, 0]
    assert sap(code, factor, adjusted=False).value == pytest.approx(0.8413, abs=0.015)
    assert sap(code, factor).value == pytest.approx(2 * 0.8413 - 1, abs=0.03)


def test_the_support_vector_machine():
    binary = grid(2, 2, repeats=40)
    assert sap(binary, binary, classifier="svm").value > 0.85
    # One line for each of five values cannot single out the middle ones.
    five = np.repeat(np.arange(5), 40)
    assert sap(five, five, classifier="svm").value < 0.8
    assert sap(five, five).value == 1


def test_errors():
    with pytest.raises(IsthmusError, match="did you mean 'svm'"):
        sap(noise(9), noise(9), classifier="svc")
    with pytest.raises(IsthmusError, match="3 rows are too few"):
        sap(noise(3), noise(3))


def test_values_of_a_single_row_are_taken():
    assert np.isfinite(sap(noise(12, 2), np.arange(12)).value)
    assert np.isfinite(sap(noise(6, 2), np.array([0, 0, 0, 0, 0, 1])).value)
