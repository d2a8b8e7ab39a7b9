"""Two convolutions and a dense layer, their mirror, and the two paths through them."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks.layers import image_shape
from isthmus.shapes import Float

LEAK = 0.01
"""Slope of the rectifiers below zero."""

FIRST, SECOND = 4, 5
"""Sides of the two kernels in pixels; both have stride 2, the second padding 2."""


@dataclass(eq=False)
class Paths:
    """What the encoder sees with and without noise.

    ``noisy`` and ``clean`` are codes ``(rows, latent)``; ``activations`` ``(rows, elements)`` are
    the clean path's input and hidden layers, one after another.
    """

    noisy: Tensor
    clean: Tensor
    activations: Tensor


class LayeredEncoder(nn.Module):
    """Two strided convolutions with leaky rectifiers and a dense layer with tanh.

    Images ``(rows, channels, height, width)`` whose range is known are brought to [-1, 1] first.
    ``shapes`` are those of the input and of both hidden layers, without the row axis.
    """

    def __init__(self, signal: Signal, latent_dim: int, maps: tuple[int, int]) -> None:
        super().__init__()
        channels, height, width = image_shape(signal, "convolutional")
        if min(height, width) < FIRST:
            raise IsthmusError(
                f"an image of {height}x{width} pixels is smaller than the kernel of "
                f"{FIRST}x{FIRST}: use larger images, or the codes of another recipe"
            )
        self.low, self.high = signal.low, signal.high
        pads = (height % 2, width % 2)
        self.conv1 = nn.Conv2d(channels, maps[0], FIRST, 2, pads)
        self.conv2 = nn.Conv2d(maps[0], maps[1], SECOND, 2, SECOND // 2)
        sides1 = tuple(
            (n + 2 * p - FIRST) // 2 + 1 for n, p in zip((height, width), pads, strict=True)
        )
        sides2 = tuple((n - 1) // 2 + 1 for n in sides1)
        self.shapes = ((channels, height, width), (maps[0], *sides1), (maps[1], *sides2))
        self.dense = nn.Linear(prod(self.shapes[2]), latent_dim)
        start(self)

    @property
    def bounded(self) -> bool:
        """Whether the range of the images is known, and not empty."""
        return self.low is not None and self.high is not None and self.low < self.high

    def scaled(self, x: Tensor) -> Tensor:
        """``x`` brought to [-1, 1] where its range is known."""
        if not self.bounded:
            return x
        assert self.low is not None
        assert self.high is not None
        return (x - self.low) * (2.0 / (self.high - self.low)) - 1.0

    def unscaled(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`scaled`."""
        if not self.bounded:
            return x
        assert self.low is not None
        assert self.high is not None
        return (x + 1.0) * (0.5 * (self.high - self.low)) + self.low

    def path(self, x: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Both hidden layers and the code of scaled images.

        ``dropout`` is the share of the input and of each hidden layer that is set to zero; the
        rest is scaled up.
        """
        x = F.dropout(x, dropout)
        first = F.dropout(F.leaky_relu(self.conv1(x), LEAK), dropout)
        second = F.dropout(F.leaky_relu(self.conv2(first), LEAK), dropout)
        return first, second, self.dense(second.flatten(1)).tanh()


class ClearAndNoisy(nn.Module):
    """Both paths through one encoder; in evaluation the noisy path is the clean one."""

    def __init__(self, encoder: LayeredEncoder, dropout: float) -> None:
        super().__init__()
        self.encoder, self.dropout = encoder, dropout

    def forward(self, x: Float[Tensor, "rows channels height width"]) -> Paths:
        x = self.encoder.scaled(x)
        first, second, clean = self.encoder.path(x)
        noisy = self.encoder.path(x, self.dropout)[2] if self.training else clean
        activations = torch.cat([x.flatten(1), first.flatten(1), second.flatten(1)], 1)
        return Paths(noisy, clean, activations)


class LayeredDecoder(nn.Module):
    """The mirror of :class:`LayeredEncoder`, which also says what it makes of each layer.

    ``sizes`` are the numbers of elements of the layers that :meth:`layers` returns.
    """

    def __init__(self, encoder: LayeredEncoder) -> None:
        super().__init__()
        self._encoder = (encoder,)
        self.shapes = encoder.shapes
        self.sizes = [prod(shape) for shape in self.shapes]
        self.dense = nn.Linear(encoder.dense.out_features, self.sizes[2])
        self.deconv2 = _mirror(encoder.conv2, self.shapes[2], self.shapes[1])
        self.deconv1 = _mirror(encoder.conv1, self.shapes[1], self.shapes[0])
        start(self)

    def layers(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows elements"]:
        """The rebuilt image in [-1, 1] and hidden layers, one after another."""
        second = F.leaky_relu(self.dense(z), LEAK).unflatten(1, self.shapes[2])
        first = F.leaky_relu(self.deconv2(second), LEAK)
        image = self.deconv1(first)
        if self._encoder[0].bounded:
            image = image.tanh()
        return torch.cat([image.flatten(1), first.flatten(1), second.flatten(1)], 1)

    def forward(
        self, z: Float[Tensor, "rows latent"]
    ) -> Float[Tensor, "rows channels height width"]:
        image = self.layers(z)[:, : self.sizes[0]]
        return self._encoder[0].unscaled(image).unflatten(1, self.shapes[0])


def start(network: nn.Module) -> None:
    """Glorot's uniform start (2010), biases zero."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.xavier_uniform_(part.weight)
            assert part.bias is not None
            nn.init.zeros_(part.bias)


def _mirror(conv: nn.Conv2d, before: tuple[int, ...], after: tuple[int, ...]) -> nn.ConvTranspose2d:
    """The transposed convolution back from ``before`` to ``after``, exactly."""
    kernel, padding = conv.kernel_size[0], (int(conv.padding[0]), int(conv.padding[1]))
    extra = [
        a - ((b - 1) * 2 - 2 * p + kernel)
        for a, b, p in zip(after[1:], before[1:], padding, strict=True)
    ]
    return nn.ConvTranspose2d(
        before[0], after[0], kernel, 2, padding, output_padding=(extra[0], extra[1])
    )
