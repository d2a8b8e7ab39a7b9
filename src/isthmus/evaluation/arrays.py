"""What measures take in: arrays and tensors as checked float64 rows, and shared errors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError


def float64(values: Array) -> Tensor:
    """A detached float64 copy or view, on the same device where that device has float64."""
    if not isinstance(values, Tensor):
        return torch.from_numpy(np.array(values, dtype=np.float64))
    values = values.detach()
    if values.device.type == "mps":
        values = values.cpu()
    return values.to(torch.float64)


def need_rows(values: Array, what: str) -> None:
    """An error where ``values`` is not an array with at least one row."""
    if values.ndim < 1 or len(values) == 0:
        raise IsthmusError(f"the {what} are empty: pass at least one row")


def _need_real(values: Array, what: str) -> None:
    if values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values):
        raise IsthmusError(
            f"the {what} are complex: pass real and imaginary parts as columns of their own, or "
            "their sizes"
        )


def flat_rows(values: Array, what: str) -> Tensor:
    """Float64 ``(rows, elements)``; an error where there is no row, or of complex numbers."""
    need_rows(values, what)
    _need_real(values, what)
    return float64(values).reshape(len(values), -1)


def rounding(values: Array) -> float:
    """The relative spacing of the numbers of that dtype; of float32 for integers."""
    if isinstance(values, Tensor):
        return torch.finfo(values.dtype if values.is_floating_point() else torch.float32).eps
    floating = np.issubdtype(values.dtype, np.floating)
    return float(np.finfo(values.dtype if floating else np.float32).eps)


def plain(values: Array) -> np.ndarray:
    """The same values as a NumPy array, off the device and out of the graph."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def matrix(values: Array, what: str, least: int = 1) -> np.ndarray:
    """Float64 ``(rows, elements)``; an error with fewer than ``least`` rows, or with NaN."""
    rows = plain(values)
    if rows.ndim == 0 or len(rows) < least or rows.size == 0:
        raise IsthmusError(
            f"the {what} have the shape {rows.shape}: pass (rows, elements), {least} or more rows"
        )
    return _finite(rows.reshape(len(rows), -1), what)


def vector(values: Array, what: str) -> np.ndarray:
    """Float64 ``(rows,)``; a column is taken as a vector, NaN is an error."""
    rows = plain(values)
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.ndim != 1 or rows.size == 0:
        raise IsthmusError(f"the {what} have the shape {rows.shape}: pass one value for each row")
    return _finite(rows, what)


def _finite(rows: np.ndarray, what: str) -> np.ndarray:
    _need_real(rows, what)
    try:
        numbers = rows.astype(np.float64)
    except (TypeError, ValueError):
        raise IsthmusError(f"the {what} are not numbers: pass a numeric array") from None
    if not np.isfinite(numbers).all():
        raise IsthmusError(f"the {what} contain NaN or infinity: leave those rows out")
    return numbers


def without_label(labels: Any) -> np.ndarray:
    """Which rows have no label, bool of the labels' shape: None, NaN, NaT, pandas' NA, masked."""
    import pandas as pd

    if isinstance(labels, (list, tuple)):  # NumPy would write NaN among words as "nan"
        labels = np.asarray(labels, dtype=object)
    if isinstance(labels, np.ma.MaskedArray):
        labels = np.ma.filled(labels.astype(object), np.nan)
    return np.asarray(pd.isna(plain(labels)), bool)


def classes(labels: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels, sorted, and the number of each row's label among them, ``(rows,)``.

    Labels are integers, booleans, strings or whole floats; missing ones are an error.
    """
    rows = plain(labels)
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.ndim != 1 or rows.size == 0:
        raise IsthmusError(f"the {what} have the shape {rows.shape}: pass one label for each row")
    if without_label(labels).any():
        raise IsthmusError(f"the {what} contain missing values: leave those rows out")
    try:
        names, numbers = np.unique(rows, return_inverse=True)
    except TypeError:
        raise IsthmusError(f"the {what} mix types: pass numbers or strings, not both") from None
    return names, numbers.ravel()


def same_rows(a: np.ndarray, what: str, b: np.ndarray, other: str) -> None:
    """An error where the two differ in their number of rows."""
    if len(a) != len(b):
        raise IsthmusError(
            f"there are {len(a)} {what} and {len(b)} {other}: pass as many of one as of the other"
        )


def whole(number: int, what: str, low: int, high: int | None = None) -> int:
    """``number`` if it is an integer in [low, high]; an error that names the range if not."""
    is_whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not is_whole or number < low or (high is not None and number > high):
        end = "or more" if high is None else f"to {high}"
        raise IsthmusError(f"{what} = {number} does not fit: pass a whole number, {low} {end}")
    return int(number)
