"""Rows of different lengths: texts, recordings, sets of points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError


def shapes_of(rows: Sequence[Any]) -> tuple[int, tuple[int, ...], str]:
    """The largest number of steps, the shape of one step, and the dtype by its NumPy name.

    Each row is an array ``(steps, *step)``; an error where they differ in more than their steps.
    """
    if len(rows) == 0:
        raise IsthmusError("the data are empty: pass at least one row")
    arrays = [as_array(row) for row in rows]
    rest, dtype = arrays[0].shape[1:], arrays[0].dtype
    for number, array in enumerate(arrays):
        if array.ndim == 0:
            raise IsthmusError(f"row {number} of the list is a single number: pass an array a row")
        if array.shape[1:] != rest:
            raise IsthmusError(
                f"row {number} of the list has steps of shape {array.shape[1:]} and row 0 of "
                f"{rest}: give all rows steps of one shape"
            )
        if array.dtype.kind not in "biuf":
            raise IsthmusError(
                f"row {number} of the list is not numeric, it is {array.dtype}: pass numbers, or "
                "one text a row"
            )
        dtype = np.promote_types(dtype, array.dtype)
    return max(len(array) for array in arrays), rest, dtype.name


def padded(rows: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Rows filled up with zeros to the longest, ``(rows, steps, *step)``, and the mask
    ``(rows, steps)`` of what is there."""
    arrays = [as_array(row) for row in rows]
    lengths = torch.tensor([len(array) for array in arrays])
    most = int(lengths.max())
    whole = np.zeros((len(arrays), most, *arrays[0].shape[1:]), np.result_type(*arrays))
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(whole), torch.arange(most) < lengths[:, None]


def as_array(row: Any) -> np.ndarray:
    """One row as an array; text as its bytes (UTF-8)."""
    if isinstance(row, Tensor):
        return row.detach().cpu().numpy()
    if isinstance(row, str):
        row = row.encode()
    if isinstance(row, (bytes, bytearray)):
        return np.frombuffer(bytes(row), np.uint8).astype(np.int64)
    return np.asarray(row)
