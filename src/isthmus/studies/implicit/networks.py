"""The networks that a gradient origin network is compared with."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Signal, View
from isthmus.networks.conv import strides
from isthmus.recipes.implicit.gon import GradientOrigin
from isthmus.shapes import Float


class Mirror(nn.Module):
    """The mirror image of the page's ``TransposedConvolutions``, as an encoder.

    Each layer has the size of its twin in the decoder; ELU between, and no normalisation.
    """

    def __init__(self, signal: Signal, latent_dim: int, width: int) -> None:
        super().__init__()
        channels, height, breadth = signal.shape
        rows, columns = strides(height, 3, 4), strides(breadth, 3, 4)
        widths = (channels, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
            layers += [
                nn.Conv2d(
                    widths[i],
                    widths[i + 1],
                    (row.kernel, column.kernel),
                    (row.step, column.step),
                    (row.padding, column.padding),
                ),
                nn.ELU(),
            ]
        top = (rows[-1].after, columns[-1].after)
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], latent_dim, top), nn.Flatten())

    def forward(self, x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows z"]:
        return self.layers(x)


class Detached(nn.Module):
    """One gradient step from the origin, through which the decoder is not trained.

    That makes it an auto-decoder with a single step: the code is data to the decoder.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.origin = GradientOrigin(latent_dim)

    def forward(
        self, x: Float[Tensor, "rows *shape"], *, view: View, model: Autoencoder
    ) -> Float[Tensor, "rows latent"]:
        return self.origin(x, view=view, model=model).detach()


class Sine(nn.Module):
    """``sin(frequency (W x + b))``, started as in SIREN (Sitzmann et al. 2020, section 3.2)."""

    def __init__(self, before: int, width: int, frequency: float, *, first: bool) -> None:
        super().__init__()
        self.linear, self.frequency = nn.Linear(before, width), frequency
        bound = 1.0 / before if first else (6.0 / before) ** 0.5 / frequency
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.frequency * self.linear(x))


class Coordinates(nn.Module):
    """A SIREN that reads a pixel's place and the code: ``(rows, latent)`` to one-channel images."""

    places: Tensor

    def __init__(
        self, signal: Signal, latent_dim: int, width: int, layers: int, frequency: float = 30.0
    ) -> None:
        super().__init__()
        self.shape = signal.shape
        lines = [torch.linspace(-1, 1, side) for side in signal.shape[1:]]
        self.register_buffer("places", torch.cartesian_prod(*lines))
        widths = (2 + latent_dim, *[width] * layers)
        sines = [
            Sine(before, after, frequency, first=i == 0)
            for i, (before, after) in enumerate(pairwise(widths))
        ]
        self.network = nn.Sequential(*sines, nn.Linear(width, 1), nn.Sigmoid())

    def forward(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows 1 height width"]:
        count = len(self.places)
        inputs = torch.cat(
            [self.places.expand(len(z), -1, -1), z[:, None].expand(-1, count, -1)], dim=2
        )
        return self.network(inputs).view(len(z), *self.shape)
