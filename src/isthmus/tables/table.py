"""A table: named columns, each of one type, with what is missing."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from isthmus.errors import IsthmusError, unknown
from isthmus.tables.cells import USUAL, Marks

ColumnKind = Literal["number", "integer", "boolean", "time", "duration", "text", "free"]
Level = str | int | float | bool


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    ``values`` ``(rows,)`` are float64 or float32 (missing: NaN) for a "number", int64 for an
    "integer", bool for a "boolean", datetime64 or timedelta64 (missing: NaT) for a "time" or a
    "duration", and int32 numbers of ``levels`` (missing: -1) for "text". Text with more different
    values than are kept is "free": its ``values`` are empty. ``missing`` is a mask of an integer's
    or boolean's gaps.

    ``stray`` is the sentence to be said where the column is to be read as numbers and is not
    quite. ``raw`` is the type that the column had in a frame, ``zone`` a time's time zone and
    ``style`` how times were written where that is no standard form. ``marks`` are those with which
    numbers were written in a file, where they were read cell by cell; ``zeros`` says that whole
    numbers were written with leading zeros, as identifiers are.
    """

    kind: ColumnKind
    values: np.ndarray
    missing: np.ndarray | None = None
    levels: Sequence[Level] = ()
    stray: str = ""
    raw: str = ""
    zone: str = ""
    style: str = ""
    marks: Marks = USUAL
    zeros: bool = False

    def gaps(self) -> np.ndarray:
        """Which entries are missing, bool ``(rows,)``."""
        if self.kind == "number":
            return np.isnan(self.values)
        if self.kind in ("time", "duration"):
            return np.isnat(self.values)
        if self.kind == "text":
            return self.values < 0
        if self.missing is None:
            return np.zeros(len(self.values), bool)
        return self.missing

    def take(self, index: Any) -> "Column":
        """The same column of some rows, by numbers, a mask or a slice."""
        if self.kind == "free":
            return self
        missing = None if self.missing is None else self.missing[index]
        return replace(self, values=self.values[index], missing=missing)

    @property
    def is_number(self) -> bool:
        """Whether the entries are numbers or truth values as they stand."""
        return self.kind in ("number", "integer", "boolean")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there in any row."""
        return self.kind != "free" and bool(self.gaps().all())

    def doubles(self) -> np.ndarray:
        """Numbers and truth values as float64, missing ones as NaN."""
        values = self.values.astype(np.float64)
        if self.missing is not None:
            values[self.missing] = np.nan
        return values

    def objects(self) -> np.ndarray:
        """The entries as Python values, missing ones as None, ``(rows,)``."""
        objects = np.empty(len(self.values), object)
        if self.kind == "text":
            levels = np.array([*self.levels, None], object)
            return levels[self.values]
        if self.kind in ("time", "duration"):
            letter = self.values.dtype.kind
            fine = np.datetime_data(self.values.dtype)[0] in ("ns", "ps", "fs", "as")
            # Python has no times so fine, and NumPy would give them as whole numbers.
            objects[:] = self.values.astype(f"{letter}8[us]") if fine else self.values
        else:
            objects[:] = self.values.tolist()
        objects[self.gaps()] = None
        return objects


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, in their order; ``rows`` of each.

    ``where`` names the table in sentences ("'new.csv'", "the data frame"). ``named`` is False
    where the names are mere numbers that stand for places. ``index`` is what a frame calls its
    rows, ``like`` the kind of frame that it was ("pandas", "polars", "arrow", or "" for a file).
    ``labels`` are what a frame calls its columns, by their names, where these are no strings.
    ``reread`` reads a column again as text, where it can be.
    """

    columns: dict[str, Column]
    rows: int
    where: str = "the table"
    named: bool = True
    index: Any = None
    like: str = ""
    file: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)
    reread: Callable[[str], Column] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.rows

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return list(self.columns)

    def __getitem__(self, name: str) -> Column:
        if name not in self.columns:
            raise unknown(f"column of {self.where}", name, self.columns)
        return self.columns[name]

    def take(self, index: Any) -> "Table":
        """Some rows, by numbers, a mask or a slice."""
        columns = {name: column.take(index) for name, column in self.columns.items()}
        rows = len(np.arange(self.rows)[index])
        row_names = None if self.index is None else self.index[index]
        return replace(self, columns=columns, rows=rows, index=row_names)

    def only(self, names: Iterable[str]) -> "Table":
        """These columns, in this order."""
        return replace(self, columns={name: self[name] for name in names})

    def without(self, names: Iterable[str]) -> "Table":
        """All columns but these."""
        left_out = set(names)
        return self.only(name for name in self.columns if name not in left_out)

    def as_text(self, name: str) -> Column:
        """A column as text, whatever its type."""
        column = self[name]
        if column.kind in ("text", "free") and not column.stray:
            return column
        if self.reread is not None:
            return self.reread(name)
        return as_text(column)

    def fingerprint(self) -> str:
        """A hash of names and entries."""
        digest = hashlib.sha256(str(self.rows).encode())
        for name, column in self.columns.items():
            digest.update(f"{name}\0{column.kind}\0{list(column.levels)}".encode())
            digest.update(column.values.tobytes())
            digest.update(b"" if column.missing is None else column.missing.tobytes())
        return digest.hexdigest()


def as_text(column: Column) -> Column:
    """Numbers, truth values and times written out as levels."""
    if column.kind in ("text", "free"):
        return replace(column, stray="")
    gaps = column.gaps()
    distinct, codes = np.unique(column.values[~gaps], return_inverse=True)
    numbers = np.full(len(column.values), -1, np.int32)
    numbers[~gaps] = codes
    return Column("text", numbers, levels=[_written(value) for value in distinct.tolist()])


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def check_names(names: Sequence[str], where: str) -> None:
    """An error for columns of one name."""
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        listing = ", ".join(map(repr, twice[:8])) + (", ..." if len(twice) > 8 else "")
        raise IsthmusError(
            f"{where} has several columns called {listing}: give each column a name of its own"
        )
