"""The affine map between the user's units and the model's, fitted once and saved with it."""

from typing import Literal

import torch
from torch import Tensor, nn

from isthmus.anatomy.tree import like
from isthmus.errors import IsthmusError

Scaling = Literal["none", "columns", "global", "norm"]

_PART = 4096
"""Rows that are turned to double at once."""


class Scaler(nn.Module):
    """``x -> (x - offset) / scale``.

    ``columns`` standardises every element to mean 0 and variance 1 (a constant element keeps
    scale 1). ``global`` and ``norm`` divide everything by one number, which changes no direction
    and so suits dictionaries: the mean squared element is then 1, or the mean squared norm of a
    row. ``none`` leaves the data as they are.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...], mode: Scaling = "none") -> None:
        super().__init__()
        self.mode = mode
        size = shape if mode == "columns" else ()
        self.register_buffer("offset", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Estimate offset and scale from rows ``(rows, *shape)``, in float64.

        With a mask (see :class:`~isthmus.anatomy.Batch`) only from what is observed.
        """
        if self.mode == "none":
            return
        if not x.is_floating_point():
            raise IsthmusError(
                f"scaling={self.mode} is for real numbers, and these are {x.dtype}: set "
                "scaling=none"
            )
        if mask is not None:
            self._fit_observed(x.double(), like(mask, x).expand_as(x))
            return
        if self.mode == "columns":
            x = x.double()
            std = x.std(0, correction=0)
            if not bool((std > 0).any()):
                raise IsthmusError(
                    "every column of the data is constant: there is nothing to learn"
                )
            self.offset.copy_(x.mean(0))
            self.scale.copy_(torch.where(std > 0, std, torch.ones_like(std)))
        else:
            # In parts: the whole sample in double would be the most memory that a run ever needs.
            total = torch.stack([part.double().square().sum() for part in x.split(_PART)]).sum()
            size = (total / (x.numel() if self.mode == "global" else len(x))).sqrt()
            if not bool(size > 0):
                raise IsthmusError("every value of the data is zero: there is nothing to learn")
            self.scale.copy_(size)

    def _fit_observed(self, x: Tensor, seen: Tensor) -> None:
        """The same estimates from the entries that are seen."""
        if not bool(seen.any()):
            raise IsthmusError("no entry of the data is observed: there is nothing to learn")
        x = torch.where(seen, x, 0.0)
        if self.mode == "columns":
            count = seen.sum(0).clamp_min(1)
            mean = x.sum(0) / count
            variance = torch.where(seen, (x - mean).square(), 0.0).sum(0) / count
            std = variance.sqrt()
            self.offset.copy_(mean)
            self.scale.copy_(torch.where(std > 0, std, torch.ones_like(std)))
            return
        size = (x.square().sum() / seen.sum()).sqrt()
        if self.mode == "norm":
            size = size * x[0].numel() ** 0.5
        if not bool(size > 0):
            raise IsthmusError("every value of the data is zero: there is nothing to learn")
        self.scale.copy_(size)

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "none":
            return x
        # One factor for all has no offset: a pass over the data less.
        return (x - self.offset) / self.scale if self.mode == "columns" else x / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """Back to the user's units."""
        return x if self.mode == "none" else x * self.scale + self.offset
