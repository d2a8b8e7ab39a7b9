"""Blur: what removes the fine detail of an image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import View
from isthmus.corruptions.arguments import at_least, images
from isthmus.shapes import Float

TRUNCATE = 4.0
"""Half the width of the kernel in standard deviations."""


class GaussianBlur(nn.Module):
    """Convolution of images with a Gaussian of standard deviation ``sigma`` pixels.

    The kernel is cut at four standard deviations and sums to one; beyond its border an image is
    continued with its outermost pixels.
    """

    kernel: Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = at_least("sigma", sigma)
        self.radius = int(TRUNCATE * sigma + 0.5)
        places = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (places / sigma) ** 2) if sigma > 0 else torch.ones(1)
        self.register_buffer("kernel", (weights / weights.sum()).float(), persistent=False)

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        if self.radius == 0:
            return View(images(x, self))
        planes = images(x, self).flatten(0, 1).unsqueeze(1)
        planes = F.pad(planes, (self.radius,) * 4, mode="replicate")
        kernel = self.kernel.to(x)
        planes = F.conv2d(planes, kernel.reshape(1, 1, -1, 1))
        planes = F.conv2d(planes, kernel.reshape(1, 1, 1, -1))
        return View(planes.reshape(x.shape))
