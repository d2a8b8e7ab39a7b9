import math

import pytest
import torch
from torch import nn

from isthmus.anatomy import Signal
from isthmus.networks import ConvDecoder, ConvEncoder, MLPEncoder
from isthmus.networks.initialisation import fan_in


def test_hidden_layers_start_uniform_within_the_bound_of_he_and_the_last_as_in_torch():
    torch.manual_seed(0)
    first, last = (
        m for m in MLPEncoder(Signal("vector", (96,)), 50, (80,)).layers if len([*m.parameters()])
    )
    bound = math.sqrt(6 / 96)
    assert 0.99 * bound < first.weight.abs().max().item() <= bound
    assert first.weight.var().item() == pytest.approx(2 / 96, rel=0.05)
    assert not first.bias.any()
    assert 0.99 / math.sqrt(80) < last.weight.abs().max().item() <= 1 / math.sqrt(80)
    assert last.bias.any()


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_signals_keep_their_size_through_a_deep_stack(activation):
    torch.manual_seed(0)
    network = MLPEncoder(Signal("vector", (128,)), 4, (128,) * 10, activation)
    size = network.layers[:-1](torch.randn(256, 128)).square().mean().sqrt().item()
    assert 0.25 < size < 4


def test_signals_keep_their_size_through_convolutions():
    torch.manual_seed(0)
    signal = Signal("image", (3, 64, 64))
    encoded = ConvEncoder(signal, 8).convolutions(torch.randn(16, 3, 64, 64))
    assert 0.4 < encoded.square().mean().sqrt().item() < 2.5
    decoder = ConvDecoder(signal, 8)
    decoded = decoder.convolutions[:-1](torch.randn(16, *decoder.top))
    assert 0.4 < decoded.square().mean().sqrt().item() < 2.5


def test_fan_in_counts_the_inputs_of_one_interior_output():
    """With all-one weights and inputs, an output is its number of inputs."""
    for layer, mean in (
        (nn.Linear(5, 2, bias=False), None),
        (nn.Conv2d(3, 2, (4, 3), (2, 1), (1, 1), bias=False), None),
        (nn.ConvTranspose2d(3, 2, (4, 3), (2, 1), (1, 1), bias=False), None),
        (nn.ConvTranspose2d(3, 2, 3, 2, 1, bias=False), "of four phases"),
    ):
        nn.init.ones_(layer.weight)
        out = layer(torch.ones(1, 5) if isinstance(layer, nn.Linear) else torch.ones(1, 3, 24, 24))
        inner = out if out.ndim == 2 else out[0, 0, 4:-5, 4:-5]
        if mean:
            inner = inner[: inner.shape[0] // 2 * 2, : inner.shape[1] // 2 * 2]
        assert inner.mean().item() == pytest.approx(fan_in(layer))
