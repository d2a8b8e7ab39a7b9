"""Fixed sine-cosine position embeddings (Vaswani et al. 2017; in 2-D, He et al. 2021)."""

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.shapes import Float

BASE = 10_000.0


def sincos(grid: tuple[int, ...], width: int) -> Float[Tensor, "patches width"]:
    """Embeddings of the places of a grid, in raster order, ``(prod(grid), width)``.

    Along one axis the place ``p`` is ``sin(p w_i)`` in the first half of the features and
    ``cos(p w_i)`` in the second, with ``w_i = 10000 ** (-2 i / width)``. On a ``(rows, columns)``
    grid the first half of the features so embeds the column and the second half the row, which is
    the order of the masked autoencoder's published weights.
    """
    multiple = 2 * len(grid)
    if width % multiple:
        raise IsthmusError(
            f"width={width} does not hold sine-cosine positions in {len(grid)}-D: use a multiple "
            f"of {multiple}"
        )
    if len(grid) == 1:
        return _along(torch.arange(grid[0]), width).float()
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    halves = (_along(places.flatten(), width // 2) for places in (columns, rows))
    return torch.cat(tuple(halves), dim=1).float()


def _along(places: Tensor, width: int) -> Tensor:
    half = width // 2
    frequencies = BASE ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = places.double()[:, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=1)
