"""Densities against scipy.stats, torch.distributions and quadrature."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as D

from isthmus.errors import IsthmusError
from isthmus.likelihoods import (
    ContinuousBernoulli,
    FullGaussian,
    Gaussian,
    Laplace,
    LearnedGaussian,
)
from isthmus.likelihoods.limits import WIDEST, bounded
from likelihoods.cases import CASES

BY_NAME = {case.name: case for case in CASES}
GRID = torch.tensor(
    [-40.0, -6, -1, -0.3001, -0.2999, -1e-3, -1e-9, 0, 1e-6, 0.29, 0.31, 2, 45], dtype=torch.float64
)


def close(found, wanted, atol=1e-10):
    torch.testing.assert_close(
        found, torch.as_tensor(wanted, dtype=found.dtype), rtol=1e-12, atol=atol
    )


def drawn(name, lead=(2,)):
    likelihood, params, x = BY_NAME[name].drawn(lead=lead)
    return likelihood, params.detach(), x


# --- normal and Laplace ----------------------------------------------------------------------


def test_fixed_and_learned_gaussians_are_scipys():
    _, params, x = drawn("gaussian")
    wanted = stats.norm.logpdf(x.numpy(), params.numpy(), 0.7).sum((-2, -1))
    close(Gaussian(0.7).log_prob(params, x), wanted)
    close(Gaussian(0.7).element_log_prob(params, x).sum((-2, -1)), wanted)
    close(LearnedGaussian(sigma=0.7).double().log_prob(params, x), wanted, atol=1e-5)
    each = LearnedGaussian((3,)).double()
    sigma = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    each.log_sigma.data = sigma.log()
    close(
        each.log_prob(params, x),
        stats.norm.logpdf(x.numpy(), params.numpy(), sigma.numpy()).sum((-2, -1)),
    )


def test_a_mask_over_elements_of_their_own_sigma():
    likelihood = LearnedGaussian((2,)).double()
    likelihood.log_sigma.data = torch.tensor([0.2, -0.5], dtype=torch.float64)
    params, x = torch.zeros(1, 2).double(), torch.tensor([[math.nan, 0.4]], dtype=torch.float64)
    value = likelihood.log_prob(params, x, torch.tensor([[False, True]]))
    close(value, stats.norm.logpdf([0.4], 0, math.exp(-0.5)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [None, (3,), (4, 3)])
def test_the_solved_sigma_is_the_optimum(shape, masked):
    likelihood, (_, params, x) = LearnedGaussian(shape).double(), drawn("gaussian")
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.6 if masked else None
    x = x if mask is None else x.masked_fill(~mask, math.nan)
    likelihood.solve(params, x, mask)
    value = likelihood.log_prob(params, x, mask).sum()
    (gradient,) = torch.autograd.grad(value, likelihood.log_sigma)
    assert gradient.abs().max() < 1e-9
    if not masked and shape is None:
        close(likelihood.log_sigma.exp(), (params - x).square().mean().sqrt())


def test_a_perfect_fit_leaves_sigma_at_its_limit_and_the_unseen_where_it_was():
    likelihood = LearnedGaussian((2,), sigma=0.5)
    x = torch.tensor([[1.0, math.nan]]).expand(3, 2)
    likelihood.solve(torch.ones(3, 2), x, ~x.isnan())
    torch.testing.assert_close(likelihood.log_sigma.exp(), torch.tensor([1e-3, 0.5]))


def test_a_full_gaussian_is_scipys_within_its_limits():
    likelihood, params, x = drawn("full")
    sigma = (0.5 * params[..., 1]).exp()
    wanted = stats.norm.logpdf(x.numpy(), params[..., 0].numpy(), sigma.numpy()).sum((-2, -1))
    close(likelihood.log_prob(params, x), wanted)
    far = torch.tensor([[[0.0, 1e4]], [[0.0, -1e4]]], dtype=torch.float64)
    close(FullGaussian().logvar(far), [[WIDEST], [-WIDEST]])


def test_laplace_is_scipys():
    likelihood, params, x = drawn("laplace")
    close(
        likelihood.log_prob(params, x),
        stats.laplace.logpdf(x.numpy(), params.numpy(), 0.8).sum((-2, -1)),
    )
    likelihood, params, x = drawn("laplace-decoder")
    scale = params[..., 1].exp()
    close(
        likelihood.log_prob(params, x),
        stats.laplace.logpdf(x.numpy(), params[..., 0].numpy(), scale.numpy()).sum((-2, -1)),
    )


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("gaussian", lambda p: torch.full_like(p, 0.36)),
        ("learned", lambda p: torch.full_like(p, 0.16)),
        ("full", lambda p: p[..., 1].exp()),
        ("laplace", lambda p: torch.full_like(p, 2 * 0.8**2)),
        ("laplace-decoder", lambda p: 2 * (2 * p[..., 1]).exp()),
    ],
)
def test_draws_have_the_stated_variance(name, variance):
    likelihood, params, _ = BY_NAME[name].drawn(rows=1)
    many = params.expand(40_000, *params.shape[1:])
    draws = likelihood.sample(many, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(draws.var(0), variance(params)[0], rtol=0.06, atol=0)


def test_scales_that_are_none_are_refused():
    for wrong in (lambda: Laplace(0.0), lambda: LearnedGaussian(sigma=-1.0)):
        with pytest.raises(IsthmusError, match="above 0"):
            wrong()


def test_beyond_its_limits_a_number_keeps_the_gradient_of_the_limit():
    raw = torch.tensor([-1e30, -2.0, 0.1, 3.0, 1e30], requires_grad=True)
    value = bounded(raw, -1.0, 2.0)
    assert value.tolist() == [-1.0, -1.0, raw[2].item(), 2.0, 2.0]
    (gradient,) = torch.autograd.grad(value.square().sum(), raw)
    torch.testing.assert_close(gradient, 2 * value.detach())


# --- continuous Bernoulli --------------------------------------------------------------------


def test_continuous_bernoulli_is_torchs_away_from_a_half():
    likelihood, params, x = drawn("continuous-bernoulli")
    params = params + 0.5 * params.sign()  # torch's own series near a half is good to 1e-5 only
    wanted = D.ContinuousBernoulli(logits=params).log_prob(x.expand_as(params))
    close(likelihood.log_prob(params, x), wanted.sum((-2, -1)), atol=1e-9)
    close(likelihood.mean(params), D.ContinuousBernoulli(logits=params).mean, atol=1e-9)


@pytest.mark.parametrize("logit", GRID.tolist())
def test_it_is_a_density_with_the_stated_mean(logit):
    likelihood, params = ContinuousBernoulli(), torch.tensor([[logit]], dtype=torch.float64)

    def density(x):
        return likelihood.log_prob(params, torch.tensor([[x]], dtype=torch.float64)).exp().item()

    ends = {"limit": 200, "points": [0.02, 0.1, 0.9, 0.98], "epsabs": 1e-13}
    assert integrate.quad(density, 0, 1, **ends)[0] == pytest.approx(1.0, abs=1e-11)
    mean = integrate.quad(lambda x: x * density(x), 0, 1, **ends)[0]
    assert likelihood.mean(params).item() == pytest.approx(mean, abs=1e-11)


def test_the_series_joins_the_formula_to_all_digits():
    mpmath.mp.dps = 40
    for logit in [1e-12, 1e-4, 0.1, 0.25, 0.2999999, 0.3000001, 0.5, 3.0]:
        exact = mpmath.log(mpmath.mpf(logit) / mpmath.tanh(mpmath.mpf(logit) / 2))
        exact += logit / 4 - mpmath.log1p(mpmath.exp(logit))
        params = torch.tensor([[logit]], dtype=torch.float64)
        found = ContinuousBernoulli().log_prob(
            params, torch.full((1, 1), 0.25, dtype=torch.float64)
        )
        assert found.item() == pytest.approx(float(exact), abs=1e-14)


@pytest.mark.parametrize("logit", [-30.0, -2.0, 0.0, 1e-8, 0.5, 7.0])
def test_draws_have_its_distribution_function(logit):
    rows = torch.full((20_000, 1), logit, dtype=torch.float64)
    draws = ContinuousBernoulli().sample(rows, generator=torch.Generator().manual_seed(0))

    def cdf(x):
        return x if logit == 0 else np.expm1(logit * x) / np.expm1(logit)

    assert stats.kstest(draws[:, 0].numpy(), cdf).pvalue > 0.01


def test_the_link_gives_the_mean_within_five_percent_of_the_logit():
    mean = torch.linspace(0.01, 0.99, 51, dtype=torch.float64)
    likelihood = ContinuousBernoulli()
    back = likelihood.mean(likelihood.link(mean))
    torch.testing.assert_close(back, mean, rtol=0, atol=0.012)
