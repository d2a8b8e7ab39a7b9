"""LARS against a transcription of its update in NumPy."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.training.lars import LARS
from isthmus.training.optimisers import make_optimiser, optimiser_class
from isthmus.training.options import TrainingOptions


def by_hand(
    weight: np.ndarray, gradients: list[np.ndarray], lr: float, decay: float, m: float, eta: float
) -> np.ndarray:
    momentum = np.zeros_like(weight)
    for gradient in gradients:
        direction = gradient
        if weight.ndim > 1:
            direction = gradient + decay * weight
            sizes = np.sqrt((weight**2).sum()), np.sqrt((direction**2).sum())
            if min(sizes) > 0:
                direction = eta * sizes[0] / sizes[1] * direction
        momentum = m * momentum + direction
        weight = weight - lr * momentum
    return weight


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5, 5), (7,)])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_five_steps_are_those_of_the_formula(shape, decay):
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape)
    gradients = [rng.normal(size=shape) for _ in range(5)]
    weight = nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = LARS([weight], lr=0.7, weight_decay=decay, momentum=0.8, eta=0.05)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
    expected = by_hand(start, gradients, 0.7, decay, 0.8, 0.05)
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-12)


def test_first_step_of_a_weight_has_a_length_set_by_the_weight_alone():
    weight = nn.Parameter(torch.randn(6, 4))
    before = weight.detach().clone()
    weight.grad = 1e6 * torch.randn(6, 4)
    LARS([weight], lr=0.5, eta=0.01).step()
    moved = (weight.detach() - before).norm() / before.norm()
    assert moved.item() == pytest.approx(0.5 * 0.01, rel=1e-4)


def test_zero_weights_and_zero_gradients_are_not_scaled():
    zero, still = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    zero.grad, still.grad = torch.full((2, 2), 3.0), torch.zeros(2, 2)
    LARS([zero, still], lr=0.1).step()
    torch.testing.assert_close(zero.detach(), torch.full((2, 2), -0.3))
    assert torch.equal(still.detach(), torch.ones(2, 2))


def test_momentum_survives_a_saved_state():
    torch.manual_seed(0)
    gradients = [torch.randn(3, 3) for _ in range(4)]
    one = nn.Parameter(torch.eye(3))
    optimiser = LARS([one], momentum=0.9)
    for i, gradient in enumerate(gradients):
        if i == 2:
            other = nn.Parameter(one.detach().clone())
            resumed = LARS([other], momentum=0.9)
            resumed.load_state_dict(deepcopy(optimiser.state_dict()))
        one.grad = gradient
        optimiser.step()
    for gradient in gradients[2:]:
        other.grad = gradient
        resumed.step()
    assert torch.equal(one, other)


def test_closure_gives_gradients_and_its_loss():
    weight = nn.Parameter(torch.ones(2, 2))
    optimiser = LARS([weight], lr=1.0, eta=0.1)

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimiser.step(closure) == 4.0
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.9))


def test_lars_is_found_by_name_and_takes_its_arguments():
    assert optimiser_class("LARS") is LARS
    options = TrainingOptions(
        optimiser="lars", optimiser_options={"momentum": 0.5}, weight_decay=0.1, lr=0.3
    )
    made = make_optimiser([("w", nn.Parameter(torch.ones(2, 2)))], options)
    assert isinstance(made, LARS)
    group = made.param_groups[0]
    assert (group["momentum"], group["weight_decay"], group["lr"]) == (0.5, 0.1, 0.3)
