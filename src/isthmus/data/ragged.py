"""Sources of rows that are no rectangle of numbers: texts, recordings, sets, graphs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Asked, Batch, Rows, Signal, Source
from isthmus.anatomy.batch import all_entries
from isthmus.anatomy.masks import read_mask, within
from isthmus.anatomy.ragged import as_array
from isthmus.errors import IsthmusError


def is_ragged(rows: Sequence[Any]) -> bool:
    """Whether a list holds texts, or arrays of different lengths."""
    if len(rows) == 0:
        return False
    if all(isinstance(row, (str, bytes, bytearray)) for row in rows):
        return True
    arrays = all(isinstance(row, (np.ndarray, Tensor, list, tuple)) for row in rows)
    if not arrays or any(isinstance(row, (np.ndarray, Tensor)) and row.ndim == 0 for row in rows):
        return False
    return len({len(row) for row in rows}) > 1


class RaggedSource(Source):
    """Rows of different lengths, kept one after another; texts are their bytes (UTF-8).

    Each row is an array ``(steps, *step)``. A batch is filled up with zeros to its longest row,
    ``(rows, steps, *step)``, and its mask ``(rows, steps)`` says what is there. An empty row, NaN
    or infinity is an :class:`IsthmusError`.
    """

    def __init__(self, rows: Sequence[Any], kind: Asked = None, *, name: str | None = None):
        self.what = "the data" if name is None else f"the data of {name!r}"
        arrays = [as_array(row) for row in rows]
        self.signal = Signal.infer(rows, kind)
        lengths = torch.tensor([len(array) for array in arrays])
        if int(lengths.min()) == 0:
            raise IsthmusError(
                f"row {int(lengths.argmin())} of {self.what} is empty: drop it, or give it a step"
            )
        self.starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        whole = torch.from_numpy(np.concatenate(arrays))
        self.flat = whole.to(torch.int64 if self.signal.kind == "tokens" else torch.float32)
        low, high = (float(v) for v in torch.aminmax(self.flat))
        if not (np.isfinite(low) and np.isfinite(high)):
            step = int((~torch.isfinite(self.flat.flatten(1) if self.flat.ndim > 1 else
                        self.flat[:, None])).any(1).nonzero()[0])  # fmt: skip
            row = int(torch.searchsorted(self.starts, step, right=True)) - 1
            raise IsthmusError(
                f"{self.what} contain NaN or infinity (first in row {row}): drop or fill these "
                "values first"
            )
        if self.signal.kind == "tokens" and low < 0:
            raise IsthmusError(f"{self.what} have the token {low:g}: tokens begin at 0")
        if self.signal.text:
            low, high = 0.0, 255.0
        self.signal = self.signal.bounded(low, high)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, index: Tensor) -> Tensor:
        """The rows filled up with zeros, ``(len(index), steps, *step)``."""
        return self._padded(index)[0]

    def batch(self, index: Tensor) -> Batch:
        """The rows with the mask of what is there."""
        x, mask = self._padded(index)
        return Batch(x, index, mask)

    def _padded(self, index: Tensor) -> tuple[Tensor, Tensor]:
        starts = self.starts[index]
        lengths = self.starts[index + 1] - starts
        steps = torch.arange(int(lengths.max()))
        mask = steps < lengths[:, None]
        places = (starts[:, None] + steps).clamp_max(len(self.flat) - 1)
        x = self.flat[places]
        inner = mask.reshape(*mask.shape, *[1] * (x.ndim - 2))
        return torch.where(inner, x, torch.zeros((), dtype=x.dtype)), mask


class RowsSource(Source):
    """Rows of an opaque value (see :class:`isthmus.anatomy.Rows`), such as graphs."""

    def __init__(self, rows: Rows, kind: Asked = None) -> None:
        if len(rows) == 0:
            raise IsthmusError("the data are empty: pass at least one row")
        self.value = rows
        self.signal = Signal.infer(rows, kind)

    def __len__(self) -> int:
        return len(self.value)

    def rows(self, index: Tensor) -> Rows:
        """The rows as a value of the same class."""
        return self.value.take(index)


class GivenSource(Source):
    """A source with something given for each row: labels, conditions, weights, a mask.

    ``given`` holds one entry a row by name; ``mask`` is as in :class:`Batch`, for all rows. A name
    whose length is another, or a mask under which no row of a part is observed, is an
    :class:`IsthmusError`.
    """

    def __init__(
        self, source: Source, given: Mapping[str, Any] | None = None, mask: Any = None
    ) -> None:
        self.source = source
        self.spec, self.origin, self.names = source.spec, source.origin, source.names
        self.given = all_entries({} if given is None else given, len(source))
        self.mask = None if mask is None else _mask(mask, source)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def signal(self) -> Signal:  # type: ignore[override]
        """That of the source."""
        return self.source.signal

    def rows(self, index: Tensor) -> Any:
        """The rows of the source."""
        return self.source.rows(index)

    def batch(self, index: Tensor) -> Batch:
        """The rows with what is given for them."""
        batch = self.source.batch(index)
        given = {**batch.given, **{name: value[index] for name, value in self.given.items()}}
        return Batch(batch.x, index, _both(batch.mask, self.mask, index), given)

    def order(self, seed: int) -> Tensor | None:
        """That of the source."""
        return self.source.order(seed)

    def base(self, index: Tensor) -> tuple[Source, Tensor]:
        """That of the source."""
        return self.source.base(index)

    def numbers(self, index: Tensor) -> Tensor:
        """Those of the source."""
        return self.source.numbers(index)

    @property
    def given_names(self) -> tuple[str, ...]:
        """Names of what is given."""
        return tuple(dict.fromkeys((*self.source.given_names, *self.given)))


def _mask(mask: Any, source: Source) -> Any:
    """The mask as tensors, one for each part that has one."""
    if isinstance(mask, Mapping):
        if not source.signal.parts:
            raise IsthmusError("a mask by names is for several named parts: pass one array")
        for name in mask:
            if name not in source.signal.parts:
                names = ", ".join(map(repr, source.signal.parts))
                raise IsthmusError(f"the mask names {name!r}, and the parts are {names}")
        return {
            name: None if mask.get(name) is None else _boolean(mask[name], part, len(source), name)
            for name, part in source.signal.parts.items()
        }
    if source.signal.parts:
        raise IsthmusError("the mask of several parts is a mapping of their names to masks")
    return _boolean(mask, source.signal, len(source), "")


def _boolean(mask: Any, signal: Signal, rows: int, name: str) -> Tensor:
    tensor = read_mask(mask, signal, rows, name)
    if not bool(tensor.any()):
        what = f"the mask of {name!r}" if name else "the mask"
        raise IsthmusError(f"{what} says that nothing of it is observed in any row: leave it out")
    return tensor


def _both(of_source: Any, masks: Any, index: Tensor) -> Any:
    if masks is None:
        return of_source
    if isinstance(masks, Mapping):
        inner = of_source if isinstance(of_source, Mapping) else {}
        return {name: _both(inner.get(name), mask, index) for name, mask in masks.items()}
    rows = masks[index]
    return rows if of_source is None else within(rows, of_source)
