"""Observation models against torch.distributions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as D
from torch.nn.functional import binary_cross_entropy_with_logits

import isthmus.recipes
from isthmus.anatomy import Bernoulli, Gaussian, Signal
from isthmus.errors import IsthmusError


def case(shape, lead=(), rows=5):
    generator = torch.Generator().manual_seed(1)
    params = torch.randn((*lead, rows, *shape), generator=generator, dtype=torch.float64)
    return params, torch.rand((rows, *shape), generator=generator, dtype=torch.float64)


shapes = st.sampled_from([(3,), (1,), (1, 4, 5), (6, 2)])
leads = st.sampled_from([(), (4,), (2, 3)])


@given(shapes, leads, st.floats(0.05, 10.0))
def test_gaussian(shape, lead, sigma):
    params, x = case(shape, lead)
    expected = D.Normal(params, sigma).log_prob(x.expand_as(params))
    got = Gaussian(sigma).log_prob(params, x)
    assert got.shape == (*lead, 5)
    torch.testing.assert_close(got, expected.flatten(len(lead) + 1).sum(-1))


@given(shapes, leads)
def test_bernoulli(shape, lead):
    params, x = case(shape, lead)
    binary = x.round()
    expected = D.Bernoulli(logits=params).log_prob(binary.expand_as(params))
    got = Bernoulli().log_prob(params, binary)
    assert got.shape == (*lead, 5)
    torch.testing.assert_close(got, expected.flatten(len(lead) + 1).sum(-1))


def test_bernoulli_reads_grey_levels_as_probabilities():
    params, x = case((7,))
    both = D.Bernoulli(logits=params)
    expected = x * both.log_prob(torch.ones_like(x)) + (1 - x) * both.log_prob(torch.zeros_like(x))
    torch.testing.assert_close(Bernoulli().log_prob(params, x), expected.sum(1))


def test_bernoulli_is_finite_for_extreme_logits():
    params = torch.tensor([[200.0, -200.0]])
    assert Bernoulli().log_prob(params, torch.tensor([[1.0, 0.0]])).item() == 0.0
    assert Bernoulli().log_prob(params, torch.tensor([[0.0, 1.0]])).item() == -400.0


@pytest.mark.parametrize(
    ("likelihood", "variance"),
    [(Gaussian(0.3), lambda mean: 0.09), (Bernoulli(), lambda mean: mean * (1 - mean))],
)
def test_samples_have_the_stated_moments(likelihood, variance):
    params = torch.linspace(-1, 1, 4).repeat(40_000, 1)
    mean = likelihood.mean(params)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = likelihood.sample(params)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.015, rtol=0)
    expected = torch.as_tensor(variance(mean)).expand(4)
    torch.testing.assert_close(drawn.var(0), expected.float(), atol=0.005, rtol=0.03)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_without_a_mask_values_and_gradients_are_the_first_releases_to_the_bit(lead):
    """Checkpoints and their continuations rest on these operations in this order."""

    def summed(values, x):
        return values.flatten(values.ndim - x.ndim + 1).sum(-1)

    def gaussian(params, x):
        constant = x[0].numel() * (math.log(0.3) + 0.5 * math.log(2 * math.pi))
        return -0.5 * summed((params - x).square(), x) / 0.3**2 - constant

    def bernoulli(params, x):
        loss = binary_cross_entropy_with_logits(params, x.expand_as(params), reduction="none")
        return -summed(loss, x)

    for likelihood, first in ((Gaussian(0.3), gaussian), (Bernoulli(), bernoulli)):
        params, x = (tensor.float() for tensor in case((3, 8, 8), lead))
        params.requires_grad_()
        values = likelihood.log_prob(params, x), first(params, x)
        assert torch.equal(*values)
        assert torch.equal(*(torch.autograd.grad(v.mean(), params)[0] for v in values))
        one, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
        drawn = likelihood.sample(params, generator=one)
        if isinstance(likelihood, Gaussian):
            wanted = params + 0.3 * torch.randn(params.shape, generator=other)
        else:
            wanted = torch.bernoulli(torch.sigmoid(params), generator=other)
        assert torch.equal(drawn, wanted)


def test_a_sample_of_the_data_is_checked_before_the_first_step():
    model = isthmus.recipes.get_recipe("vae").build_function(
        Signal("vector", (3,), low=0.0, high=1.0), likelihood="bernoulli", latent_dim=2
    )
    model.prepare(torch.rand(8, 3))
    with pytest.raises(IsthmusError, match=r"bernoulli needs values between 0 and 1, .* hold 1.5"):
        model.prepare(torch.full((8, 3), 1.5))
