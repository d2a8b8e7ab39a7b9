"""The affine map between the user's units and the model's, fitted once and saved with it."""

from typing import Literal

import torch
from torch import Tensor, nn

from isthmus.anatomy.tree import like
from isthmus.errors import IsthmusError
from isthmus.notices import say

Scaling = Literal[
    "none", "columns", "columns-norm", "global", "norm", "unit",
    "centred", "centred-norm", "robust", "robust-norm", "rows", "rows-norm",
    "rows-sample", "rows-length",
]  # fmt: skip

_COLUMNS = ("columns", "columns-norm")
_FACTORS = ("global", "norm")
"""Modes that are one factor without an offset."""
_ADDED = 1e-5
"""What ``rows-sample`` adds to a deviation."""
_PART = 4096
"""Rows that are turned to double at once."""
_TOPS = (255, 1023, 4095, 16383, 65535)
"""The largest values of images of 8 to 16 bits."""


class Scaler(nn.Module):
    """``x -> (x - offset) / scale``.

    ``columns`` standardises every element to mean 0 and variance 1 (a constant element keeps scale
    1, and so does one that is known to be 0 or 1 alone: :meth:`leave`), and ``columns-norm``
    divides what comes of it by the root of the number of elements, so that the mean squared norm of
    a row is at most 1. The others divide everything by one number, which changes no direction and
    so suits dictionaries: of ``global`` and ``norm`` the mean squared element is then 1, or the
    mean squared norm of a row; ``centred`` and ``centred-norm`` do the same after the mean of each
    element was taken off; ``robust`` and ``robust-norm`` take off medians, and it is the median row
    whose mean squared element or squared norm is 1, so that a few huge rows change nothing.
    ``rows`` standardises each row by itself: the mean of its elements becomes 0 and their variance
    1 (a constant row keeps scale 1), or, of ``rows-norm``, its norm 1; long rows then weigh no more
    than short ones (as in BatchTopK's and Matryoshka's published code). Two more are those of
    published files: ``rows-sample`` divides by the deviation of n - 1 plus 1e-5 and multiplies back
    by the deviation alone (``layer_norm`` of OpenAI's and SAELens's code), and ``rows-length``
    takes nothing off and gives a row the norm sqrt(d) (``constant_norm_rescale``). Offset and
    scale, which such maps do not have, are those of the usual row: the mean of the rows' means, and
    the root mean square of their scales.
    ``unit`` maps a range of values to 0..1, ``unit_range`` or that of the rows it is fitted to
    (:func:`unit_of`). ``none`` leaves the data as they are.
    """

    offset: Tensor
    scale: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        mode: Scaling = "none",
        unit_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        centred = mode.startswith(("centred", "robust"))
        self.register_buffer("offset", torch.zeros(shape if centred or self.by_column else ()))
        self.register_buffer("scale", torch.ones(shape if self.by_column else ()))
        self.unit_range = unit_range

    @property
    def by_row(self) -> bool:
        """Whether every row has an offset and a scale of its own."""
        return self.mode.startswith("rows")

    @property
    def by_column(self) -> bool:
        """Whether every element has an offset and a scale of its own."""
        return self.mode in _COLUMNS

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
        self._fit(x, mask)
        if not bool(self.offset.isfinite().all() and self.scale.isfinite().all()):
            raise IsthmusError(
                "the data spread further than float32 can hold: divide them by a number first"
            )

    def _fit(self, x: Tensor, mask: Tensor | None) -> None:
        if self.by_row:
            if mask is not None:
                raise IsthmusError(
                    "scaling=rows is for rows that are whole, and "
                    "some of these have gaps: fill them, or set another scaling"
                )
            mean, scale = self._own(x.double())
            self.offset.copy_(mean.mean())
            self._resize(scale.square().mean().sqrt())
            return
        if self.mode == "unit":
            self._fit_unit(x if mask is None else x[like(mask, x).expand_as(x)])
            return
        if mask is not None:
            self._fit_observed(x.double(), like(mask, x).expand_as(x))
            return
        if self.by_column:
            x = x.double()
            std = x.std(0, correction=0)
            if not bool((std > 0).any()):
                raise IsthmusError(
                    "every column of the data is constant: there is nothing to learn"
                )
            self._set_columns(x.mean(0), std)
        elif self.mode in _FACTORS:
            # In parts: the whole sample in double would be the most memory that a run ever needs.
            total = torch.stack([part.double().square().sum() for part in x.split(_PART)]).sum()
            self._resize((total / (x.numel() if self.mode == "global" else len(x))).sqrt())
        else:
            self._fit_centred(x.double(), None)

    def _fit_centred(self, x: Tensor, mask: Tensor | None) -> None:
        """One factor about the means, or about the medians, of what is seen."""
        lacking = x if mask is None else torch.where(mask, x, torch.nan)
        if self.mode.startswith("robust"):
            centre = lacking.nanmedian(0).values.nan_to_num(0.0)
        else:
            centre = lacking.nanmean(0).nan_to_num(0.0)
        # What is subtracted later is what single precision holds of it.
        self.offset.copy_(centre)
        squares = (lacking - self.offset.double()).flatten(1).square()
        rows = squares.nanmean(1)
        size = rows.nanmedian() if self.mode.startswith("robust") else squares.nanmean()
        if not bool(size > 0):  # more than half of all rows are alike
            size = squares.nanmean()
        size = size.sqrt()
        self._resize(size * x[0].numel() ** 0.5 if self.mode.endswith("norm") else size)

    def _fit_unit(self, x: Tensor) -> None:
        low, high = self.unit_range or tuple(float(v) for v in torch.aminmax(x))
        offset, scale = unit_of(low, high)
        self.offset.copy_(torch.tensor(offset, dtype=torch.float64))
        self.scale.copy_(torch.tensor(scale, dtype=torch.float64))

    def _set_columns(self, mean: Tensor, std: Tensor) -> None:
        self.offset.copy_(mean)
        scale = torch.where(std > 0, std, torch.ones_like(std))
        self.scale.copy_(scale if self.mode == "columns" else scale * scale.numel() ** 0.5)

    def leave(self, truths: Tensor) -> None:
        """Leave elements that are 0 or 1 alone, bool ``(*shape)``, in their own units.

        Where every element has a scale of its own, that of the others: standardised, a column that
        is 1 in one row of a hundred would weigh as much as any, and be 10 in that row.
        """
        if self.by_column:
            unit = 1.0 if self.mode == "columns" else self.scale.numel() ** 0.5
            self.scale.copy_(torch.where(truths.to(self.scale.device), unit, self.scale))

    def _resize(self, size: Tensor) -> None:
        if not bool(size > 0):
            what = "zero" if self.mode in _FACTORS else "the same"
            raise IsthmusError(f"every value of the data is {what}: there is nothing to learn")
        self.scale.copy_(size)

    def _fit_observed(self, x: Tensor, mask: Tensor) -> None:
        """The same estimates from the entries that are seen."""
        if not bool(mask.any()):
            raise IsthmusError("no entry of the data is observed: there is nothing to learn")
        if self.mode not in (*_COLUMNS, *_FACTORS):
            self._fit_centred(x, mask)
            return
        x = torch.where(mask, x, 0.0)
        if self.by_column:
            count = mask.sum(0).clamp_min(1)
            mean = x.sum(0) / count
            variance = torch.where(mask, (x - mean).square(), 0.0).sum(0) / count
            std = variance.sqrt()
            self._set_columns(mean, std)
            return
        size = (x.square().sum() / mask.sum()).sqrt()
        self._resize(size * x[0].numel() ** 0.5 if self.mode == "norm" else size)

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "none":
            return x
        if self.by_row:
            mean, scale = self._own(x)
            return (x - mean) / (scale + _ADDED if self.mode == "rows-sample" else scale)
        # One factor for all has no offset: a pass over the data less.
        return x / self.scale if self.mode in _FACTORS else (x - self.offset) / self.scale

    def _own(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Offset and scale of each row, ``(rows, 1, ...)``."""
        flat = x.flatten(1)
        if self.mode == "rows-length":
            mean, scale = torch.zeros_like(flat[:, 0]), flat.norm(dim=1) / flat.shape[1] ** 0.5
        elif self.mode == "rows-sample":
            mean, scale = flat.mean(1), flat.std(1)
        else:
            mean, scale = flat.mean(1), flat.std(1, correction=0)
        if self.mode != "rows-sample":  # which divides by a little more than its own
            scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        if self.mode == "rows-norm":
            scale = scale * flat.shape[1] ** 0.5
        shape = (x.shape[0], *[1] * (x.ndim - 1))
        return mean.reshape(shape), scale.reshape(shape)

    def inverse(self, x: Tensor, of: Tensor | None = None) -> Tensor:
        """Back to the user's units.

        ``of`` are the rows in the user's units that ``x`` stands for: where each has a scale of its
        own, it gets that back. Without them it gets that of the usual row, which is said.
        """
        if self.by_row and of is not None:
            mean, scale = self._own(of)
            return x * scale + mean
        if self.by_row:
            say(
                "what is decoded has no row to take its mean and size from, and gets those of the "
                "usual one (scaling=rows): reconstruct rows to have their own"
            )
        return x if self.mode == "none" else x * self.scale + self.offset


def unit_of(low: float, high: float) -> tuple[float, float]:
    """Offset and scale that bring values from ``low`` to ``high`` into 0..1.

    Values of 0 and more are divided by the largest value of 8, 10, 12, 14 or 16 bits where the
    largest is above half of that, else by their largest; where the smallest is above half of the
    largest, the range seen becomes 0..1. Values from -1 to 1 are taken as that range, signed bytes
    as theirs, other ranges as they are.
    """
    if low >= 0:
        top = next((float(top) for top in _TOPS if top / 2 < high <= top), None)
        if top is not None:
            return 0.0, top
        return (low, high - low) if high > low > high / 2 else (0.0, high or 1.0)
    if -1 <= low < -0.5 and high <= 1:
        return -1.0, 2.0
    if -128 <= low < -64 and 64 < high <= 127:
        return -128.0, 255.0
    return low, (high - low) or 1.0
