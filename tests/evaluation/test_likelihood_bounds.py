import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch.distributions import Normal, kl_divergence

from isthmus import IsthmusError
from isthmus.evaluation import (
    GaussianPosterior,
    active_units,
    bits_per_dim,
    importance_bound,
    kl_per_dimension,
)
from isthmus.evaluation.likelihood_bounds import ImportanceBound, as_bits_per_dim, log_mean_exp

SIGMA = 0.7
LOADINGS = np.array([[1.0], [-0.5], [2.0]])  # x = LOADINGS z + SIGMA noise, z in one dimension


def linear_gaussian(rows=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 1)) @ LOADINGS.T + SIGMA * rng.normal(size=(rows, 3))
    covariance = LOADINGS @ LOADINGS.T + SIGMA**2 * np.eye(3)
    return x, multivariate_normal(np.zeros(3), covariance).logpdf(x)


def log_weights(x, samples, shift=0.0, widen=1.0, seed=1):
    """log p(x, z) - log q(z | x) with q the exact posterior, shifted and widened."""
    precision = 1 + (LOADINGS**2).sum() / SIGMA**2
    mean = (x @ LOADINGS)[:, 0] / SIGMA**2 / precision + shift
    std = widen / math.sqrt(precision)
    z = mean + std * np.random.default_rng(seed).normal(size=(samples, len(x)))
    joint = Normal(0.0, 1.0).log_prob(torch.tensor(z)) + (
        Normal(torch.tensor(z[..., None] * LOADINGS[:, 0]), SIGMA).log_prob(torch.tensor(x)).sum(-1)
    )
    return joint - Normal(torch.tensor(mean), std).log_prob(torch.tensor(z))


@pytest.mark.parametrize("samples", [1, 7, 64])
def test_exact_posterior_makes_the_bound_the_log_likelihood(samples):
    x, exact = linear_gaussian()
    weights = log_weights(x, samples)
    np.testing.assert_allclose(log_mean_exp(weights), exact, rtol=1e-10)
    assert importance_bound(weights).value == pytest.approx(exact.mean(), rel=1e-12)


def test_wrong_posterior_approaches_the_log_likelihood_from_below():
    x, exact = linear_gaussian(2000)
    values = [importance_bound(log_weights(x, k, 0.3, 1.3)).value for k in (1, 4, 16, 256)]
    assert values == sorted(values)
    assert values[0] < exact.mean() - 0.1
    assert exact.mean() - 0.02 < values[-1] < exact.mean() + 0.005


def test_interval_is_the_normal_one_of_the_row_values():
    x, exact = linear_gaussian()
    result = importance_bound(log_weights(x, 5))
    half = 1.959964 * exact.std(ddof=1) / math.sqrt(len(x))
    assert result.interval == pytest.approx((exact.mean() - half, exact.mean() + half), rel=1e-6)
    assert "K = 5" in result.estimator
    assert result.higher_is_better


def test_elbo_is_the_average_of_the_log_weights():
    x, _ = linear_gaussian()
    weights = log_weights(x, 9, 0.5)
    bound = ImportanceBound(9).update(weights[:, :11]).update(weights[:, 11:])
    assert bound.elbo().value == pytest.approx(float(weights.mean()), rel=1e-12)
    assert bound.elbo().value < bound.bound().value


def test_log_weights_far_below_the_float_range_stay_finite():
    assert importance_bound(np.full((4, 2), -5000.0)).value == pytest.approx(-5000.0)


def test_a_fair_coin_costs_one_bit():
    assert bits_per_dim(-784 * math.log(2), 784) == pytest.approx(1.0)


def test_bits_per_dim_turns_the_interval_round():
    x, _ = linear_gaussian()
    bound = importance_bound(log_weights(x, 2))
    bits = as_bits_per_dim(bound, 3)
    assert bits.interval[0] < bits.value < bits.interval[1]
    assert bits.interval[0] == bits_per_dim(bound.interval[1], 3)
    assert not bits.higher_is_better


def test_kl_is_that_of_torch_distributions():
    rng = np.random.default_rng(0)
    mean, logvar = rng.normal(size=(2, 30, 4))
    q = Normal(torch.tensor(mean), torch.tensor(np.exp(0.5 * logvar)))
    wanted = kl_divergence(q, Normal(torch.zeros(()).double(), 1.0)).numpy()
    result = kl_per_dimension(mean, logvar)
    np.testing.assert_allclose(result.per, wanted.mean(0), rtol=1e-12)
    assert result.value == pytest.approx(wanted.sum(1).mean(), rel=1e-12)


def test_kl_of_the_prior_is_zero_and_keeps_tiny_values():
    assert kl_per_dimension(np.zeros((3, 2)), np.zeros((3, 2))).value == 0.0
    tiny = 1e-6
    result = kl_per_dimension(np.zeros((3, 1)), np.full((3, 1), tiny))
    assert result.value == pytest.approx(tiny**2 / 4, rel=1e-3)


def test_units_are_active_where_the_mean_moves():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(500, 4)) * [1.0, 0.2, 0.05, 0.0] + 3
    result = active_units(means)
    assert result.value == 2
    np.testing.assert_allclose(result.per, means.var(0), rtol=1e-9, atol=1e-20)
    assert active_units(means, threshold=0.001).value == 3


def test_posterior_streams_to_the_same_results():
    rng = np.random.default_rng(0)
    mean, logvar = rng.normal(size=(2, 30, 2, 2))
    streamed = GaussianPosterior()
    for part in (slice(0, 1), slice(1, 20), slice(20, 30)):
        streamed.update(mean[part], logvar[part])
    assert streamed.kl().value == pytest.approx(kl_per_dimension(mean, logvar).value, rel=1e-12)
    assert streamed.kl().per.shape == (2, 2)
    np.testing.assert_allclose(streamed.active_units().per, active_units(mean).per, rtol=1e-12)


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="do not fit"):
        importance_bound(np.zeros(3))
    with pytest.raises(IsthmusError, match="same shape"):
        kl_per_dimension(np.zeros((3, 1)), np.zeros((3, 2)))
    with pytest.raises(IsthmusError, match="empty"):
        active_units(np.zeros((0, 2)))
