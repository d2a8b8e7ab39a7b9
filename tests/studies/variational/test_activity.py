"""Kinds of latents, and the total correlation of codes."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from isthmus.studies.variational.activity import correlation, kinds_of_latents, total_correlation


def test_latents_are_sorted_by_their_posterior_variances():
    rng = np.random.default_rng(0)
    rows = 1000
    variances = np.stack(
        [
            np.full(rows, 1.05),
            np.full(rows, 1.2),
            np.full(rows, 0.02),
            np.where(rng.random(rows) < 0.5, 0.02, 1.98),  # mean 1, but it switches
            np.where(rng.random(rows) < 0.01, 9.0, 0.001),  # mean 0.1, but it switches
            np.full(rows, 0.5),
        ],
        axis=1,
    )
    kinds = kinds_of_latents(np.log(variances))
    assert kinds.passive.tolist() == [0]
    assert kinds.active.tolist() == [2]
    assert kinds.mixed.tolist() == [1, 3, 4, 5]


def test_total_correlation_is_what_a_gaussian_has():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((3, 3))
    covariance = root @ root.T
    rows = multivariate_normal(np.zeros(3), covariance, seed=rng).rvs(200_000)
    marginal = 0.5 * np.log(2 * np.pi * np.e * np.diag(covariance)).sum()
    exact = marginal - multivariate_normal(np.zeros(3), covariance).entropy()
    assert total_correlation(rows) == pytest.approx(exact, rel=0.02)
    assert total_correlation(rows * [1.0, -5.0, 1e-3] + 7.0) == pytest.approx(exact, rel=0.02)
    assert total_correlation(rows[:, :1]) == 0.0


def test_correlations_are_numpys_and_a_constant_correlates_with_nothing():
    rows = np.random.default_rng(2).standard_normal((50, 3))
    np.testing.assert_allclose(correlation(rows), np.corrcoef(rows.T), atol=1e-12)
    rows[:, 1] = 0.3
    found = correlation(rows)
    np.testing.assert_array_equal(found[1], [0.0, 1.0, 0.0])
