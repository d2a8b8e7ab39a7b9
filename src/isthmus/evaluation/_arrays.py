"""Arrays and tensors as float64 rows, with the errors that all measures share."""

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


def flat_rows(values: Array, what: str) -> Tensor:
    """Float64 ``(rows, elements)``; an error where there is no row."""
    need_rows(values, what)
    return float64(values).reshape(len(values), -1)


def rounding(values: Array) -> float:
    """The relative spacing of the numbers of that dtype; of float32 for integers."""
    if isinstance(values, Tensor):
        return torch.finfo(values.dtype if values.is_floating_point() else torch.float32).eps
    floating = np.issubdtype(values.dtype, np.floating)
    return float(np.finfo(values.dtype if floating else np.float32).eps)
