"""Sources over arrays: rows by index, in the model's float32."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Asked, Batch, Reading, Rows, Signal, Source, Tree
from isthmus.anatomy.axes import spread_out
from isthmus.data.ragged import RaggedSource, RowsSource, is_ragged
from isthmus.errors import IsthmusError
from isthmus.tables import TableSource, as_table
from isthmus.tables.frames import is_framed
from isthmus.tables.source import plain

SCAN_ELEMENTS = 1 << 22
"""Elements that the scan for NaN, infinity and the value range reads at once."""

_NUMPY_ONLY = ("uint16", "uint32", "uint64")


class ArraySource(Source):
    """Rows of a NumPy array, a memory-map or a tensor, kept in their raw dtype.

    The first axis counts the rows. ``kind`` settles what shape alone cannot (see
    :meth:`Signal.infer`); where that says that an array has positions, each is a row. With
    ``scan`` the data are read once, in chunks: NaN and infinity are an :class:`IsthmusError` that
    names the first bad row (and its column, where ``columns`` names them), and the signal gets its
    value range, in units after reading (bytes of images are fractions of 255). An array in memory
    is not copied, unless it is read-only; do not change it while the source is in use.
    """

    signal: Signal

    def __init__(
        self,
        rows: Array,
        kind: Asked = None,
        scan: bool = True,
        *,
        columns: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        rows = _plain(rows)
        self.what = "the data" if name is None else f"the data of {name!r}"
        if rows.ndim and len(rows) == 0:
            raise IsthmusError(f"{self.what} are empty: pass at least one row")
        how = Reading.of(kind)
        if how.size is not None or how.mode is not None:
            raise IsthmusError(
                f"size and mode are for image files and lists of images, and {self.what} are an "
                "array: leave them out, or pass list(X) to have its images resized"
            )
        if rows.ndim > 1 and 0 in rows.shape:
            raise IsthmusError(f"the rows of {self.what} have no elements: pass at least one")
        self.signal = Signal.infer(rows, how)
        if self.signal.kind == "vector" and self.signal.axis is not None and rows.ndim > 2:
            rows = spread_out(rows, self.signal.axis)
        self.columns = columns
        self._tensor, self._array = _stored(rows)
        # The trainer asks for rows every step: where nothing has to be converted, it only indexes.
        self._ready = (
            self._tensor is not None
            and self._tensor.dtype == (torch.float32 if self.signal.is_real else torch.int64)
            and tuple(self._tensor.shape[1:]) == self.signal.shape
        )
        if scan:
            self.signal = self.signal.bounded(*self._scan())

    def __len__(self) -> int:
        return len(self._raw)

    @property
    def _raw(self) -> Array:
        return self._array if self._tensor is None else self._tensor

    def raw(self, index: Tensor) -> Array:
        """Rows by number in the type in which they are stored."""
        if self._tensor is None:
            return np.take(self._array, index.numpy(), axis=0)
        return self._tensor.index_select(0, index.to(self._tensor.device))

    def rows(self, index: Tensor) -> Tensor:
        """Float32 rows ``(len(index), *signal.shape)``, on the CPU or where the tensor lies."""
        if self._tensor is None:
            rows = np.take(self._array, index.numpy(), axis=0)
            return self.signal.tensor(rows, check=False)
        taken_rows = self._tensor.index_select(0, index.to(self._tensor.device))
        return taken_rows if self._ready else self.signal.tensor(taken_rows, check=False)

    by_thread = True

    def stored(self, index: Tensor) -> Tensor | None:
        """Rows of half-precision tensors as they are, where nothing but their type is other."""
        tensor = self._tensor
        if tensor is None or tensor.dtype not in (torch.float16, torch.bfloat16):
            return None
        if not self.signal.is_real or tuple(tensor.shape[1:]) != self.signal.shape:
            return None
        return tensor.index_select(0, index.to(tensor.device))

    def _scan(self) -> tuple[float, float]:
        low, high = np.inf, -np.inf
        step = max(1, SCAN_ELEMENTS // self.signal.numel)
        for start in range(0, len(self), step):
            x = self.signal.tensor(self._raw[start : start + step], check=False)
            # The extremes are finite only if all values are: aminmax hands NaN on.
            least, most = (float(v) for v in torch.aminmax(x))
            if self.signal.kind == "tokens" and least < 0:
                raise IsthmusError(
                    f"{self.what} have the token {least:g}: tokens are whole numbers from 0 on"
                )
            if not (np.isfinite(least) and np.isfinite(most)):
                raise self._not_finite(x, start)
            low, high = min(low, least), max(high, most)
        return low, high

    def _not_finite(self, x: Tensor, start: int) -> IsthmusError:
        row, column = (~torch.isfinite(x.flatten(1))).nonzero()[0].tolist()
        where = f"first in row {start + row}"
        if self.columns is not None:
            where += f", column {self.columns[column]!r}"
        return IsthmusError(
            f"{self.what} contain NaN or infinity ({where}): drop or fill these values first, "
            "or pass mask= (in Python) where none was observed"
        )


class CollectionSource(Source):
    """Several sources side by side, row by row: one signal for every name.

    ``rows`` returns a dictionary of tensors, the parts of the collection. ``masks`` holds, for the
    parts that have one, which entries are observed (see :class:`Batch`), with all rows.
    """

    def __init__(self, parts: Mapping[str, Source]) -> None:
        if not parts:
            raise IsthmusError("the collection is empty: pass at least one named array")
        lengths = {name: len(part) for name, part in parts.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
            raise IsthmusError(
                f"the parts of a collection need equally many rows, but {listed}: pair them first"
            )
        self.parts = dict(parts)

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    @property
    def signal(self) -> Signal:  # type: ignore[override]
        """Those of the parts."""
        return Signal("collection", parts={k: p.signal for k, p in self.parts.items()})

    def rows(self, index: Tensor) -> dict[str, Tree]:
        """Rows of every part, ``(len(index), *part.shape)`` each."""
        return {name: part.rows(index) for name, part in self.parts.items()}

    def batch(self, index: Tensor) -> Batch:
        """Rows of every part with their masks; what is given with the parts is put together."""
        parts = {name: part.batch(index) for name, part in self.parts.items()}
        masks = {name: part.mask for name, part in parts.items()}
        given = {key: value for part in parts.values() for key, value in part.given.items()}
        mask = masks if any(mask is not None for mask in masks.values()) else None
        return Batch({name: part.x for name, part in parts.items()}, index, mask, given)

    def fingerprint(self) -> str | None:
        """A fingerprint of those of the parts, where all have one."""
        fingerprints = [part.fingerprint() for part in self.parts.values()]
        return (
            None if any(one is None for one in fingerprints) else ",".join(map(str, fingerprints))
        )

    @property
    def given_names(self) -> tuple[str, ...]:
        """Names of what is given with any of the parts."""
        return tuple(dict.fromkeys(n for part in self.parts.values() for n in part.given_names))


class Subset(Source):
    """Chosen rows of another source: ``index`` holds row numbers, or a mask over all rows."""

    def __init__(self, source: Source, index: Tensor | np.ndarray | Sequence[int]) -> None:
        places = torch.as_tensor(index)
        if places.dtype == torch.bool:
            if len(places) != len(source):
                raise IsthmusError(
                    f"the mask has {len(places)} entries for {len(source)} rows: pass one per row"
                )
            places = places.nonzero().flatten()
        if places.numel() == 0:
            raise IsthmusError("the subset is empty: choose at least one row")
        if places.ndim != 1 or places.is_floating_point():
            raise IsthmusError("a subset needs a list of row numbers: pass integers in one axis")
        least, most = int(places.min()), int(places.max())
        if least < 0 or most >= len(source):
            raise IsthmusError(
                f"the subset asks for row {least if least < 0 else most} of {len(source)}: choose "
                f"rows from 0 to {len(source) - 1}"
            )
        places = places.to(torch.int64)
        self.source: Source = source.source if isinstance(source, Subset) else source
        self.index: Tensor = source.index[places] if isinstance(source, Subset) else places

    def __len__(self) -> int:
        return len(self.index)

    @property
    def signal(self) -> Signal:  # type: ignore[override]
        """That of the underlying source."""
        return self.source.signal

    def rows(self, index: Tensor) -> Tree:
        """The rows of the underlying source, in its units."""
        return self.source.rows(self.index.index_select(0, index))

    def batch(self, index: Tensor) -> Batch:
        """The same with masks and what is given; numbered as in this part of the data."""
        batch = self.source.batch(self.index.index_select(0, index))
        return Batch(batch.x, index, batch.mask, batch.given)

    @property
    def by_thread(self) -> bool:  # type: ignore[override]
        """As of the underlying source."""
        return self.source.by_thread

    def stored(self, index: Tensor) -> Tree | None:
        """The rows of the underlying source as they are stored."""
        return self.source.stored(self.index.index_select(0, index))

    def base(self, index: Tensor) -> tuple[Source, Tensor]:
        """The underlying source and the numbers there."""
        return self.source.base(self.index[index])

    def numbers(self, index: Tensor) -> Tensor:
        """Row numbers of the underlying source."""
        return self.source.numbers(self.index[index])

    @property
    def given_names(self) -> tuple[str, ...]:
        """Those of the underlying source."""
        return self.source.given_names

    @property
    def names(self) -> Sequence[str] | None:  # type: ignore[override]
        """The names that the chosen rows have in the underlying source."""
        whole = self.source.names
        return None if whole is None else [whole[i] for i in self.index.tolist()]

    def order(self, seed: int) -> Tensor | None:
        """The underlying source's order of these rows, by their numbers in this one."""
        whole = self.source.order(seed)
        if whole is None:
            return None
        # A row that was chosen several times comes several times, where it first comes.
        rank = torch.empty_like(whole)
        rank[whole] = torch.arange(len(whole))
        return rank[self.index].argsort(stable=True)


def collection(parts: Mapping[str, Any], kind: Asked = None) -> Source:
    """A collection source from a mapping of arrays or sources."""
    how = Reading.of(kind)
    sources = {
        str(name): one_source(part, how.part(str(name)), name=str(name))
        for name, part in parts.items()
    }
    return CollectionSource(sources)


def one_source(part: Any, kind: Asked = None, *, name: str | None = None) -> Source:
    """A source of one part: an array, a list of rows of different lengths, an opaque value."""
    if isinstance(part, Source):
        return part
    if isinstance(part, Mapping):
        raise IsthmusError(
            f"the part {name!r} is itself a collection, and a source has parts of one depth: give "
            f"each array a name of its own, such as '{name}.{next(iter(part), 'a')}'"
        )
    if not isinstance(part, (np.ndarray, Tensor, list, tuple)) and is_framed(part):
        table = as_table(part)
        assert table is not None
        if Reading.of(kind).kind in (None, "vector"):
            return TableSource(table)  # by the names of its columns, not by their places
        return ArraySource(plain(table), kind, name=name)
    if isinstance(part, Rows) and not isinstance(part, (np.ndarray, Tensor)):
        return RowsSource(part, kind)
    if isinstance(part, (list, tuple)) and is_ragged(part):
        return RaggedSource(part, kind, name=name)
    return ArraySource(_array(part), kind, name=name)


def _array(part: Any) -> Array:
    return part if isinstance(part, (np.ndarray, Tensor)) else np.asarray(part)


def _plain(rows: Array) -> Array:
    """Without gradients, masks and sparse layouts."""
    if isinstance(rows, Tensor):
        if rows.layout != torch.strided:
            raise IsthmusError("the data are a sparse tensor: pass X.to_dense()")
        return rows.detach()
    if isinstance(rows, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(rows), np.nan, rows.data)
    return rows


def _stored(rows: Array) -> tuple[Tensor | None, np.ndarray]:
    """The rows as a tensor that shares their memory, or else (None, array)."""
    nothing = np.empty(0)
    if isinstance(rows, Tensor):
        return rows, nothing
    if _is_mapped(rows) or rows.dtype.name in _NUMPY_ONLY or not rows.dtype.isnative:
        return None, rows
    if not rows.flags.writeable or any(stride < 0 for stride in rows.strides):
        rows = rows.copy()
    if rows.dtype.itemsize > 8:
        rows = rows.astype(np.float64)  # extended precision is unknown to torch
    return torch.from_numpy(np.asarray(rows)), nothing


def _is_mapped(rows: np.ndarray) -> bool:
    """Whether the memory is a file's, so that a copy would read all of it."""
    base: Any = rows
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False
