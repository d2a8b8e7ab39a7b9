import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import mig, mig_from_posterior

from .grids import grid, noise


def test_two_latents_for_one_factor_leave_no_gap():
    factors = grid(3, 4, repeats=5)
    got = mig(factors[:, [0, 0, 1]], factors)
    np.testing.assert_allclose(got.per, [0, 1], atol=1e-12)
    assert got.value == pytest.approx(0.5)


def test_information_lost_by_merging_values():
    factors = grid(4, 3, repeats=5)
    codes = np.stack([factors[:, 0] // 2, factors[:, 1]], axis=1)
    np.testing.assert_allclose(mig(codes, factors).per, [0.5, 1], atol=1e-12)


def test_a_lone_latent_is_compared_with_zero():
    factors = grid(3, 3, repeats=5)
    got = mig(factors[:, 0], factors)
    np.testing.assert_allclose(got.per, [1, 0], atol=1e-12)
    assert "one latent" in got.note


def test_integer_codes_are_labels_and_floats_may_be():
    factors = grid(40, 3, repeats=5)
    assert mig(factors, factors).value == pytest.approx(1)
    assert mig(factors.astype(int), factors).value == pytest.approx(1)
    # Twenty bins of forty values.
    halves = mig(factors, factors, discrete_codes=False).per
    assert halves[0] == pytest.approx(np.log(20) / np.log(40), abs=1e-3)


def test_continuous_factors_are_binned():
    factors = np.random.default_rng(0).uniform(size=(2000, 2))
    assert mig(factors**1, factors).value > 0.9
    assert mig(noise(2000, 2), factors).value < 0.05


def test_the_interval_covers_the_population_value():
    # A binary symmetric channel with 10 % flips, beside a latent of noise.
    flips, rng, inside = 0.1, np.random.default_rng(0), 0
    truth = 1 + (flips * np.log2(flips) + (1 - flips) * np.log2(1 - flips))
    for _ in range(60):
        v = rng.integers(2, size=400)
        codes = np.stack([v ^ (rng.random(400) < flips), rng.integers(2, size=400)], axis=1)
        low, high = mig(codes, v).interval
        inside += low <= truth <= high
    assert inside >= 51  # 95 % nominal; three standard deviations below are 52.


def channel(mean, std):
    """Information between a fair sign and a Gaussian of that mean times the sign, in bits."""

    def integrand(x):
        up, down = norm.pdf(x, mean, std), norm.pdf(x, -mean, std)
        return up * np.log2(up / ((up + down) / 2))

    return quad(integrand, mean - 9 * std, mean + 9 * std)[0]


@pytest.mark.parametrize(("mean", "std"), [(0.5, 1.0), (1.0, 0.7)])
def test_samples_of_a_posterior_give_the_information_of_the_channel(mean, std):
    factors = grid(2, 2, repeats=10)
    means = np.stack([mean * (2 * factors[:, 0] - 1), np.zeros(40), np.zeros(40)], axis=1)
    logvars = np.broadcast_to(np.log([std**2, 1.0, 2.0]), means.shape)
    got = mig_from_posterior(means, logvars, factors, n_samples=20_000)
    np.testing.assert_allclose(got.per, [channel(mean, std), 0], atol=0.012)


def test_samples_agree_with_a_direct_sum():
    # The same estimate from one joint density matrix, all rows in exact enumeration order.
    factors, rng = grid(2, 3, repeats=4), np.random.default_rng(4)
    means, logvars = rng.normal(size=(24, 2)), rng.normal(size=(24, 2))
    z = rng.normal(size=(24, 1500, 2)) * np.exp(logvars / 2)[:, None] + means[:, None]
    log_q = norm.logpdf(z[:, :, None], means, np.exp(logvars / 2))  # row, draw, row, latent
    q = np.exp(log_q)
    want = []
    for v in factors.T:
        same = (v[:, None] == v)[:, None, :, None]
        inner = (q * same).sum(axis=2) / same.sum(axis=2)
        information = np.log(inner / q.mean(axis=2)).mean(axis=(0, 1))
        want.append(np.ptp(information) / np.log(len(np.unique(v))))
    got = mig_from_posterior(means, logvars, factors, n_samples=15_000)
    np.testing.assert_allclose(got.per, want, atol=0.025)


def test_samples_are_decided_by_the_seed():
    means, logvars, factors = noise(60), noise(60, seed=1), grid(3, 4, repeats=5)
    first = mig_from_posterior(means, logvars, factors, n_samples=300)
    assert first.value == mig_from_posterior(means, logvars, factors, n_samples=300).value
    assert first.value != mig_from_posterior(means, logvars, factors, n_samples=300, seed=1).value


def test_posteriors_that_do_not_fit():
    with pytest.raises(IsthmusError, match="do not match"):
        mig_from_posterior(noise(9), noise(9, 2), noise(9))
    with pytest.raises(IsthmusError, match="n_samples is 0"):
        mig_from_posterior(noise(9), noise(9), noise(9), n_samples=0)
