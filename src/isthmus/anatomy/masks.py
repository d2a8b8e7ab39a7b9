"""Masks as users give them, in the layout of their rows, as the masks that models read."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.signal import Signal


def read_mask(mask: Any, signal: "Signal", rows: int, name: str = "") -> Tensor:
    """One part's mask, bool, with the first axes of a batch ``(rows, *signal.shape)``.

    It may have the layout of raw images: no axis of channels, which then are all there or not, or
    that axis last. A dtype but bool, and axes that are not the first ones of the data, are an
    :class:`IsthmusError`; ``name`` is that of the part.
    """
    what = _said(name)
    if not isinstance(mask, Tensor):
        array = np.asarray(mask)
        if array.dtype.kind not in "biuf":
            raise IsthmusError(f"{what} is {array.dtype}: pass booleans, True where observed")
        mask = torch.from_numpy(array.copy())
    if mask.dtype != torch.bool:
        raise IsthmusError(f"{what} is {mask.dtype}: pass booleans, True where observed")
    check_rows(mask, rows, name)
    inner, shape = tuple(mask.shape[1:]), signal.shape
    if signal.kind == "image" and len(shape) == 3:
        if inner == shape[1:]:
            return mask.unsqueeze(1).expand(-1, shape[0], -1, -1)
        if signal.channels_last and inner == (*shape[1:], shape[0]) and inner != shape:
            return mask.movedim(-1, 1)
    if signal.kind == "graph" or inner == shape[: len(inner)]:
        return mask
    if signal.ragged and inner and inner[1:] == shape[1 : len(inner)]:
        return mask
    raise IsthmusError(
        f"{what} has the shape {tuple(mask.shape)} for rows of {shape}: its axes are the first "
        "axes of the data, so pass one entry per row or per element"
    )


def check_rows(mask: Any, rows: int, name: str = "") -> None:
    """An error for a mask that has not one entry for each of the rows."""
    axes = np.ndim(mask)
    if axes == 0 or len(mask) != rows:
        has = f"{len(mask)} rows for {rows}" if axes else f"a single value for {rows} rows"
        raise IsthmusError(f"{_said(name)} has {has}: pass one entry per row")


def _said(name: str) -> str:
    return f"the mask of {name!r}" if name else "the mask"


def within(mask: Tensor, steps: Tensor) -> Tensor:
    """What of rows of different lengths is observed: there, by ``steps`` ``(rows, steps)``, and
    not left out by a mask of each row, or of as many steps or more."""
    if mask.ndim > 1:
        if mask.shape[1] < steps.shape[1]:
            raise IsthmusError(
                f"the mask has {mask.shape[1]} steps, and the longest row {steps.shape[1]}: pass "
                "an entry for each step"
            )
        mask = mask[:, : steps.shape[1]]
    wide, narrow = (steps, mask) if steps.ndim >= mask.ndim else (mask, steps)
    return wide & narrow.reshape(*narrow.shape, *[1] * (wide.ndim - narrow.ndim))


def unmasked(X: np.ma.MaskedArray, mask: Any) -> tuple[np.ndarray, Any]:
    """A masked array as one with a mask of what was observed."""
    masked = np.ma.getmaskarray(X)
    if mask is not None or not masked.any():
        return np.asarray(X.data), mask
    return np.where(masked, np.zeros((), X.dtype), X.data), ~masked
