"""How activations lie on disk: float32, float16, bfloat16, or 8 bits with a scale for each row."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError, unknown

FORMATS: dict[str, dict[str, np.dtype]] = {
    "float32": {"": np.dtype("<f4")},
    "float16": {"": np.dtype("<f2")},
    "bfloat16": {"": np.dtype("<u2")},
    "int8": {"": np.dtype("|i1"), ".scale": np.dtype("<f4")},
}
"""The arrays of each format, by what is added to the file's name."""

NOTES = {
    "bfloat16": "NumPy has no bfloat16: the values are its 16 bits as uint16, the upper half of a "
    "float32",
    "int8": "value = int8 * scale of its row, in the file that ends in .scale.npy",
}

MAPPED = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.int16,  # of which bfloat16 is a view
    "int8": torch.int8,
}
"""The dtype of torch under which the values of a format are mapped."""


def check(dtype: str) -> str:
    """``dtype``, where it is one that activations can be stored in."""
    if dtype not in FORMATS:
        raise unknown("dtype of a store", dtype, FORMATS)
    return dtype


def arrays_of(dtype: str, width: int) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Dtype and shape of a row in each array of a format, by suffix."""
    return {suffix: (kind, () if suffix else (width,)) for suffix, kind in FORMATS[dtype].items()}


def encode(values: Tensor, dtype: str) -> dict[str, np.ndarray]:
    """Rows ``(rows, width)`` as the arrays of a format, by suffix.

    8-bit values are rounded to the nearest multiple of the row's largest magnitude over 127.
    """
    values = values.detach().cpu()
    if dtype == "int8":
        values = values.float()
        scale = values.abs().amax(1) / 127.0
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        rounded = torch.round(values / safe[:, None]).to(torch.int8)
        return {"": rounded.numpy(), ".scale": scale.numpy()}
    if dtype == "bfloat16":
        bits = values.to(torch.bfloat16).contiguous().view(torch.int16)
        return {"": bits.numpy().view(np.uint16)}
    return {"": values.to(MAPPED[dtype]).contiguous().numpy()}


def finite(arrays: Mapping[str, np.ndarray], dtype: str) -> bool:
    """Whether all stored values are finite, after rounding to the format."""
    if dtype == "bfloat16":
        exponent = np.uint16(0x7F80)
        return not bool(((arrays[""] & exponent) == exponent).any())
    return bool(np.isfinite(arrays[".scale" if dtype == "int8" else ""]).all())


@dataclass(eq=False)
class Column:
    """The mapped arrays of a point in a shard.

    NumPy finds its way to a few rows faster than torch does, and torch converts faster: each has
    a view of the same memory.
    """

    dtype: str
    plain: np.ndarray
    values: Tensor
    scale: Tensor | None

    @classmethod
    def of(cls, arrays: Mapping[str, Tensor], dtype: str) -> "Column":
        """From the arrays of a format, by suffix, as they are mapped (see ``MAPPED``)."""
        values = arrays[""]
        scale = arrays[".scale"][:, None] if dtype == "int8" else None
        return cls(dtype, values.numpy(), values, scale)

    def take(self, index: np.ndarray, out: Tensor) -> None:
        """Write the rows ``index``, int64, to ``out`` float32 ``(len(index), width)``."""
        if self.dtype == "float32" and out.is_contiguous():
            if torch.get_num_threads() > 1:
                torch.index_select(self.values, 0, torch.from_numpy(index), out=out)
            else:  # with clip, for else NumPy gathers to a buffer first
                np.take(self.plain, index, axis=0, out=out.numpy(), mode="clip")
            return
        chosen = torch.from_numpy(index)
        rows = self.values.index_select(0, chosen)
        out.copy_(rows.view(torch.bfloat16) if self.dtype == "bfloat16" else rows)
        if self.scale is not None:
            out.mul_(self.scale.index_select(0, chosen))


def overflow(point: str, dtype: str) -> IsthmusError:
    """The error for activations that are not finite, or not in the format."""
    remedy = "look at the model" if dtype != "float16" else "use bfloat16 or float32"
    what = "hold NaN or infinity" if dtype != "float16" else "are not finite in float16"
    return IsthmusError(f"activations at {point!r} {what}: {remedy}")
