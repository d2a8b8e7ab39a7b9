"""The Gaussian model whose gradients are written out."""

import pytest
import torch
from torch.distributions import Normal

from isthmus.objectives.importance import Importance
from isthmus.studies.variational.gradient_noise import VARIANCE, GaussianToy, _ratio
from isthmus.studies.variational.tighter_bounds import slope


@pytest.mark.parametrize("groups", [1, 3])
def test_gradients_are_autograds(groups):
    toy = GaussianToy(0, rows=5, width=3, offset=0.3)
    noise = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(1))
    mu, b = toy.mu.clone().requires_grad_(), toy.b.clone().requires_grad_()
    middle = toy.x @ toy.A.T + b
    z = middle + VARIANCE**0.5 * noise

    def weights(held):
        q = Normal(held, VARIANCE**0.5)
        logs = Normal(mu, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(toy.x) - q.log_prob(z)
        return logs.sum(-1)

    bound = Importance(groups)
    exact = torch.autograd.grad(bound.value(weights(middle)).sum(), (mu, b), retain_graph=True)
    # Tucker et al. 2018: squared normalised weights of each group, along the path alone.
    logs = weights(middle.detach())
    squares = logs.detach().unflatten(0, (groups, -1)).softmax(1).square().flatten(0, 1) / groups
    doubly = torch.autograd.grad((squares * logs).sum(), b)[0]
    found = toy.gradients(bound, noise)
    for one, other in zip(found, (*exact, doubly), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_optimum_has_no_signal_without_importance_weights():
    toy = GaussianToy(0, rows=64, width=4, offset=0.0)
    noise = torch.randn(2, 64, 4, generator=torch.Generator().manual_seed(1))
    both = torch.cat([noise, -noise])  # the mean over the noise is then exactly zero
    by_mu, by_b, _ = (
        sum(toy.gradients(Importance(), one[None])[i] for one in both) for i in range(3)
    )
    torch.testing.assert_close(by_mu, torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(by_b, torch.zeros(4), atol=1e-3, rtol=0)


def test_a_ratio_is_mean_over_deviation():
    gradients = torch.tensor([[1.0, -2.0], [3.0, -2.5], [2.0, -3.0]])
    assert _ratio(gradients) == pytest.approx((2.0 / 1.0 + 2.5 / 0.5) / 2)


def test_slopes_are_those_of_a_power_law():
    toy = GaussianToy(3, rows=64, width=4)
    made = {k: toy.ratios(Importance(), 1, 3) for k in (1, 10, 100, 1000)}
    made = {k: type(r)(mu=k**0.5, b=2.0 * k**-0.5, b_doubly=1.0) for k, r in made.items()}
    assert slope(made, "mu", 10, 1000) == pytest.approx(0.5)
    assert slope(made, "b", 1, 100) == pytest.approx(-0.5)
    assert slope(made, "b_doubly", 1, 1000) == pytest.approx(0.0, abs=1e-12)
