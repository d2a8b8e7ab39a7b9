"""The JumpReLU bottleneck: both ways of computing it, and the shift of its thresholds."""

import math

import numpy as np
import pytest
import torch

from isthmus import kernels
from isthmus.anatomy import Autoencoder, Signal, ThresholdCode
from isthmus.bottlenecks import JumpReLUBottleneck
from isthmus.bottlenecks.jumprelu import HeavisideStep
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE

WIDTH, D, ROWS = 640, 12, 9
PATHS = ["torch", "native"] if kernels.library.native() is not None else ["torch"]


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"x": (ROWS, D), "weight": (WIDTH, D), "bias": (WIDTH,), "centre": (D,)}
    made = {n: torch.from_numpy(rng.normal(size=s).astype(np.float32)) for n, s in shapes.items()}
    made["weight"] /= D**0.5
    made["bias"] *= 0.1
    return {n: t.requires_grad_() for n, t in made.items()}


@pytest.mark.parametrize("path", PATHS)
def test_sparse_equals_dense_with_all_gradients(path):
    given, upstream = parameters(), torch.randn(ROWS, WIDTH)
    made = JumpReLUBottleneck(WIDTH, 2.2, 0.4)
    results, kinds = [], []
    for way in ("reference", path):
        with kernels.using(way):
            code = made(Preactivations(**given))
            active = HeavisideStep.apply(*code.gates, float(made.bandwidth))
            ((code.z * upstream).sum() + 0.3 * active.sum()).backward()
        results.append({"z": code.z.detach(), "l0": active.sum(1).detach()})
        for name, tensor in {**given, **dict(made.named_parameters())}.items():
            results[-1][name] = tensor.grad.clone()
            tensor.grad = None
        kinds.append(isinstance(code, ThresholdCode))
    assert kinds == [True, False]
    assert results[0]["log_threshold"].abs().sum() > 0
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=5e-5, atol=5e-5, msg=name)


def test_a_shift_raises_every_threshold_and_keeps_it_positive():
    made = JumpReLUBottleneck(3, 1.0, 0.1)
    with torch.no_grad():
        made.log_threshold.copy_(torch.tensor([1.0, 2.0, 0.01]).log())
    dictionary = Dictionary(3, (2,))
    model = Autoencoder(
        Signal("vector", (2,)), encoder=DictionaryEncoder(dictionary), bottleneck=made,
        decoder=dictionary, objective=MSE(),
    )  # fmt: skip
    made.shift(model, torch.tensor(0.5))
    expected = torch.tensor([1.5, 2.5, 0.02])  # the last at most doubles
    torch.testing.assert_close(made.log_threshold.detach().exp(), expected)
    for _ in range(50):
        made.shift(model, torch.tensor(-1.0))
    assert bool(torch.isfinite(made.log_threshold).all())
    assert made.log_threshold.max() < math.log(1e-6)


def test_without_a_control_both_numbers_are_needed():
    with pytest.raises(ValueError, match="threshold and bandwidth"):
        JumpReLUBottleneck(3, None, 0.1)
