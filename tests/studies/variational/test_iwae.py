"""The toy whose likelihood is known."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from isthmus.studies.variational.iwae import SAMPLES, _log_normal, _toy


def test_the_density_is_scipys():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 3))
    covariance = root @ root.T + np.eye(3)
    x = rng.standard_normal((4, 5, 3))
    expected = multivariate_normal(np.zeros(3), covariance).logpdf(x)
    np.testing.assert_allclose(_log_normal(x, covariance), expected)


def test_one_sample_misses_the_divergence_and_a_thousand_miss_nothing():
    gaps = _toy(0)
    # KL(N(m, 2 S) || N(m, S)) in two dimensions; one draw of each of 400 rows spreads by 0.05.
    assert gaps["gap_1"] == pytest.approx(1.0 - math.log(2.0), abs=0.15)
    assert abs(gaps[f"gap_{SAMPLES}"]) < 0.02
