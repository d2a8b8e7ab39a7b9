"""What one example is: kind, shape, raw dtype and value range."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError, unknown

Kind = Literal["vector", "image", "tokens", "series", "set", "graph", "coordinates", "collection"]
Array = np.ndarray | Tensor

_BY_RANK: dict[int, Kind] = {1: "vector", 2: "series", 3: "image"}
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Signal:
    """The shape of one example as a model sees it, and how raw rows become that.

    ``shape`` is without the row axis; an image is ``(channels, height, width)``. ``dtype`` is the
    *raw* dtype: bytes are read as fractions of 255, everything else as float32 unchanged.
    ``channels_last`` says that raw images are ``(height, width, channels)``. ``low`` and ``high``
    bound the values after that reading. A collection has ``parts`` and an empty shape.
    """

    kind: Kind
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    channels_last: bool = False
    parts: Mapping[str, "Signal"] = field(default_factory=dict)

    @property
    def numel(self) -> int:
        """Number of elements in one example (of all parts, for a collection)."""
        if self.kind == "collection":
            return sum(part.numel for part in self.parts.values())
        return prod(self.shape)

    @property
    def is_unit(self) -> bool:
        """Whether every value lies in [0, 1], so that a Bernoulli likelihood makes sense."""
        return (
            self.low is not None and self.high is not None and self.low >= 0.0 and self.high <= 1.0
        )

    @classmethod
    def infer(cls, rows: Array | Mapping[str, Array], kind: Kind | None = None) -> "Signal":
        """Read the signal off an array of rows; ``low`` and ``high`` stay unknown.

        Two axes are vectors. Byte arrays of three axes are grey images, of four axes images with
        the channels last when the last axis is 1, 3 or 4. Float arrays of three axes are series
        ``(rows, steps, channels)``, of four axes images with the channels first.
        """
        if isinstance(rows, Mapping):
            return cls("collection", parts={k: cls.infer(v) for k, v in rows.items()})
        shape, dtype = tuple(int(n) for n in rows.shape[1:]), dtype_name(rows)
        if rows.ndim < 2:
            raise IsthmusError(
                f"data of shape {tuple(rows.shape)} has no axis of features: Reshape your data "
                "to (rows, features), with X.reshape(-1, 1) if it has a single feature"
            )
        if not is_numeric(dtype):
            raise IsthmusError(
                f"data of dtype {dtype!r} is not numeric: convert it to numbers first"
            )
        grey = len(shape) == 2 and (kind == "image" or (kind is None and dtype == "uint8"))
        if grey:
            return cls("image", (1, *shape), dtype)
        guess = kind or _BY_RANK.get(len(shape))
        if guess is None:
            raise IsthmusError(
                f"rows of shape {shape} fit no kind of signal: pass rows of one axis (vectors), "
                "two (series) or three (images)"
            )
        if guess not in get_args(Kind):
            raise unknown("kind of signal", guess, get_args(Kind))
        if guess == "image" and len(shape) != 3:
            raise IsthmusError(
                f"rows of shape {shape} are no images: give them two axes (height, width) or three"
            )
        if guess == "image" and shape[2] in _CHANNELS and shape[0] not in _CHANNELS:
            return cls("image", (shape[2], shape[0], shape[1]), dtype, channels_last=True)
        return cls(guess, shape, dtype)

    def bounded(self, low: float, high: float) -> "Signal":
        """The same signal with its value range filled in."""
        return Signal(self.kind, self.shape, self.dtype, low, high, self.channels_last, self.parts)

    def tensor(self, rows: Array, *, check: bool = True) -> Tensor:
        """Raw rows as the float32 tensor ``(rows, *shape)`` that the model reads.

        With ``check`` (the default), rows of another shape or dtype, and NaN or infinity, are
        errors. Rows that already have the model's shape and are floats pass unchanged.
        """
        if self.kind == "collection":
            raise IsthmusError("a collection is read part by part: index its parts")
        if check:
            self._check_layout(rows)
        x = rows if isinstance(rows, Tensor) else _as_tensor(rows)
        if x.dtype == torch.uint8 and self.dtype == "uint8" and self.kind == "image":
            x = x.to(torch.float32).mul_(1.0 / 255.0)
        else:
            x = x.to(torch.float32)
        if tuple(x.shape[1:]) != self.shape:
            x = x.movedim(-1, 1) if self.channels_last and x.ndim == 4 else x.unsqueeze(1)
            x = x.contiguous()
        if check and not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise IsthmusError(
                f"the data contain NaN or infinity (first in row {bad}): drop or fill these "
                "values first"
            )
        return x

    def _check_layout(self, rows: Array) -> None:
        shape, dtype = tuple(rows.shape[1:]), dtype_name(rows)
        if not is_numeric(dtype):
            raise IsthmusError(
                f"rows of dtype {dtype!r} are not numeric: this model reads {self.dtype} "
                f"{self.kind}s"
            )
        allowed = [self.shape]
        if self.kind == "image":
            if self.shape[0] == 1:
                allowed.append(self.shape[1:])
            if self.channels_last:
                allowed.append((*self.shape[1:], self.shape[0]))
        if shape not in allowed:
            expected = " or ".join(f"(rows, {', '.join(map(str, s))})" for s in allowed)
            raise IsthmusError(
                f"data of shape {tuple(rows.shape)} does not fit: this model reads {expected}; "
                f"X has {prod(shape)} features, but it is expecting {self.numel} features as input"
            )
        if self.kind == "image" and dtype == "uint8" and self.dtype != "uint8":
            raise IsthmusError(
                f"this model was fitted to {self.dtype} images and got bytes: convert them to the "
                "same scale first (for example X / 255)"
            )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_dict` reads it back."""
        plain: dict[str, Any] = {
            "kind": self.kind,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "low": self.low,
            "high": self.high,
            "channels_last": self.channels_last,
        }
        if self.parts:
            plain["parts"] = {name: part.to_dict() for name, part in self.parts.items()}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Signal":
        """Read what :meth:`to_dict` wrote."""
        parts = {name: cls.from_dict(part) for name, part in plain.get("parts", {}).items()}
        return cls(
            cast(Kind, plain["kind"]),
            tuple(plain["shape"]),
            plain["dtype"],
            plain["low"],
            plain["high"],
            plain["channels_last"],
            parts,
        )

    def __str__(self) -> str:
        if self.kind == "collection":
            return "{" + ", ".join(f"{k}: {v}" for k, v in self.parts.items()) + "}"
        return f"{self.kind} " + "x".join(map(str, self.shape))


def dtype_name(rows: Array) -> str:
    """The dtype of an array or tensor by its NumPy name, whatever its byte order."""
    if isinstance(rows, np.ndarray):
        return rows.dtype.name
    return str(rows.dtype).removeprefix("torch.")


def is_numeric(dtype: str) -> bool:
    """Whether values of that dtype can be read as real numbers."""
    return dtype.startswith(("float", "int", "uint", "bool", "bfloat"))


def _as_tensor(rows: np.ndarray) -> Tensor:
    if rows.dtype.name in ("uint16", "uint32", "uint64") or not rows.dtype.isnative:
        rows = rows.astype(np.float32)
    if not rows.flags.writeable or any(stride < 0 for stride in rows.strides):
        rows = rows.copy()
    return torch.from_numpy(np.ascontiguousarray(rows))
