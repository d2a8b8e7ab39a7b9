"""What one example is: kind, shape, raw dtype and value range."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import prod
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import tree
from isthmus.anatomy.axes import Array, Asked, Kind, Reading, axes_of
from isthmus.anatomy.batch import Batch, Given
from isthmus.anatomy.masks import read_mask, within
from isthmus.anatomy.ragged import Text, padded, shapes_of, text_of
from isthmus.anatomy.ranges import check_range
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError, unknown
from isthmus.notices import say

MOST_TOKENS = 1 << 24
"""Different tokens up to which a model can have a row of weights for each."""


@dataclass(frozen=True)
class Signal:
    """The shape of one example as a model sees it, and how raw rows become that.

    ``shape`` is without the row axis; an image is ``(channels, height, width)``. ``dtype`` is the
    *raw* dtype: bytes are read as fractions of 255, everything else as float32 unchanged; of texts
    it is ``"str"`` or ``"bytes"``.
    ``channels_last`` says that raw images are ``(height, width, channels)``, ``flat`` that they are
    ``(height, width)``. ``low`` and ``high`` bound the values after that reading. A collection has
    ``parts`` and an empty shape.

    ``axis`` is where raw arrays have their features, where a model has them elsewhere: 1 for series
    ``(rows, channels, steps)``. A vector that has one was read from arrays of more axes than two,
    all others of which are positions, each a row (:mod:`isthmus.anatomy.axes`).

    Tokens are whole numbers from 0 to ``high`` and stay so. ``ragged`` rows differ in their number
    of steps, the first axis; ``shape`` then has the largest that was seen, a batch is as long as
    its longest row, and its mask says which steps are there. A graph is an opaque value
    (:class:`~isthmus.anatomy.tree.Rows`); its shape is that of one node.
    """

    kind: Kind
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    channels_last: bool = False
    parts: Mapping[str, "Signal"] = field(default_factory=dict)
    ragged: bool = False
    flat: bool = False
    axis: int | None = None

    @property
    def is_real(self) -> bool:
        """Whether examples are real numbers: not token ids, graphs or a collection."""
        return self.kind not in ("tokens", "graph", "collection")

    @property
    def text(self) -> Text | None:
        """Whether the tokens are the bytes of texts: ``"str"`` (UTF-8) or ``"bytes"``."""
        return cast(Text, self.dtype) if self.dtype in get_args(Text) else None

    @property
    def vocabulary(self) -> int:
        """How many different tokens there are; an error where the signal is no tokens."""
        if self.kind != "tokens" or self.high is None:
            raise IsthmusError(
                f"a {self.kind} has no tokens: pass text, or whole numbers with kind='tokens'"
            )
        return int(self.high) + 1

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
    def infer(cls, rows: Any, kind: Asked = None) -> "Signal":
        """Read the signal off an array of rows; ``low`` and ``high`` stay unknown.

        The rules for its axes are at the top of :mod:`isthmus.anatomy.axes`; what was not
        certain is said. ``kind`` is a kind, or a :class:`~isthmus.anatomy.axes.Reading`. Of a
        mapping each part is read; a list of arrays of one row each has rows of different lengths.
        """
        how = Reading.of(kind)
        if isinstance(rows, Mapping):
            parts = {k: cls.infer(v, how.parts.get(str(k))) for k, v in rows.items()}
            return cls("collection", parts=parts)
        if isinstance(rows, (list, tuple)):
            return cls._of_ragged(rows, how.kind)
        if isinstance(rows, tree.Rows) and not isinstance(rows, (np.ndarray, Tensor)):
            value_class = type(rows)
            return cls(
                how.kind or "graph", dtype=f"{value_class.__module__}:{value_class.__qualname__}"
            )
        dtype = dtype_name(rows)
        if rows.ndim < 2:
            raise IsthmusError(
                f"data of shape {tuple(rows.shape)} has no axis of features: Reshape your data "
                "to (rows, features), with X.reshape(-1, 1) if it has a single feature"
            )
        if not is_numeric(dtype):
            raise IsthmusError(
                f"data of dtype {dtype!r} is not numeric: convert it to numbers first"
            )
        if how.kind == "tokens" and not dtype.startswith(("int", "uint")):
            raise IsthmusError(
                f"tokens are whole numbers, and these rows are {dtype}: convert them to integers"
            )
        axes = axes_of(rows, dtype, how)
        if axes.said:
            say(axes.said)
        return cls(
            axes.kind,
            axes.shape,
            dtype,
            channels_last=axes.channels_last,
            flat=axes.flat,
            axis=axes.axis,
        )

    @classmethod
    def _of_ragged(cls, rows: Sequence[Any], kind: Kind | None) -> "Signal":
        longest, rest, dtype = shapes_of(rows)
        text = text_of(rows)
        if text is not None:
            return cls("tokens", (longest,), text, ragged=True)
        whole = dtype.startswith(("int", "uint"))
        guess: Kind = kind or ("tokens" if whole and not rest else "series" if rest else "set")
        if guess != "tokens" and not rest:
            guess = "series"
        return cls(guess, (longest, *rest), dtype, ragged=True)

    def accepts(self, other: "Signal") -> bool:
        """Whether a model of this signal can read data of another."""
        if self.kind == "collection" or other.kind == "collection":
            return (
                self.kind == other.kind
                and set(self.parts) == set(other.parts)
                and all(part.accepts(other.parts[name]) for name, part in self.parts.items())
            )
        if self.is_real != other.is_real:
            return False
        if self.ragged:
            return self.shape[1:] == other.shape[1:]
        return self.shape == other.shape and not other.ragged

    def bounded(self, low: float, high: float) -> "Signal":
        """The same signal with its value range filled in; absurd tokens are an error."""
        if self.kind == "tokens" and high >= MOST_TOKENS:
            raise IsthmusError(
                f"the data have the token {int(high)}, and a model needs weights for every token "
                f"up to it: number the tokens from 0, below {MOST_TOKENS:,}"
            )
        return replace(self, low=low, high=high)

    def batch(
        self,
        rows: Any,
        *,
        mask: Tree = None,
        given: Mapping[str, Tensor] | None = None,
        read: bool = False,
    ) -> Batch:
        """Raw rows as the batch that the model reads, checked; see :meth:`tensor`.

        Of a collection the parts are read by name, whatever their order; one that is missing or
        unknown is an error. A list of rows is filled up with zeros, which the mask leaves out.
        """
        about = Given(given or {})
        if self.kind != "collection":
            x, visible = self._read(rows, mask, read)
            return Batch(x, None, visible, about)
        if not isinstance(rows, Mapping):
            raise IsthmusError(
                f"this model reads {', '.join(map(repr, self.parts))}: pass a mapping of these "
                "names to arrays"
            )
        rows = {str(name): part for name, part in rows.items()}
        try:
            tree.same_names(dict.fromkeys(rows, 0), dict.fromkeys(self.parts, 0), "X", "the model")
        except IsthmusError as problem:
            if not set(rows) < set(self.parts):
                raise
            raise IsthmusError(
                f"{problem} (zeros and a mask of False where one was not observed)"
            ) from None
        if mask is not None and not isinstance(mask, Mapping):
            raise IsthmusError("the mask of several parts is a mapping of their names to masks")
        for name in mask or ():
            if name not in self.parts:
                raise unknown("part that the mask names", name, self.parts)
        parts = {
            name: part.batch(rows[name], mask=None if mask is None else mask.get(name), read=read)
            for name, part in self.parts.items()
        }
        masks = {name: part.mask for name, part in parts.items()}
        visible = masks if any(m is not None for m in masks.values()) else None
        return Batch({name: part.x for name, part in parts.items()}, None, visible, about)

    def _read(self, rows: Any, mask: Any, read: bool) -> tuple[Any, Any]:
        """One part's rows, and its mask as a tensor."""
        if isinstance(rows, Mapping):
            raise IsthmusError(
                f"this model reads one array, {self}, and the data are a collection of "
                f"{', '.join(map(repr, rows))}: pass one of them"
            )
        if mask is not None:
            mask = read_mask(mask, self, len(rows))
        if isinstance(rows, (list, tuple)):
            if not self.ragged and self.kind != "graph":
                rows = self._rectangle(rows)
            else:
                rows, present = padded(rows)
                mask = present if mask is None else within(mask, present)
        if self.kind == "graph":
            return rows, mask
        return self.tensor(rows, mask=mask, read=read), mask

    def _rectangle(self, rows: Sequence[Any]) -> np.ndarray:
        """A list of rows of one shape as an array."""
        try:
            return np.asarray(rows)
        except ValueError:
            how = "all alike"
            if self.kind == "image":
                how += f", as isthmus.data.as_source(X, size={self.shape[1:]}) makes them"
            raise IsthmusError(
                f"the rows of the list differ in shape: this model reads rows of {self.shape}, "
                f"{how}"
            ) from None

    def tensor(
        self, rows: Array, *, check: bool = True, mask: Tensor | None = None, read: bool = False
    ) -> Tensor:
        """Raw rows as the tensor ``(rows, *shape)`` that the model reads: float32, tokens int64.

        With ``check`` (the default), rows of another shape or dtype, images far outside of the
        range that was fitted, and NaN or infinity where the mask says that something was observed,
        are errors. Rows that already have the model's shape and are floats pass unchanged; with
        ``read`` that is what they are, whatever the axes of raw rows.
        """
        if self.kind == "collection":
            raise IsthmusError("a collection is read part by part: index its parts")
        if check:
            self._check_layout(rows, read)
        if self.kind == "tokens":
            return self._tokens(rows, check=check)
        x = rows if isinstance(rows, Tensor) else _as_tensor(rows)
        whole = not x.is_floating_point() and x.dtype != torch.bool
        if whole and self.dtype == "uint8" and self.kind == "image":
            x = x.to(torch.float32).mul_(1.0 / 255.0)
        else:
            x = x.to(torch.float32)
        x = self._arranged(x, read)
        if mask is not None:
            x = torch.where(tree.like(mask, x), x, 0.0)
        if check and not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
            raise IsthmusError(
                f"the data contain NaN or infinity (first in row {bad}): drop or fill these "
                "values first, or pass mask= (in Python) where none was observed"
            )
        if check and mask is None:
            check_range(x, self)
        return x

    def _arranged(self, x: Tensor, read: bool) -> Tensor:
        """The axes of raw rows in the order that the model has."""
        shape = tuple(x.shape[1:])
        if self.kind == "series" and self.axis == 1 and not read and shape == self.shape[::-1]:
            return x.movedim(1, -1).contiguous()
        if shape != self.shape and self.kind == "image":
            last = self.channels_last and x.ndim == 4
            if last and self.shape[0] > 1:
                return x.movedim(-1, 1).contiguous()
            # A single channel that was moved would have the strides of channels last, which
            # convolutions compute in another order.
            return (x.squeeze(-1) if last else x).contiguous().unsqueeze(1)
        return x.contiguous()

    def _check_layout(self, rows: Array, read: bool) -> None:
        shape, dtype = tuple(rows.shape[1:]), dtype_name(rows)
        if not is_numeric(dtype):
            raise IsthmusError(
                f"rows of dtype {dtype!r} are not numeric: this model reads {self.dtype} "
                f"{self.kind}s"
            )
        if self.ragged:
            if shape[1:] != self.shape[1:]:
                raise IsthmusError(
                    f"rows of steps of shape {shape[1:]} do not fit: this model reads steps of "
                    f"shape {self.shape[1:]}"
                )
            return
        allowed = [self.shape]
        if self.kind == "image":
            if self.shape[0] == 1:
                allowed.append(self.shape[1:])
            if self.channels_last:
                allowed.append((*self.shape[1:], self.shape[0]))
        if self.kind == "series" and self.axis == 1 and not read:
            allowed = [self.shape[::-1]]
        if shape not in allowed:
            expected = " or ".join(f"(rows, {', '.join(map(str, s))})" for s in allowed)
            raise IsthmusError(
                f"data of shape {tuple(rows.shape)} does not fit: this model reads {expected}; "
                f"X has {prod(shape)} features, but it is expecting {self.numel} features as input"
            )
        if self.kind == "image" and dtype == "uint8" != self.dtype and not (self.high or 0) > 2:
            raise IsthmusError(
                f"this model was fitted to {self.dtype} images and got bytes: convert them to the "
                "same scale first (for example X / 255)"
            )

    def _tokens(self, rows: Array, *, check: bool) -> Tensor:
        x = rows if isinstance(rows, Tensor) else _as_tensor(rows)
        if x.is_floating_point():
            raise IsthmusError(
                f"this model reads tokens, whole numbers, and got {x.dtype}: convert them"
            )
        x = x.to(torch.int64)
        if check and x.numel():
            low, high = (int(v) for v in torch.aminmax(x))
            if low < 0 or (self.high is not None and high > self.high):
                raise IsthmusError(
                    f"the token {low if low < 0 else high} is none of this model's, which are 0 to "
                    f"{self.vocabulary - 1}"
                )
        return x

    def opaque_class(self) -> Any:
        """The class of opaque values, which must be importable."""
        module, _, name = self.dtype.partition(":")
        try:
            value_class = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            raise IsthmusError(
                f"the rows of this model are {self.dtype}, which cannot be imported: install the "
                "package that has it"
            ) from None
        return value_class

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
        for name in ("ragged", "flat"):
            if getattr(self, name):
                plain[name] = True
        if self.axis is not None:
            plain["axis"] = self.axis
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
            plain.get("ragged", False),
            plain.get("flat", False),
            plain.get("axis"),
        )

    def __str__(self) -> str:
        if self.kind == "collection":
            return "{" + ", ".join(f"{k}: {v}" for k, v in self.parts.items()) + "}"
        shape = list(map(str, self.shape))
        if self.ragged:
            shape[0] = f"up to {shape[0]}"
        return f"{self.kind} " + "x".join(shape)


def dtype_name(rows: Array) -> str:
    """The dtype of an array or tensor by its NumPy name, whatever its byte order."""
    if isinstance(rows, np.ndarray):
        return rows.dtype.name
    return str(rows.dtype).removeprefix("torch.")


def is_numeric(dtype: str) -> bool:
    """Whether values of that dtype can be read as real numbers."""
    return dtype.startswith(("float", "int", "uint", "bool", "bfloat"))


def _as_tensor(rows: np.ndarray) -> Tensor:
    if not rows.dtype.isnative:
        rows = rows.astype(rows.dtype.newbyteorder("="))
    # What torch cannot compute with, as what holds it; 64 bits without sign as floats.
    substitutes = {
        "uint16": np.int32,
        "uint32": np.int64,
        "uint64": np.float32,
        "longdouble": np.float64,
    }
    if rows.dtype.name in substitutes or rows.dtype.itemsize > 8:
        rows = rows.astype(substitutes.get(rows.dtype.name, np.float64))
    if not rows.flags.writeable or any(stride < 0 for stride in rows.strides):
        rows = rows.copy()
    return torch.from_numpy(np.ascontiguousarray(rows))
