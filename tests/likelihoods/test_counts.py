"""Probabilities of counts and classes against scipy.stats."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import special, stats

from isthmus.errors import IsthmusError
from isthmus.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    Mixed,
    Multinomial,
    NegativeBinomial,
    Poisson,
    ZeroInflated,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from isthmus.likelihoods.counts import log_rising
from likelihoods.cases import CASES

BY_NAME = {case.name: case for case in CASES}


def close(found, wanted, atol=1e-10):
    torch.testing.assert_close(
        found, torch.as_tensor(wanted, dtype=found.dtype), rtol=1e-12, atol=atol
    )


def nbinom(x, log_mean, log_theta):
    mean, theta = np.exp(log_mean), np.exp(log_theta)
    return stats.nbinom.logpmf(x, theta, theta / (theta + mean))


def inflated(x, logit, inner):
    pi = special.expit(logit)
    return np.where(x == 0, np.log(pi + (1 - pi) * np.exp(inner)), np.log1p(-pi) + inner)


def per_row(values):
    return values.sum((-2, -1))


def test_poisson_is_scipys():
    likelihood, params, x = BY_NAME["poisson"].drawn(lead=(2,))
    wanted = per_row(stats.poisson.logpmf(x.numpy(), params.exp().numpy()))
    close(likelihood.log_prob(params, x), wanted)
    close(likelihood.log_prob(params, x.long()), wanted)


def test_negative_binomial_is_scipys():
    likelihood, params, x = BY_NAME["negative-binomial"].drawn(lead=(2,))
    likelihood.log_theta.data.fill_(0.8)
    close(likelihood.log_prob(params, x), per_row(nbinom(x.numpy(), params.numpy(), 0.8)))
    likelihood, params, x = BY_NAME["negative-binomial-decoder"].drawn(lead=(2,))
    numbers = params.numpy()
    wanted = per_row(nbinom(x.numpy(), numbers[..., 0], numbers[..., 1]))
    close(likelihood.log_prob(params, x), wanted)


@pytest.mark.parametrize("theta", [1e-6, 0.3, 19.9, 20.1, 500.0, 1e6])
def test_negative_binomial_over_all_dispersions(theta):
    mpmath.mp.dps = 50
    mean, counts = 3.7, [0, 1, 4, 60]
    params = torch.tensor([[math.log(mean), math.log(theta)]], dtype=torch.float64).expand(4, 1, 2)
    x = torch.tensor(counts, dtype=torch.float64)[:, None]
    likelihood = NegativeBinomial(dispersion="decoder")
    t, m = mpmath.mpf(theta), mpmath.mpf(mean)
    wanted = [
        float(
            mpmath.loggamma(k + t) - mpmath.loggamma(t) - mpmath.loggamma(k + 1)
            + t * mpmath.log(t / (t + m)) + k * mpmath.log(m / (t + m))
        )
        for k in counts
    ]  # fmt: skip
    close(likelihood.log_prob(params, x), np.array(wanted), atol=1e-11)
    # Near the Poisson limit the textbook formula loses every digit in float32.
    single = likelihood.log_prob(params.float(), x.float())
    torch.testing.assert_close(
        single.double(), torch.tensor(wanted, dtype=torch.float64), rtol=2e-5, atol=1e-5
    )


def test_a_great_theta_is_a_poisson():
    params = torch.linspace(-2, 3, 6, dtype=torch.float64)[:, None]
    x = torch.arange(6, dtype=torch.float64)[:, None]
    both = torch.stack([params, torch.full_like(params, 50.0)], -1)
    found = NegativeBinomial(dispersion="decoder").log_prob(both, x)
    close(found, Poisson().log_prob(params, x), atol=3e-4)


def test_the_rising_factorial_has_the_gradient_of_finite_differences_at_its_seam():
    theta = torch.tensor([1e-3, 0.5, 19.999, 20.001, 300.0], dtype=torch.float64).requires_grad_()
    x = torch.tensor([0.0, 1.0, 7.0], dtype=torch.float64)[:, None]
    assert torch.autograd.gradcheck(lambda t: log_rising(x, t, t.log()), theta)


def test_zero_inflation_is_the_mixture():
    likelihood, params, x = BY_NAME["zip"].drawn(lead=(2,))
    x, numbers = x.numpy(), params.numpy()
    inner = stats.poisson.logpmf(x, np.exp(numbers[..., 0]))
    wanted = per_row(inflated(x, numbers[..., 1], inner))
    close(likelihood.log_prob(params, torch.tensor(x)), wanted)
    likelihood, params, x = BY_NAME["zinb-decoder"].drawn(lead=(2,))
    x, numbers = x.numpy(), params.numpy()
    inner = nbinom(x, numbers[..., 0], numbers[..., 1])
    wanted = per_row(inflated(x, numbers[..., 2], inner))
    close(likelihood.log_prob(params, torch.tensor(x)), wanted)


@pytest.mark.parametrize(
    ("likelihood", "params"),
    [
        (Poisson(), 1.1),
        (NegativeBinomial(dispersion="decoder"), [1.1, 0.4]),
        (ZeroInflatedPoisson(), [1.1, -0.3]),
        (ZeroInflatedNegativeBinomial(dispersion="decoder"), [1.1, 0.4, -0.3]),
    ],
)
def test_draws_have_the_frequencies_of_the_mass_which_sums_to_one(likelihood, params):
    params = torch.tensor(params, dtype=torch.float64)[None, None]
    ks = torch.arange(200, dtype=torch.float64)[:, None]
    mass = likelihood.log_prob(params.expand(200, *params.shape[1:]), ks).exp()
    assert mass.sum().item() == pytest.approx(1.0, abs=1e-10)
    close((mass * ks[:, 0]).sum(), likelihood.mean(params)[0, 0], atol=1e-8)
    many = params.expand(30_000, *params.shape[1:])
    drawn = likelihood.sample(many, generator=torch.Generator().manual_seed(4))
    found = torch.bincount(drawn.long().flatten().clamp(max=8), minlength=9).numpy()
    wanted = torch.cat([mass[:8], mass[8:].sum()[None]])
    assert stats.chisquare(found, (wanted / wanted.sum() * 30_000).numpy()).pvalue > 0.01


def test_only_counts_can_be_inflated():
    for inner in (Gaussian(), Multinomial()):
        with pytest.raises(IsthmusError, match="single counts"):
            ZeroInflated(inner)


@pytest.mark.parametrize("likelihood", [Poisson(), NegativeBinomial(), ZeroInflatedPoisson()])
def test_links_undo_the_mean(likelihood):
    mean = torch.tensor([0.5, 3.0])
    first = likelihood.link(mean)
    extra = likelihood.numbers - 1
    params = first if not extra else torch.stack([first, torch.zeros(2)], -1)
    torch.testing.assert_close(likelihood.mean(params), mean)


# --- classes and shares ----------------------------------------------------------------------


def test_categorical_is_the_logarithm_of_its_softmax():
    likelihood, params, x = BY_NAME["categorical"].drawn(lead=(2,))
    logs = special.log_softmax(params.numpy(), -1)
    wanted = np.take_along_axis(logs, np.broadcast_to(x.numpy(), (2, 5, 4, 3))[..., None], -1)
    close(likelihood.log_prob(params, x), per_row(wanted[..., 0]))
    close(likelihood.log_prob(params, x.double()), per_row(wanted[..., 0]))
    assert likelihood.mean(params).dtype == torch.int64
    assert torch.equal(likelihood.mean(params), params.argmax(-1))


def test_categorical_draws_have_the_stated_frequencies():
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0])
    many = logits.expand(30_000, 1, 4)
    found = torch.bincount(
        Categorical(4).sample(many, generator=torch.Generator().manual_seed(0)).flatten()
    )
    assert (
        stats.chisquare(found.numpy(), (logits.double().softmax(0) * 30_000).numpy()).pvalue > 0.01
    )


def test_multinomial_is_scipys_in_every_group():
    likelihood, params, x = BY_NAME["multinomial"].drawn(lead=(2,))
    p = special.softmax(params.numpy(), -1)
    counts = np.broadcast_to(x.numpy(), p.shape)
    wanted = stats.multinomial.logpmf(counts, counts.sum(-1), p).sum(-1)
    close(likelihood.log_prob(params, x), wanted)


def test_a_missing_count_leaves_the_multinomial_of_the_others():
    likelihood, params, x = BY_NAME["multinomial"].drawn()
    mask = torch.ones(x.shape, dtype=torch.bool)
    mask[..., 1] = False
    found = likelihood.log_prob(params, x.masked_fill(~mask, math.nan), mask)
    close(found, likelihood.log_prob(params[..., [0, 2]], x[..., [0, 2]]))


def test_one_hot_rows_under_a_multinomial_are_categorical():
    logits, ids = torch.randn(6, 4).double(), torch.tensor([0, 1, 2, 3, 0, 1])
    one_hot = torch.eye(4, dtype=torch.float64)[ids]
    wanted = Categorical(4).log_prob(logits[:, None], ids[:, None])
    close(Multinomial().log_prob(logits, one_hot), wanted)


def test_multinomial_draws_sum_to_the_total():
    logits = torch.tensor([[0.3, -1.0, 2.0]]).expand(5000, 3)
    likelihood = Multinomial(total=7)
    drawn = likelihood.sample(logits, generator=torch.Generator().manual_seed(0))
    assert (drawn.sum(-1) == 7).all()
    torch.testing.assert_close(drawn.mean(0), likelihood.mean(logits)[0], atol=0.06, rtol=0)


@pytest.mark.parametrize(
    ("likelihood", "x", "sentence"),
    [
        (Poisson(), [[1.0, 2.5]], "poisson needs whole numbers of 0 or more, .* hold 2.5"),
        (Poisson(), [[-1.0, 2.0]], "hold -1"),
        (NegativeBinomial(), [[0.0, math.inf]], "negative-binomial needs whole .* hold inf"),
        (ZeroInflatedPoisson(), [[0.5, 0.0]], "zero-inflated-poisson needs whole"),
        (Multinomial(), [[0.5, 0.5]], "multinomial needs whole"),
        (Categorical(3), [[0, 3]], "categorical needs whole numbers from 0 to 2, .* hold 3"),
        (Bernoulli(), [[0.2, 1.5]], "bernoulli needs values between 0 and 1, .* hold 1.5"),
    ],
)
def test_check_names_the_value(likelihood, x, sentence):
    with pytest.raises(IsthmusError, match=sentence):
        likelihood.check(torch.tensor(x))
    likelihood.check(torch.tensor(x), torch.tensor([False]))


def test_grey_levels_may_be_scored_by_a_bernoulli_but_are_not_in_its_support():
    x = torch.tensor([[0.0, 0.4, 1.0]])
    Bernoulli().check(x)
    assert Bernoulli().support(x).tolist() == [[True, False, True]]


def test_wrong_sizes_are_refused():
    with pytest.raises(IsthmusError, match="2 or more"):
        Categorical(1)
    with pytest.raises(IsthmusError, match="1 or more"):
        Multinomial(0)
    with pytest.raises(IsthmusError, match="did you mean 'learned'"):
        NegativeBinomial(dispersion="learnt")


# --- mixed columns ---------------------------------------------------------------------------


def test_a_mixed_likelihood_is_the_sum_over_its_blocks():
    likelihood, params, x = BY_NAME["mixed"].drawn(lead=(2,))
    assert likelihood.width == 3 + 5 + 3 + 2
    wanted = (
        Gaussian(0.7).log_prob(params[..., :3], x[:, :3])
        + Categorical(5).log_prob(params[..., None, 3:8], x[:, 3:4])
        + Multinomial().log_prob(params[..., 8:11], x[:, 4:7])
        + NegativeBinomial(dispersion="decoder").log_prob(params[..., None, 11:], x[:, 7:])
    )
    close(likelihood.log_prob(params, x), wanted)


def test_the_order_in_which_blocks_are_named_does_not_matter():
    both = {(0, 1): Gaussian(), (1, 2): Poisson()}
    backwards = Mixed(dict(reversed(both.items())))
    params, x = torch.randn(3, 2), torch.tensor([[0.3, 2.0]]).expand(3, 2)
    assert torch.equal(Mixed(both).log_prob(params, x), backwards.log_prob(params, x))


def test_mixed_is_discrete_only_where_all_its_blocks_are():
    assert Mixed({(0, 1): Poisson(), (1, 2): Categorical(3)}).discrete
    assert not Mixed({(0, 1): Poisson(), (1, 2): Gaussian()}).discrete


def test_mixed_errors():
    for blocks in ({(1, 2): Gaussian()}, {(0, 2): Gaussian(), (1, 3): Poisson()}):
        with pytest.raises(IsthmusError, match="without gap or overlap"):
            Mixed(blocks)
    with pytest.raises(IsthmusError, match="at least one block"):
        Mixed({})
    likelihood, params, x = BY_NAME["mixed"].drawn()
    with pytest.raises(IsthmusError, match="return 13 numbers for a row"):
        likelihood.log_prob(params[:, 1:], x)
    with pytest.raises(IsthmusError, match=r"pass \(rows, 8\)"):
        likelihood.log_prob(params, x[:, 1:])
    x[2, 7] = 0.5
    with pytest.raises(IsthmusError, match="in columns 7 to 7, likelihood negative-binomial needs"):
        likelihood.check(x)
