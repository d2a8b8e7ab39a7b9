"""Masks on patches: which ones an encoder that reads views may see.

Every mask leaves ``x`` as it is and names the visible patches, in rising order and equally many in
each row, in ``View.visible``. Patches are numbered in raster order.
"""

from math import prod, sqrt
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from isthmus.anatomy import View
from isthmus.corruptions.arguments import interval, share
from isthmus.errors import IsthmusError
from isthmus.shapes import Float


@runtime_checkable
class Grid(Protocol):
    """Anything that knows the number of patches along each axis (``networks.Patches`` does)."""

    grid: tuple[int, ...]


class RandomPatchMask(nn.Module):
    """Hides a random share of the patches, drawn for each row (He et al. 2021, section 3).

    ``patches`` is their number or a ``Patches``. Exactly ``round(n * (1 - ratio))`` of the ``n``
    remain visible, one at least.
    """

    def __init__(self, patches: int | Grid, ratio: float = 0.75) -> None:
        super().__init__()
        self.count = prod(_grid(patches))
        self.ratio = share("ratio", ratio, below_one=True)
        self.kept = max(1, round(self.count * (1.0 - ratio)))

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        draw = torch.rand(len(x), self.count, device=x.device)
        visible = draw.argsort(1)[:, : self.kept].sort(1).values
        return View(x, visible)


class BlockMask(nn.Module):
    """Hides one block of adjoining patches: a rectangle of an image, a stretch of a series.

    The block has about the share ``ratio`` of the patches. Its aspect (height by width, relative
    to the grid's own) is drawn for each batch, log-uniform in ``aspect``; its place for each row.
    """

    def __init__(
        self,
        patches: int | Grid,
        ratio: float = 0.5,
        aspect: tuple[float, float] = (0.75, 1.5),
    ) -> None:
        super().__init__()
        self.grid = _grid(patches)
        if prod(self.grid) < 2:
            raise IsthmusError("BlockMask needs at least 2 patches: use smaller patches")
        self.ratio = share("ratio", ratio, below_one=True)
        self.aspect = interval("aspect", aspect)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        tall, wide = (1, *self.grid)[-2:]
        height, width = self._block(tall, wide)
        rows, device = len(x), x.device
        hidden = _stretch(tall, height, rows, device)[:, :, None]
        hidden = hidden & _stretch(wide, width, rows, device)[:, None, :]
        # A stable sort puts the visible patches first and leaves them in rising order.
        order = hidden.flatten(1).to(torch.uint8).argsort(dim=1, stable=True)
        return View(x, order[:, : tall * wide - height * width])

    def _block(self, tall: int, wide: int) -> tuple[int, int]:
        if tall == 1:
            return 1, min(wide - 1, max(1, round(self.ratio * wide)))
        low, high = self.aspect
        aspect = low * (high / low) ** torch.rand(()).item()
        ratio = max(self.ratio, 1.0 / (tall * wide))
        aspect = min(max(aspect, ratio), 1.0 / ratio)  # so that the block fits the grid
        height = min(tall, max(1, round(tall * sqrt(ratio * aspect))))
        width = min(wide, max(1, round(wide * sqrt(ratio / aspect))))
        if height * width == tall * wide:
            return (height, width - 1) if width > 1 else (height - 1, width)
        return height, width


class CausalMask(nn.Module):
    """Hides the patches after the first ones, so that the model predicts what follows.

    A share ``ratio`` is hidden, at the end of the raster order; given a range, it is drawn for
    each batch. One patch at least stays visible.
    """

    def __init__(self, patches: int | Grid, ratio: float | tuple[float, float] = 0.5) -> None:
        super().__init__()
        self.count = prod(_grid(patches))
        low, high = ratio if isinstance(ratio, tuple) else (ratio, ratio)
        self.low = share("ratio", low, below_one=True)
        self.high = share("ratio", high, below_one=True)
        if low > high:
            raise IsthmusError(f"ratio={ratio} must be a range (from, to) that does not fall")

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        ratio = self.low
        if self.high > self.low:
            ratio += (self.high - self.low) * torch.rand(()).item()
        kept = max(1, round(self.count * (1.0 - ratio)))
        return View(x, torch.arange(kept, device=x.device).repeat(len(x), 1))


def _grid(patches: int | Grid) -> tuple[int, ...]:
    grid = (patches,) if isinstance(patches, int) else tuple(patches.grid)
    if prod(grid) < 1:
        raise IsthmusError(f"patches={patches} must be the number of patches: at least 1")
    return grid


def _stretch(total: int, length: int, rows: int, device: torch.device) -> Tensor:
    """``length`` neighbours out of ``total``, placed at random in each row, ``(rows, total)``."""
    start = torch.randint(total - length + 1, (rows, 1), device=device)
    places = torch.arange(total, device=device)
    return (places >= start) & (places < start + length)
