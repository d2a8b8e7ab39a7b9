"""Arrays that float32 would spoil: centred in double before the cast, and put back in double."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Signal, Source
from isthmus.errors import IsthmusError
from isthmus.tables.numbers import LOSS, deltas, rounding

PART = 1 << 21
"""Elements that are looked at at once."""
_LARGE, _SMALL = 1e15, 1e-15
_WHOLE = 2**53
"""From here on doubles miss whole numbers."""
WIDE = ("float64", "longdouble", "float128", "int32", "int64", "uint32", "uint64")
"""Types that float32 may not hold."""


@dataclass(frozen=True, eq=False)
class Centring:
    """``(x - offset) / scale`` in double, for every feature of a vector or channel of a series.

    Only features for which float32 is too coarse are moved; the others have offset 0 and scale 1.
    """

    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def learn(cls, raw: Callable[[np.ndarray], np.ndarray], index: np.ndarray) -> "Centring | None":
        """From the rows ``index``, which ``raw`` reads in the type in which they are stored, their
        last axis being the features'; None where float32 holds them all."""
        first = _signed(raw(index[:1]))
        if first.dtype.name not in WIDE:
            return None
        width = first.shape[-1]
        base = first.reshape(-1, width)[0]
        losses, total, square = np.zeros(width), np.zeros(width), np.zeros(width)
        count, step = 0, max(1, PART // max(first.size, 1))
        for start in range(0, len(index), step):
            part = _signed(raw(index[start : start + step])).reshape(-1, width)
            _check_apart(part)
            losses = np.maximum(losses, rounding(part).max(0))
            off = deltas(part, base)
            total, square = total + off.sum(0), square + np.square(off).sum(0)
            count += len(off)
        return cls._of(base, losses, total / count, square / count)

    @classmethod
    def _of(
        cls, base: np.ndarray, losses: np.ndarray, mean: np.ndarray, square: np.ndarray
    ) -> "Centring | None":
        std = np.sqrt(np.maximum(square - np.square(mean), 0.0))
        spoiled = (std > 0) & (losses > LOSS * std)
        if not spoiled.any():
            return None
        whole = base.dtype.kind in "iu"
        center = base + np.rint(mean).astype(np.int64) if whole and base.dtype != np.uint64 else (
            base.astype(np.float64) + mean
        )  # fmt: skip
        offset = np.where(spoiled, center, 0)
        scaled = spoiled & ((std > _LARGE) | (std < _SMALL))
        return cls(offset, np.where(scaled, std, 1.0))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Float32, of the same shape."""
        return (deltas(_signed(values), self.offset) / self.scale).astype(np.float32)

    def restored(self, values: Any) -> Any:
        """Back in double, and as whole numbers where doubles miss them; a tensor for a tensor."""
        exact = self.offset.dtype.kind == "i" and bool((self.scale == 1.0).all())
        if exact and int(np.abs(self.offset).max()) >= _WHOLE:
            if isinstance(values, Tensor):
                return values.round().long() + torch.from_numpy(self.offset).to(values.device)
            return np.rint(np.asarray(values)).astype(np.int64) + self.offset
        if isinstance(values, Tensor):
            doubles = values.double() * torch.from_numpy(self.scale).to(values.device)
            return doubles + torch.from_numpy(self.offset.astype(np.float64)).to(values.device)
        return np.asarray(values, np.float64) * self.scale + self.offset

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_dict` reads it back."""
        return {"kind": "centring", "offset": self.offset.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Centring":
        """Read what :meth:`to_dict` wrote."""
        return cls(np.array(plain["offset"]), np.array(plain["scale"], np.float64))


def _signed(values: np.ndarray) -> np.ndarray:
    """Whole numbers without a sign as signed ones, whose differences are exact, where they fit."""
    fits = values.dtype == np.uint64 and values.max(initial=0) <= np.iinfo(np.int64).max
    return values.astype(np.int64) if fits else values


def _check_apart(values: np.ndarray) -> None:
    """An error for whole numbers that doubles do not tell apart, of columns ``(rows, width)``."""
    if values.dtype != np.uint64:
        return
    for place, column in enumerate(values.T):
        whole = np.unique(column)
        if len(np.unique(whole.astype(np.float64))) < len(whole):
            raise IsthmusError(
                f"the column {place} of the data holds whole numbers too large to be told apart "
                f"({whole[-1]}, say): subtract an offset, or leave the column out"
            )


class CentredSource(Source):
    """Rows of an array, centred.

    ``raw`` reads rows by number in the type in which they are stored, of ``signal``'s shape.
    """

    signal: Signal

    def __init__(
        self, source: Source, raw: Callable[[np.ndarray], np.ndarray], centring: Centring
    ) -> None:
        self.source, self.raw, self.centring = source, raw, centring
        self.columns, self.spec = source.columns, source.spec
        low, high = np.inf, -np.inf
        step = max(1, PART // source.signal.numel)
        for start in range(0, len(source), step):
            part = centring.apply(raw(np.arange(start, min(start + step, len(source)))))
            low, high = min(low, float(part.min())), max(high, float(part.max()))
        self.signal = source.signal.bounded(low, high)

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, index: Tensor) -> Tensor:
        """Float32 rows ``(len(index), *signal.shape)``."""
        return torch.from_numpy(self.centring.apply(self.raw(index.numpy())))
