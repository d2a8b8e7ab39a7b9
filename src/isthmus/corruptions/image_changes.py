"""Random changes of images, drawn for each row of a batch ``(rows, channels, height, width)``."""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import View
from isthmus.corruptions import arguments as check
from isthmus.shapes import Float


class RandomShift(nn.Module):
    """Moves each image by up to ``pad`` pixels along each axis, zeros coming in at the border.

    The same as padding by ``pad`` and cropping the old size at a random place.
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        check.at_least("pad", float(pad))
        self.pad = pad

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        rows, _, height, width = check.images(x, self).shape
        # Every window of the padded images, as a view: only the chosen ones are copied.
        windows = F.pad(x, (self.pad,) * 4).unfold(2, height, 1).unfold(3, width, 1)
        down, across = torch.randint(2 * self.pad + 1, (2, rows), device=x.device)
        return View(windows[torch.arange(rows, device=x.device), :, down, across])


class RandomResizedCrop(nn.Module):
    """Cuts a random rectangle out of each image and stretches it to the old size, bilinearly.

    Its share of the area is uniform in ``scale``; its aspect, relative to the image's own, is
    log-uniform in ``aspect``, cut to what fits that area (Szegedy et al. 2015).
    """

    def __init__(
        self,
        scale: tuple[float, float] = (0.2, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__()
        self.scale = check.interval("scale", scale, high=1.0)
        self.aspect = check.interval("aspect", aspect)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        width, height = _rectangles(len(check.images(x, self)), self.scale, self.aspect, x)
        # Sides and centres are in grid units, in which the whole image reaches from -1 to 1.
        across, down = (_between(-1.0, 1.0, x) * (1.0 - side) for side in (width, height))
        zero = torch.zeros_like(width)
        maps = torch.stack((width, zero, across, zero, height, down), dim=1).reshape(-1, 2, 3)
        grid = F.affine_grid(maps, list(x.shape), align_corners=False)
        return View(F.grid_sample(x, grid, padding_mode="border", align_corners=False))


class HorizontalFlip(nn.Module):
    """Mirrors each image, left to right, with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check.share("p", p)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        flips = torch.rand(len(check.images(x, self)), device=x.device) < self.p
        return View(torch.where(check.per_row(flips, x), x.flip(-1), x))


class RandomErasing(nn.Module):
    """Fills a random rectangle of an image with ``fill``, with probability ``p``.

    Its share of the area is uniform in ``share``; its aspect is log-uniform in ``aspect``, cut to
    what fits that area (Zhong et al. 2020).
    """

    def __init__(
        self,
        p: float = 0.5,
        share: tuple[float, float] = (0.02, 0.33),
        aspect: tuple[float, float] = (0.3, 3.3),
        fill: float = 0.0,
    ) -> None:
        super().__init__()
        self.p = check.share("p", p)
        self.share = check.interval("share", share, high=1.0)
        self.aspect = check.interval("aspect", aspect)
        self.fill = fill

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        erasures = torch.rand(len(check.images(x, self)), device=x.device) < self.p
        width, height = _rectangles(len(x), self.share, self.aspect, x)
        erased = _stretch(x.shape[2], height)[:, :, None] & _stretch(x.shape[3], width)[:, None, :]
        erased = (erased & erasures[:, None, None])[:, None]
        return View(x.masked_fill(erased, self.fill))


class Jitter(nn.Module):
    """Random brightness and contrast: ``b (c (x - mean) + mean)``, the mean that of the image.

    ``b`` is uniform in ``1 ± brightness`` and ``c`` in ``1 ± contrast``, neither below zero. The
    result is not cut to a value range, since the model's units need not have one.
    """

    def __init__(self, brightness: float = 0.4, contrast: float = 0.4) -> None:
        super().__init__()
        self.brightness = check.at_least("brightness", brightness)
        self.contrast = check.at_least("contrast", contrast)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        bright, contrast = (
            check.per_row(_between(max(0.0, 1.0 - span), 1.0 + span, x), x)
            for span in (self.brightness, self.contrast)
        )
        mean = check.images(x, self).mean((1, 2, 3), keepdim=True)
        return View(bright * torch.lerp(mean, x, contrast))


def _between(low: float, high: float, x: Tensor) -> Tensor:
    """One uniform draw for each row of ``x``."""
    return low + (high - low) * torch.rand(len(x), device=x.device, dtype=x.dtype)


def _rectangles(
    rows: int, area: tuple[float, float], aspect: tuple[float, float], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Widths and heights ``(rows,)`` as shares of the image's sides; their product is the area."""
    areas = _between(*area, x)
    aspects = _between(log(aspect[0]), log(aspect[1]), x).exp()
    aspects = torch.maximum(torch.minimum(aspects, 1.0 / areas), areas)
    return (areas * aspects).sqrt().clamp(max=1.0), (areas / aspects).sqrt().clamp(max=1.0)


def _stretch(side: int, share: Tensor) -> Tensor:
    """Round(side * share) neighbouring pixels at a random place in each row, ``(rows, side)``."""
    length = (side * share).round()
    start = (torch.rand_like(share) * (side - length + 1)).floor()
    places = torch.arange(side, device=share.device)
    return (places >= start[:, None]) & (places < (start + length)[:, None])
