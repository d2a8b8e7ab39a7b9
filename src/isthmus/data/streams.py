"""Data that can only be walked through once: gathered in memory, or on disk where they are many."""

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from isthmus import notices
from isthmus.errors import IsthmusError

MEMORY = 1 << 30
"""Bytes of rows that are gathered in memory; above, they go to a file of the system's temporary
folder, which is removed with the rows."""
_PART = 1 << 24


def is_stream(X: Any) -> bool:
    """Whether data have no rows by number and can be walked through."""
    if isinstance(X, (IterableDataset, DataLoader)):
        return True
    by_number = hasattr(X, "__getitem__") and hasattr(X, "__len__")
    by_type = type(X).__name__ in ("IterableColumn",)
    return (
        isinstance(X, Iterable) and (by_type or not by_number) and not isinstance(X, (set, bytes))
    )


def gathered(X: Iterable[Any]) -> Any:
    """All items of a stream: rows of numbers as an array, records or texts as a list.

    Items are rows ``(features,)``, or batches ``(rows, features)`` of them, which are joined;
    tuples whose first element is one; records ``{name: value}``; texts; numbers. Where they are is
    said. A stream without items, or with items of different shapes, is an :class:`IsthmusError`.
    """
    items = (_item(item) for item in X)
    first = next(items, None)
    if first is None:
        raise IsthmusError(f"the {_name(X)} yields nothing: pass one with at least one row")
    if isinstance(first, (str, bytes, Mapping)):
        rows = [first, *items]
        if isinstance(first, Mapping):
            rows = _records(rows, X)
        _say(X, len(rows), "memory")
        return rows
    batched = first.ndim > 1 and (first.ndim == 2 or isinstance(X, DataLoader))
    if batched and not isinstance(X, DataLoader):
        notices.say(
            f"items of the {_name(X)} have two axes and are taken as batches of rows: collect them "
            "into an array to have each as one example"
        )
    spool = _Spool(first[0] if batched else first, X)
    for item in _chained(first, items):
        spool.add(item if batched else item[None])
    return spool.whole()


def _chained(first: Any, items: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from items


def _item(item: Any) -> Any:
    if isinstance(item, (tuple, list)) and len(item) and not isinstance(item[0], (int, float, str)):
        item = item[0]
    if isinstance(item, Tensor):
        item = item.detach().cpu().float() if item.dtype.itemsize < 4 else item.detach().cpu()
        return item.numpy()
    if isinstance(item, Mapping):
        whole = {str(name): _value(value) for name, value in item.items()}
        alone = [v for v in whole.values() if isinstance(v, np.ndarray) and v.ndim]
        return alone[0] if len(whole) == 1 and alone else whole
    if isinstance(item, (str, bytes)):
        return item
    if type(item).__module__.startswith("PIL."):
        from isthmus.data.pixels import pixels

        image = pixels(item, "an item of the stream")
        return image if image.ndim == 2 else image.transpose(2, 0, 1)
    array = np.asarray(item)
    if array.dtype.kind not in "biuf":
        raise IsthmusError(
            f"the items of the stream are of type {type(item).__name__}: yield arrays, records of "
            "numbers and text, or texts"
        )
    return array


def _value(value: Any) -> Any:
    if isinstance(value, (list, tuple, Tensor)):
        return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    return value


def _records(records: list[Any], X: Any) -> Any:
    """Records of scalars as they are; of arrays as one array a name, a collection."""
    if not any(isinstance(value, np.ndarray) and value.ndim for value in records[0].values()):
        return records
    try:
        return {name: np.stack([np.asarray(row[name]) for row in records]) for name in records[0]}
    except (KeyError, ValueError):
        raise _uneven(X) from None


class _Spool:
    """Rows that are appended; a file takes them where they become too many for memory."""

    def __init__(self, row: np.ndarray, X: Any) -> None:
        self.shape, self.dtype, self.X = row.shape, row.dtype, X
        self.parts: list[np.ndarray] = []
        self.rows, self.bytes = 0, 0
        self.path: Path | None = None
        self.file: Any = None

    def add(self, rows: np.ndarray) -> None:
        if rows.shape[1:] != self.shape:
            raise _uneven(self.X)
        rows = rows.astype(self.dtype, copy=False)
        self.rows += len(rows)
        self.bytes += rows.nbytes
        self.parts.append(rows)
        if len(self.parts) > 1 << 14 or (self.file is not None and self.bytes > _PART):
            self.parts = [np.concatenate(self.parts)]
        if self.file is None and self.bytes > MEMORY:
            # Closed by whole(), after which the array alone holds the place.
            self.file = tempfile.NamedTemporaryFile(prefix="isthmus-", delete=False)  # noqa: SIM115
            self.path = Path(self.file.name)
        if self.file is not None:
            for part in self.parts:
                self.file.write(np.ascontiguousarray(part).tobytes())
            self.parts = []

    def whole(self) -> np.ndarray:
        _say(self.X, self.rows, "memory" if self.path is None else f"{self.path.parent}")
        if self.path is None:
            return np.concatenate(self.parts)
        self.file.close()
        array = np.memmap(self.path, self.dtype, "r", shape=(self.rows, *self.shape))
        weakref.finalize(array, self.path.unlink, missing_ok=True)
        return array


def _say(X: Any, rows: int, where: str) -> None:
    notices.say(
        f"the {_name(X)} can only be walked through, so that its {rows:,} rows are kept in {where}"
        ": pass an array, or a data set with rows by number, to have them read where they are"
    )


def _name(X: Any) -> str:
    return type(X).__name__


def _uneven(X: Any) -> IsthmusError:
    return IsthmusError(f"the items of the {_name(X)} differ in shape: yield rows of one shape")
