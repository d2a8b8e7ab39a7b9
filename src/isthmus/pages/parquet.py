"""Parquet files of a features folder as NumPy columns, checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError, MissingExtra


@dataclass(frozen=True)
class Lists:
    """Lists of one column behind one another: list ``i`` is ``flat[start[i]:start[i + 1]]``.

    Strings are numbers in ``words``, which then is not empty.
    """

    flat: np.ndarray
    start: np.ndarray
    words: list[str]

    def __getitem__(self, i: int) -> np.ndarray:
        return self.flat[self.start[i] : self.start[i + 1]]

    def __len__(self) -> int:
        return len(self.start) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.start)

    def taken(self, index: np.ndarray) -> "Lists":
        """The lists of these numbers, in that order."""
        lengths = self.lengths[index]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(start[-1]) + np.repeat(self.start[index] - start[:-1], lengths)
        return Lists(self.flat[places], start, self.words)


def read(path: Path, numbers: Mapping[str, str], lists: Mapping[str, str]) -> dict[str, Any]:
    """Columns of a Parquet file: ``numbers`` as arrays, ``lists`` as :class:`Lists`.

    Both map names to NumPy dtypes, or to "string" for text: a column of it comes as a Python
    list with None where there is none. Missing numbers are NaN, or -1 where the dtype is an
    integer. A missing or damaged file, or one without one of the columns, is an
    :class:`IsthmusError`.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtra("pyarrow", "tables", "reading features") from None
    wanted = [*numbers, *lists]
    try:
        table = pq.read_table(path, columns=wanted)
    except FileNotFoundError:
        raise IsthmusError(f"{path} is missing: make the features again") from None
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise IsthmusError(f"{path} is damaged: make the features again") from problem
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise IsthmusError(f"{path} has no column {missing[0]!r}: make the features again")
    found: dict[str, Any] = {}
    for name, dtype in numbers.items():
        found[name] = _plain(table.column(name).combine_chunks(), dtype)
    for name, dtype in lists.items():
        found[name] = _lists(table.column(name).combine_chunks(), dtype)
    return found


def _plain(column: Any, dtype: str) -> Any:
    if dtype == "string":
        return column.to_pylist()
    import pyarrow.compute as pc

    filled = column if dtype.startswith("float") else pc.fill_null(column, -1)
    return filled.to_numpy(zero_copy_only=False).astype(dtype)


def _lists(column: Any, dtype: str) -> Lists:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = column.flatten()
    if dtype != "string":
        return Lists(flat.to_numpy(zero_copy_only=False).astype(dtype), start, [])
    if not pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_encode()
    flat = flat.combine_chunks() if hasattr(flat, "combine_chunks") else flat
    index = pc.fill_null(flat.indices, 0).to_numpy(zero_copy_only=False).astype(np.int32)
    return Lists(index, start, [str(word) for word in flat.dictionary.to_pylist()])
