"""How the layers of a fully connected or convolutional network start."""

from math import prod, sqrt

from torch import nn

GAINS = {"tanh": 5 / 3, "sigmoid": 1.0, "identity": 1.0}
"""What a layer must amplify by, to make up for its activation; sqrt(2) where not listed."""


def fan_in(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Number of inputs that one output sums up, away from the borders."""
    if isinstance(layer, nn.ConvTranspose2d):
        taps = prod(layer.kernel_size) / prod(layer.stride)
        return layer.in_channels * taps
    return float(layer.weight[0].numel())


def init_hidden(network: nn.Module, activation: str) -> None:
    """Start every layer but the last so that signals keep their size (He et al. 2015).

    Weights are uniform with variance ``gain ** 2 / fan_in``, biases zero. PyTorch's own start
    more than halves a signal at each linear layer with a ReLU, so that deep convolutional pairs
    train slowly. The last layer keeps that start, so that outputs begin small.
    """
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    layers = [part for part in network.modules() if isinstance(part, kinds)]
    gain = GAINS.get(activation, sqrt(2.0))
    for layer in layers[:-1]:
        bound = gain * sqrt(3.0 / fan_in(layer))
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
