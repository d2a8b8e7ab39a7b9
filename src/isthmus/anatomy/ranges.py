"""Whether images are in the units of those that a model was fitted to."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isthmus.errors import IsthmusError
from isthmus.notices import say

if TYPE_CHECKING:
    from isthmus.anatomy.signal import Signal

_DIM = 50
"""How many times narrower than fitted values look as if they were in other units."""


def check_range(x: Tensor, signal: "Signal") -> None:
    """An error for images of another unit than those that a model was fitted to.

    ``x`` are rows as they were read. They may leave the range that was seen by as much as its
    width, or by 1.5 times the largest size of a value where that is more; bytes where fractions
    were fitted leave it by far.
    """
    if signal.kind != "image" or signal.low is None or signal.high is None or x.numel() == 0:
        return
    slack = max(signal.high - signal.low, 1.5 * max(abs(signal.low), abs(signal.high)))
    least, most = (float(v) for v in torch.aminmax(x))
    if least >= signal.low - slack and most <= signal.high + slack:
        return
    unit = ", as fractions of bytes" if signal.dtype == "uint8" else ""
    raise IsthmusError(
        f"the images go from {least:g} to {most:g}, and those that this model was fitted to went "
        f"from {signal.low:g} to {signal.high:g}{unit}: bring them to the same units, such as X / "
        "255 for bytes that were converted to floats"
    )


def check_units(given: "Signal", own: "Signal") -> None:
    """Say, or for bytes raise, that images of a source are in smaller units than a model's.

    They are where their range is 50 times narrower: fractions where 0 to 255 were fitted. Bytes,
    which a source reads as fractions, are an :class:`IsthmusError` there, and for collections each
    part is looked at.
    """
    if own.kind == given.kind == "collection":
        for name, part in own.parts.items():
            if name in given.parts:
                check_units(given.parts[name], part)
        return
    if own.kind != "image" or given.kind != "image":
        return
    if None in (own.low, own.high, given.low, given.high):
        return
    low, high = float(given.low or 0.0), float(given.high or 0.0)
    if given.dtype == "uint8" and own.dtype != "uint8" and (own.high or 0.0) > 2:
        raise IsthmusError(
            f"the data are bytes, which are read as fractions of 255, and this model was fitted to "
            f"images up to {own.high:g}: pass them as floats, X.astype('float32')"
        )
    check_dim(low, high, own)


def check_dim(low: float, high: float, own: "Signal") -> None:
    """Say that images from ``low`` to ``high`` look as if they were in smaller units."""
    if own.kind != "image" or own.low is None or own.high is None:
        return
    if max(abs(low), abs(high)) * _DIM < max(abs(own.low), abs(own.high)):
        say(
            f"the images go from {low:g} to {high:g}, and those that this model was fitted to went "
            f"from {own.low:g} to {own.high:g}: they are read as they are, so bring them to the "
            "same units if they are in others"
        )


class Extremes:
    """The range of all images that a verb was given, in batches."""

    def __init__(self) -> None:
        self.low, self.high = float("inf"), float("-inf")

    def add(self, x: object) -> None:
        """Take a batch in."""
        if isinstance(x, Tensor) and x.ndim == 4 and x.numel() and x.is_floating_point():
            low, high = torch.aminmax(x)
            self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def told(self, own: "Signal") -> None:
        """Say so where they look as if they were in smaller units than the model's."""
        if self.low <= self.high:
            check_dim(self.low, self.high, own)
