"""How activations lie on disk: float32, float16, bfloat16, or 8 bits with a scale for each row.

A few dimensions of a language model's activations are a hundred times larger than the others, and
with 8 bits for all of them nothing would be left of the others. So the largest elements of each row
are kept apart in float32, and the scale is that of the rest: the error of an element is at most the
largest of the rest over 254.
"""

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
    "int8": {
        "": np.dtype("|i1"),
        ".scale": np.dtype("<f4"),
        ".index": np.dtype("<i4"),
        ".value": np.dtype("<f4"),
    },
}
"""The arrays of each format, by what is added to the file's name."""

NOTES = {
    "bfloat16": "NumPy has no bfloat16: the values are its 16 bits as uint16, the upper half of a "
    "float32",
    "int8": "value = int8 * scale of its row, in the file that ends in .scale.npy; the largest "
    "elements of a row stand apart, their places in .index.npy and their values in .value.npy",
}

MAPPED = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.int16,  # of which bfloat16 is a view
    "int8": torch.int8,
}
"""The dtype of torch under which the values of a format are mapped."""

BESIDE = {".scale": torch.float32, ".index": torch.int32, ".value": torch.float32}
"""The dtypes of what lies beside the values, by suffix."""


def check(dtype: str) -> str:
    """``dtype``, where it is one that activations can be stored in."""
    if dtype not in FORMATS:
        raise unknown("dtype of a store", dtype, FORMATS)
    return dtype


def outliers_of(dtype: str, width: int) -> int:
    """How many elements of a row are kept apart: 4, and of long rows one in 256."""
    return min(width, max(4, width // 256)) if dtype == "int8" else 0


def suffixes(dtype: str, outliers: int) -> list[str]:
    """What is added to a point's file name; without outliers, as they were once, fewer."""
    return [s for s in FORMATS[dtype] if outliers or s not in (".index", ".value")]


def arrays_of(
    dtype: str, width: int, outliers: int = 0
) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Dtype and shape of a row in each array of a format, by suffix."""
    shapes: dict[str, tuple[int, ...]] = {"": (width,), ".scale": ()}
    return {
        suffix: (FORMATS[dtype][suffix], shapes.get(suffix, (outliers,)))
        for suffix in suffixes(dtype, outliers)
    }


def encode(values: Tensor, dtype: str, outliers: int = 0) -> dict[str, np.ndarray]:
    """Rows ``(rows, width)`` as the arrays of a format, by suffix.

    8-bit values are rounded to the nearest multiple of the row's largest magnitude over 127, the
    ``outliers`` largest left out, which are kept as they are.
    """
    values = values.detach().cpu()
    if dtype == "int8":
        values = values.float()
        apart: dict[str, np.ndarray] = {}
        if outliers:
            index = values.abs().topk(outliers, 1).indices.sort(1).values
            apart[".index"] = index.to(torch.int32).numpy()
            apart[".value"] = values.gather(1, index).numpy()
            values = values.scatter(1, index, 0.0)
        scale = values.abs().amax(1) / 127.0
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        rounded = torch.round(values / safe[:, None]).to(torch.int8)
        return {"": rounded.numpy(), ".scale": scale.numpy(), **apart}
    if dtype == "bfloat16":
        bits = values.to(torch.bfloat16).contiguous().view(torch.int16)
        return {"": bits.numpy().view(np.uint16)}
    return {"": values.to(MAPPED[dtype]).contiguous().numpy()}


def finite(arrays: Mapping[str, np.ndarray], dtype: str) -> bool:
    """Whether all stored values are finite, after rounding to the format."""
    if dtype == "bfloat16":
        exponent = np.uint16(0x7F80)
        return not bool(((arrays[""] & exponent) == exponent).any())
    if dtype != "int8":
        return bool(np.isfinite(arrays[""]).all())
    return all(bool(np.isfinite(arrays[s]).all()) for s in (".scale", ".value") if s in arrays)


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
    apart: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, Tensor], dtype: str) -> "Column":
        """From the arrays of a format, by suffix, as they are mapped (see ``MAPPED``)."""
        values = arrays[""]
        scale = arrays[".scale"][:, None] if dtype == "int8" else None
        apart = (arrays[".index"], arrays[".value"]) if ".index" in arrays else None
        return cls(dtype, values.numpy(), values, scale, apart)

    def take(self, index: np.ndarray, out: Tensor) -> None:
        """Write the rows ``index``, int64, to ``out`` float32 ``(len(index), width)``."""
        if self.dtype == "float32" and out.is_contiguous():
            if torch.get_num_threads() > 1:
                torch.index_select(self.values, 0, torch.from_numpy(index), out=out)
            else:  # with clip, for else NumPy gathers to a buffer first
                np.take(self.plain, index, axis=0, out=out.numpy(), mode="clip")
            return
        places = torch.from_numpy(index)
        rows = self.values.index_select(0, places)
        out.copy_(rows.view(torch.bfloat16) if self.dtype == "bfloat16" else rows)
        if self.scale is not None:
            out.mul_(self.scale.index_select(0, places))
        if self.apart is not None:
            at, value = (part.index_select(0, places) for part in self.apart)
            out.scatter_(1, at.to(torch.int64), value)


def overflow(point: str, dtype: str) -> IsthmusError:
    """The error for activations that are not finite, or not in the format."""
    remedy = "look at the model" if dtype != "float16" else "use bfloat16 or float32"
    what = "hold NaN or infinity" if dtype != "float16" else "are not finite in float16"
    return IsthmusError(f"activations at {point!r} {what}: {remedy}")
