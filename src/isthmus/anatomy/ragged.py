"""Rows of different lengths: texts, recordings, sets of points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.errors import IsthmusError

Text = Literal["str", "bytes"]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths as a model gives them back; a leaf of a tree.

    ``values`` is ``(rows, steps, *step)``, of which the first ``lengths`` ``(rows,)`` steps count.
    """

    values: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Tensor) -> "Ragged":
        """The rows of an int64 index."""
        return Ragged(self.values[index], self.lengths[index])

    def to(self, device: torch.device) -> "Ragged":
        """The same rows on a device."""
        return Ragged(self.values.to(device), self.lengths.to(device))

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Ragged":
        """The same lengths with ``function`` of the values."""
        return Ragged(function(self.values), self.lengths)

    def tensors(self) -> dict[str, Tensor]:
        """What a file stores of them; :meth:`restored` makes them again."""
        return {"values": self.values, "lengths": self.lengths}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> "Ragged":
        """The rows whose tensors were stored."""
        return cls(tensors["values"], tensors["lengths"])

    @classmethod
    def collate(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The rows of several one after another."""
        most = max(part.values.shape[1] for part in parts)
        values = [lengthened(part.values, most) for part in parts]
        return cls(torch.cat(values), torch.cat([part.lengths for part in parts]))

    def rows(self) -> list[Tensor]:
        """Each row at its length, ``(steps, *step)``."""
        return [row[:n] for row, n in zip(self.values, self.lengths.tolist(), strict=True)]

    def texts(self) -> list[bytes]:
        """Each row of tokens 0 to 255 as the bytes that these are."""
        return [row.to(torch.uint8).cpu().numpy().tobytes() for row in self.rows()]


def lengths_of(mask: Tensor) -> Tensor:
    """Up to which step a mask ``(rows, steps, ...)`` says that something is there, ``(rows,)``."""
    present = mask.flatten(2).any(-1) if mask.ndim > 2 else mask
    return (present * torch.arange(1, present.shape[1] + 1, device=mask.device)).amax(1)


def lengthened(tensor: Tensor, length: int) -> Tensor:
    """``(rows, steps, ...)`` filled up with zeros to so many steps."""
    return F.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, length - tensor.shape[1]))


def text_of(rows: Any) -> Text | None:
    """``"str"`` for a list of texts, ``"bytes"`` for one with bytes in it; None for all else."""
    if not isinstance(rows, (list, tuple)) or not rows:
        return None
    if not all(isinstance(row, (str, bytes, bytearray)) for row in rows):
        return None
    return "str" if all(isinstance(row, str) for row in rows) else "bytes"


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
    shapes_of(rows)  # which says what cannot be
    arrays = [as_array(row) for row in rows]
    lengths = torch.tensor([len(array) for array in arrays])
    if int(lengths.min()) == 0:
        raise IsthmusError(
            f"row {int(lengths.argmin())} of the list is empty: drop it, or give it a step"
        )
    most = int(lengths.max())
    whole = np.zeros((len(arrays), most, *arrays[0].shape[1:]), np.result_type(*arrays))
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(whole), torch.arange(most) < lengths[:, None]


def as_array(row: Any) -> np.ndarray:
    """One row as an array; text as its bytes (UTF-8)."""
    if isinstance(row, Tensor):
        row = row.detach().cpu()
        return (row.float() if row.dtype == torch.bfloat16 else row).numpy()
    if isinstance(row, str):
        row = row.encode()
    if isinstance(row, (bytes, bytearray)):
        return np.frombuffer(bytes(row), np.uint8).astype(np.int64)
    try:
        return np.asarray(row)
    except ValueError:
        raise IsthmusError(
            "a row of the list is itself a list of lists that differ in length: give each row as "
            "an array of steps of one shape"
        ) from None
