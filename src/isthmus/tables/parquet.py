"""Parquet files, column by column."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables.arrow import ROW_NAMES, column_of, is_vectors, pyarrow, vectors
from isthmus.tables.table import Table, check_names

PURPOSE = "reading Parquet files"


def read(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]], whole: Collection[str] = ()
) -> Table:
    """The chosen columns of a file."""
    pa = pyarrow(PURPOSE)
    import pyarrow.parquet as pq

    where = repr(path.name)
    try:
        with pq.ParquetFile(path) as file:
            names = _names(file, path, say=True)
            if not names or file.metadata.num_rows == 0:
                raise IsthmusError(f"{str(path)!r} is empty: pass a table with at least one row")
            keep = choose(names)
            columns = {
                name: column_of(file.read(columns=[name]).column(0), name, where,
                                whole=name in whole)
                for name in keep
            }  # fmt: skip
            return Table(columns, file.metadata.num_rows, where, file=path.name)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path) from error


def matrix(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> np.ndarray | None:
    """The rows of a file whose one chosen column holds lists of equal length; None for others."""
    pa = pyarrow(PURPOSE)
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            keep = choose(_names(file, path))
            if len(keep) != 1 or not is_vectors(file.schema_arrow.field(keep[0]).type):
                return None
            return vectors(file.read(columns=[*keep]).column(0), keep[0], repr(str(path)))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path) from error


def header(path: Path) -> list[str]:
    """The names of the columns."""
    pa = pyarrow(PURPOSE)
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return _names(file, path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path) from error


def _names(file: Any, path: Path, *, say: bool = False) -> list[str]:
    names = [str(name) for name in file.schema_arrow.names]
    columns = [name for name in names if not name.startswith(ROW_NAMES)]
    check_names(columns, repr(path.name))
    if say and len(columns) < len(names):
        notices.say(
            f"{path.name!r} keeps the rows' names in a column of its own, which is left out: "
            "reset_index() before writing keeps it"
        )
    return columns


def _damaged(path: Path) -> IsthmusError:
    return IsthmusError(f"{str(path)!r} is damaged or incomplete: get it again")
