"""Convolutional networks for images of any size and number of channels."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks.initialisation import init_hidden
from isthmus.networks.layers import (
    activation_layer,
    after,
    dense_stack,
    image_shape,
    norm_layer,
    sizes,
)
from isthmus.shapes import Float

SHORTEST = 4
"""The shortest side, in pixels, that a layer still halves."""


@dataclass(frozen=True)
class Stride:
    """What one layer does along one axis: ``before`` pixels become ``after``."""

    before: int
    kernel: int
    step: int
    padding: int

    @property
    def after(self) -> int:
        return (self.before + 2 * self.padding - self.kernel) // self.step + 1

    @property
    def output_padding(self) -> int:
        """What the transposed layer adds at the end so that it returns exactly ``before``.

        The division in ``after`` rounds down, so this is 0 or 1. With a kernel of 3 or more the
        added pixel is one that the kernel reaches, hence a proper output.
        """
        return self.before - ((self.after - 1) * self.step - 2 * self.padding + self.kernel)


def strides(side: int, layers: int, kernel: int) -> list[Stride]:
    """The plan of ``layers`` layers along an axis of ``side`` pixels.

    A side of at least ``SHORTEST`` is halved; a shorter one is kept, with a kernel of 3 (of 1 on
    a single pixel, where further taps would only ever see padding).
    """
    plan: list[Stride] = []
    for _ in range(layers):
        if side >= SHORTEST:
            plan.append(Stride(side, kernel, 2, (kernel - 1) // 2))
        else:
            plan.append(Stride(side, 3, 1, 1) if side > 1 else Stride(1, 1, 1, 0))
        side = plan[-1].after
    return plan


class _Plan:
    """The layers' sizes, which encoder and decoder share."""

    def __init__(self, signal: Signal, channels: Sequence[int], kernel: int) -> None:
        self.image, height, width = image_shape(signal, "convolutional")
        self.channels = sizes("channels", channels, least=1)
        if kernel < 3:
            raise IsthmusError(
                f"kernel={kernel} would skip pixels of an odd-sized image: use 3 or more "
                "(an even number, such as 4, avoids checkerboard patterns)"
            )
        rows = strides(height, len(self.channels), kernel)
        columns = strides(width, len(self.channels), kernel)
        self.axes = list(zip(rows, columns, strict=True))
        self.top = (self.channels[-1], rows[-1].after, columns[-1].after)
        self.flat = self.top[0] * self.top[1] * self.top[2]


class ConvEncoder(nn.Module):
    """Strided convolutions, then dense layers: ``(rows, C, H, W)`` to ``(rows, out_dim)``.

    One layer for each entry of ``channels``: a ``kernel`` x ``kernel`` convolution of stride 2
    along each axis that is still at least 4 pixels long, of stride 1 and kernel 3 along a shorter
    one. Then the fully connected layers of ``hidden`` and one linear layer. The network of
    Burgess et al. (2018, "Understanding disentangling in beta-VAE", appendix A.1) for 64 x 64
    images is ``channels=(32, 32, 32, 32), hidden=(256, 256)``.
    """

    def __init__(
        self,
        signal: Signal,
        out_dim: int,
        channels: Sequence[int] = (32, 32, 64, 64),
        kernel: int = 4,
        hidden: Sequence[int] = (256,),
        activation: str = "relu",
        norm: str | None = None,
    ) -> None:
        super().__init__()
        plan = _Plan(signal, channels, kernel)
        layers: list[nn.Module] = []
        before = plan.image
        for width, (row, column) in zip(plan.channels, plan.axes, strict=True):
            conv = nn.Conv2d(
                before,
                width,
                (row.kernel, column.kernel),
                (row.step, column.step),
                (row.padding, column.padding),
                bias=norm != "batch",
            )
            layers += after(
                conv, norm_layer(norm, width, spatial=True), activation_layer(activation)
            )
            before = width
        widths = (plan.flat, *sizes("hidden", hidden))
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            *dense_stack(widths, activation, norm), nn.Linear(widths[-1], out_dim)
        )
        init_hidden(self, activation)

    def forward(self, x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows out"]:
        return self.dense(self.convolutions(x).flatten(1))


class ConvDecoder(nn.Module):
    """The mirror of :class:`ConvEncoder`: from ``(rows, latent_dim)`` to ``(rows, C, H, W)``.

    ``channels`` and ``hidden`` are in the *encoder's* order and are built in reverse, so that the
    same options give a mirrored pair. Nothing is cropped or resized: each transposed convolution
    returns exactly the size that its twin in the encoder read. An even ``kernel`` spreads each
    input evenly over the output and so avoids checkerboard patterns (Odena et al. 2016).
    ``final`` is an activation on the output.
    """

    def __init__(
        self,
        signal: Signal,
        latent_dim: int,
        channels: Sequence[int] = (32, 32, 64, 64),
        kernel: int = 4,
        hidden: Sequence[int] = (256,),
        activation: str = "relu",
        norm: str | None = None,
        final: str = "identity",
    ) -> None:
        super().__init__()
        plan = _Plan(signal, channels, kernel)
        self.top = plan.top
        widths = (latent_dim, *reversed(sizes("hidden", hidden)))
        self.dense = nn.Sequential(
            *dense_stack(widths, activation, norm),
            *after(nn.Linear(widths[-1], plan.flat), activation_layer(activation)),
        )
        layers: list[nn.Module] = []
        targets = (plan.image, *plan.channels[:-1])
        for index in reversed(range(len(plan.channels))):
            row, column = plan.axes[index]
            last = index == 0
            conv = nn.ConvTranspose2d(
                plan.channels[index],
                targets[index],
                (row.kernel, column.kernel),
                (row.step, column.step),
                (row.padding, column.padding),
                (row.output_padding, column.output_padding),
                bias=last or norm != "batch",
            )
            layers += after(
                conv,
                None if last else norm_layer(norm, targets[index], spatial=True),
                activation_layer(final if last else activation),
            )
        self.convolutions = nn.Sequential(*layers)
        init_hidden(self, activation)

    def forward(
        self, z: Float[Tensor, "rows latent"]
    ) -> Float[Tensor, "rows channels height width"]:
        return self.convolutions(self.dense(z).unflatten(1, self.top))
