"""How the file of a data set is read, as a manifest says it: ``"read": {"as": ..., ...}``."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from isthmus import tables
from isthmus.data.files import MEMBERS, npz_member, opened_npz
from isthmus.errors import IsthmusError, unknown
from isthmus.tables.files import values_of
from isthmus.tables.source import plain

Parts = tuple[Any, Any, np.ndarray | None, np.ndarray | None]
"""Training and test rows, and their labels."""

THEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda rows: rows,
    "bytes": lambda rows: rows * np.uint8(255),
    "channels last": lambda rows: rows.transpose(0, 2, 1),
    "pixels": lambda rows: rows.reshape(-1, rows.shape[-1]),
}
"""What may be done to rows once they are read: 0 and 1 to 0 and 255, ``(rows, channels, steps)`` to
``(rows, steps, channels)``, an image of many bands to one row for each pixel."""


@dataclass(frozen=True)
class Arrays:
    """Members of an ``.npz`` archive; ``then`` is one of :data:`THEN`."""

    train: str
    test: str = ""
    labels: str = ""
    test_labels: str = ""
    then: str = ""

    def __post_init__(self) -> None:
        if self.then not in THEN:
            raise ValueError(f"then={self.then!r} is none of {', '.join(map(repr, THEN))}")

    def parts(self, path: Path, name: str, channel: str | None) -> Parts:
        """Rows and labels as they stand in the archive."""
        with opened_npz(path) as archive:
            train, test, labels, test_labels = (
                npz_member(path, archive, member) if member else None
                for member in (self.train, self.test, self.labels, self.test_labels)
            )
        assert train is not None
        then = THEN[self.then]
        return then(train), None if test is None else then(test), labels, test_labels


@dataclass(frozen=True)
class Counts:
    """A sparse matrix as the members of an ``.npz`` that hold the parts of its CSR form."""

    data: str
    indices: str
    indptr: str
    shape: str
    labels: str = ""

    def parts(self, path: Path, name: str, channel: str | None) -> Parts:
        """The whole matrix, ``(rows, columns)`` in the type of its entries."""
        with opened_npz(path) as archive:
            data, indices, indptr, shape = (
                npz_member(path, archive, member)
                for member in (self.data, self.indices, self.indptr, self.shape)
            )
            labels = npz_member(path, archive, self.labels) if self.labels else None
        from scipy.sparse import csr_array

        matrix = csr_array((data, indices.astype(np.int32), indptr), shape=tuple(shape))
        return matrix.toarray(), None, labels, None


@dataclass(frozen=True)
class Channels:
    """Channels, one of which is chosen: members ``CHANNEL.train`` and so on of an ``.npz``.

    Training rows have the label 0.
    """

    names: str
    train: str
    test: str
    test_labels: str

    def parts(self, path: Path, name: str, channel: str | None) -> Parts:
        """The rows of one channel; without one an error that lists some."""
        with opened_npz(path) as archive:
            channels = [str(c) for c in npz_member(path, archive, self.names)]
            if channel is None:
                raise IsthmusError(
                    f"{name!r} consists of channels ({', '.join(channels[:5])}, ...): choose one, "
                    f"as in '{name}:{channels[0]}'"
                )
            if channel not in channels:
                raise unknown(f"channel of {name!r}", channel, channels)
            train, test, labels = (
                npz_member(path, archive, f"{channel}.{part}")
                for part in (self.train, self.test, self.test_labels)
            )
        return train, test, np.zeros(len(train), labels.dtype), labels


@dataclass(frozen=True)
class Columns:
    """A table, read as every table is (:mod:`isthmus.tables`).

    ``target`` is the column of labels, ``drop`` are those that are neither label nor feature, and
    the rows whose column ``split`` says "test" are the test part. ``rows`` is "table" for a data
    frame, as text and gaps need it, or "array" for float32 rows of a table of numbers.
    """

    target: str = ""
    drop: tuple[str, ...] = ()
    split: str = ""
    rows: Literal["table", "array"] = "table"

    def __post_init__(self) -> None:
        if self.rows not in ("table", "array"):
            raise ValueError(f"rows={self.rows!r} is neither 'table' nor 'array'")

    def parts(self, path: Path, name: str, channel: str | None) -> Parts:
        """Frames or arrays; numbers as labels are float32, words their rank."""
        special = [column for column in (self.target, self.split) if column]
        whole = tables.read(path, whole=special)
        features = whole.without([*special, *self.drop])
        rows = _frame(features) if self.rows == "table" else plain(features)
        labels = _labels(values_of(whole[self.target])) if self.target else None
        if not self.split:
            return rows, None, labels, None
        test = values_of(whole[self.split]) == "test"
        train_labels, test_labels = (
            None if labels is None else labels[part] for part in (~test, test)
        )
        return rows[~test], rows[test], train_labels, test_labels


@dataclass(frozen=True)
class Other:
    """No plain rows: ``holds`` says in words what it is."""

    holds: str = "several arrays"

    def parts(self, path: Path, name: str, channel: str | None) -> Parts:
        """An error that says so."""
        raise IsthmusError(
            f"{name!r} holds {self.holds}, not plain numeric rows: make an array of it first, from "
            f"{str(path)!r}"
        )


Layout = Arrays | Counts | Channels | Columns | Other
LAYOUTS: dict[str, type] = {
    "arrays": Arrays, "channels": Channels, "counts": Counts, "other": Other, "table": Columns,
}  # fmt: skip
"""What ``"as"`` may say; the other keys are the fields of that class."""


def layout_of(read: Mapping[str, Any]) -> Layout:
    """The layout that a manifest states; ValueError for what is none."""
    kind = LAYOUTS.get(read.get("as", ""))
    values = {key: value for key, value in read.items() if key != "as"}
    if kind is None or set(values) - {field.name for field in fields(kind)}:
        raise ValueError(f"{dict(read)} is no way of reading a file")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def found_layout(path: Path) -> Layout:
    """How a file is read of which no manifest says it: by its ending and its members."""
    if tables.is_table(path):
        return Columns()
    if path.suffix != ".npz":
        return Other("text" if path.suffix == ".txt" else f"a file of the type {path.suffix!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(name).stem for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        members = set()
    for rows in MEMBERS:
        if rows in members:
            kin = {"x_train": ("x_test", "y_train", "y_test")}.get(rows, ("", "y", ""))
            return Arrays(rows, *(name if name in members else "" for name in kin))
    return Other()


def _frame(table: tables.Table) -> Any:
    import pandas as pd

    return pd.DataFrame({name: values_of(column) for name, column in table.columns.items()})


def _labels(values: np.ndarray) -> np.ndarray:
    """Numbers as they are, words as their rank."""
    try:
        return values.astype(np.float32)
    except (TypeError, ValueError):
        return np.unique(values.astype(str), return_inverse=True)[1].astype(np.int64)
