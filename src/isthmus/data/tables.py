"""Tables: CSV with the standard library and NumPy alone, Parquet with pyarrow."""

import bz2
import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from isthmus.errors import IsthmusError, MissingExtra, unknown

SUFFIXES = (".csv", ".tsv", ".parquet")
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_WORDS = {"true": 1.0, "false": 0.0}
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, csv.Error)


def is_table(path: Path) -> bool:
    """Whether the file's ending says that it is a table."""
    return _endings(path)[0] in SUFFIXES


def read(path: Path, choice: str | None = None) -> tuple[np.ndarray, list[str]]:
    """The numeric values of a table, float32 ``(rows, columns)``, and the columns' names.

    ``choice`` is "a,b" for these columns, "-a,b" for all but these. A header line is recognised;
    without one the columns are called "0", "1", ... An unnamed first column, in which tools keep
    the row numbers, is left out. Missing values become NaN. A column of text is an
    :class:`IsthmusError`.
    """
    ending, packing = _endings(path)
    if ending == ".parquet":
        return _parquet(path, choice)
    try:
        return _csv(path, ending, packing, choice)
    except _DAMAGE as error:
        raise _damaged(path) from error


def text(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the cells of a CSV file as text.

    A header line is recognised; without one the columns are called "0", "1", ... A damaged or empty
    file is an :class:`IsthmusError`.
    """
    ending, packing = _endings(path)
    try:
        with _opened(path, packing) as lines:
            first_line = lines.readline()
        with _opened(path, packing) as lines:
            reader = csv.reader(lines, delimiter=_delimiter(ending, first_line))
            rows = [row for row in reader if row]
    except _DAMAGE as error:
        raise _damaged(path) from error
    if not rows:
        raise IsthmusError(f"{str(path)!r} is empty: pass a table with at least one row")
    if _is_header(rows[:2]):
        return [cell.strip() for cell in rows[0]], rows[1:]
    return [str(i) for i in range(len(rows[0]))], rows


def header(path: Path) -> list[str]:
    """The names of a table's columns, as :func:`read` has them."""
    ending, packing = _endings(path)
    if ending == ".parquet":
        return _parquet_columns(path, ())[0]
    try:
        with _opened(path, packing) as lines:
            first_line = lines.readline()
        with _opened(path, packing) as lines:
            reader = csv.reader(lines, delimiter=_delimiter(ending, first_line))
            first = list(islice((row for row in reader if row), 2))
    except _DAMAGE as error:
        raise _damaged(path) from error
    if not first:
        raise IsthmusError(f"{str(path)!r} is empty: pass a table with at least one row")
    if _is_header(first):
        return [cell.strip() for cell in first[0]]
    return [str(i) for i in range(len(first[0]))]


def columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a table by name, numbers or text, ``(rows,)`` each."""
    if _endings(path)[0] == ".parquet":
        return _parquet_columns(path, names)[1]
    head, cells = text(path)
    found = {}
    for name in names:
        place = head.index(name)
        short = next((i for i, row in enumerate(cells) if len(row) <= place), None)
        if short is not None:
            raise IsthmusError(
                f"row {short + 1} of {str(path)!r} has {len(cells[short])} cells instead of "
                f"{len(head)}: correct or remove it"
            )
        found[name] = np.array([row[place].strip() for row in cells])
    return found


def not_numeric(name: str, columns: Sequence[str]) -> IsthmusError:
    """The error for columns of text, with the way to leave them out."""
    said = ", ".join(map(repr, columns[:8])) + (", ..." if len(columns) > 8 else "")
    return IsthmusError(
        f"{name} has columns that are not numeric ({said}): encode them as numbers, or leave them "
        "out" + (f" with '{name}:-{','.join(columns)}'" if len(columns) <= 8 else "")
    )


def _endings(path: Path) -> tuple[str, str]:
    """``(".csv", ".gz")`` for "a.csv.gz"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (*_OPENERS, ".zst"):
        return (suffixes[-2] if len(suffixes) > 1 else "", suffixes[-1])
    return (suffixes[-1] if suffixes else "", "")


@contextmanager
def _opened(path: Path, packing: str) -> Iterator[IO[str]]:
    if packing == ".zst":
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtra("pyarrow", "tables", "reading .zst files") from error
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        return
    with _OPENERS.get(packing, open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
        yield cast(IO[str], lines)


def _delimiter(ending: str, first_line: str) -> str:
    return "\t" if ending == ".tsv" else ";" if "," not in first_line else ","


def _damaged(path: Path) -> IsthmusError:
    return IsthmusError(f"{str(path)!r} is damaged or not a text table in UTF-8: get it again")


def _csv(path: Path, ending: str, packing: str, choice: str | None) -> tuple[np.ndarray, list[str]]:
    with _opened(path, packing) as lines:
        first_line = lines.readline()
    delimiter = _delimiter(ending, first_line)
    with _opened(path, packing) as lines:
        first = list(islice((row for row in csv.reader(lines, delimiter=delimiter) if row), 2))
    if not first:
        raise IsthmusError(f"{str(path)!r} is empty: pass a table with at least one row")
    headed = _is_header(first)
    header = (
        [cell.strip() for cell in first[0]] if headed else [str(i) for i in range(len(first[0]))]
    )
    keep = _columns(path, header, choice)
    names = [header[i] for i in keep]
    if len(first) == 1 and headed:
        raise IsthmusError(f"{str(path)!r} has a header but no rows: pass at least one row")
    with _opened(path, packing) as lines:
        if headed:
            next(row for row in csv.reader(lines, delimiter=delimiter) if row)
        try:
            # Text, missing values and ragged rows are left to the slow reader, which names them.
            values = np.loadtxt(
                lines, np.float32, comments=None, delimiter=delimiter, quotechar='"', ndmin=2
            )
            if values.shape[1] == len(header):
                return values[:, keep], names
        except ValueError:
            pass
    with _opened(path, packing) as lines:
        return _cells(path, csv.reader(lines, delimiter=delimiter), headed, header, keep), names


def _cells(path: Path, reader: Any, headed: bool, header: list[str], keep: list[int]) -> np.ndarray:
    """The values cell by cell, missing ones as NaN."""
    rows: list[np.ndarray] = []
    texts: set[int] = set()
    for cells in reader:
        if not cells:
            continue
        if headed:
            headed = False
            continue
        if len(cells) != len(header):
            raise IsthmusError(
                f"line {reader.line_num} of {str(path)!r} has {len(cells)} cells instead of "
                f"{len(header)}: correct or remove it"
            )
        row = np.empty(len(keep), np.float32)
        for at, column in enumerate(keep):
            value = number(cells[column])
            if value is None:
                texts.add(column)
            else:
                with np.errstate(over="ignore"):
                    row[at] = value
        rows.append(row)
    if texts:
        raise not_numeric(path.name, [header[i] for i in sorted(texts)])
    return np.stack(rows)


def _is_header(first: list[list[str]]) -> bool:
    """Whether the first line names the columns: text stands above a number, or is all there is."""
    is_text = [[number(cell) is None for cell in row] for row in first]
    if len(first) == 2 and len(first[0]) == len(first[1]):
        above = any(top and not below for top, below in zip(*is_text, strict=True))
        return above or all(is_text[0])
    return all(is_text[0])


def number(cell: str) -> float | None:
    """The number in a cell, NaN for a missing value, None for text."""
    cell = cell.strip()
    try:
        return float(cell)
    except ValueError:
        if cell.lower() in _MISSING:
            return float("nan")
        return _WORDS.get(cell.lower())


def _columns(path: Path, header: list[str], choice: str | None) -> list[int]:
    """The numbers of the chosen columns, in the order chosen."""
    everything = list(range(1 if header[0] == "" and len(header) > 1 else 0, len(header)))
    if choice is None:
        return everything
    without = choice.startswith("-")
    named = [name.strip() for name in choice.removeprefix("-").split(",")]
    for name in named:
        if name not in header:
            raise unknown(f"column of {path.name!r}", name, header)
    if not without:
        return [header.index(name) for name in named]
    kept = [i for i in everything if header[i] not in named]
    if not kept:
        raise IsthmusError(f"'{path.name}:{choice}' leaves no columns: keep at least one")
    return kept


def _parquet(path: Path, choice: str | None) -> tuple[np.ndarray, list[str]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables", "reading Parquet files") from error
    try:
        with pq.ParquetFile(path) as file:
            header = list(file.schema_arrow.names)
            names = [header[i] for i in _columns(path, header, choice)] if header else []
            table = file.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        raise IsthmusError(f"{str(path)!r} is damaged or incomplete: get it again") from error
    if table.num_rows == 0 or not names:
        raise IsthmusError(f"{str(path)!r} is empty: pass a table with at least one row")
    if len(names) == 1 and _is_list(pa, table.schema.field(0).type):
        return _vectors(path, names[0], pa, table.column(0)), names
    texts = [field.name for field in table.schema if not _is_number(pa, field.type)]
    if texts:
        raise not_numeric(path.name, texts)
    values = np.empty((table.num_rows, len(names)), np.float32)
    for i, name in enumerate(names):
        values[:, i] = table.column(name).cast(pa.float64()).to_numpy()
    return values, names


def _parquet_columns(path: Path, names: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """The header of a Parquet file, and some of its columns as they are."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables", "reading Parquet files") from error
    try:
        with pq.ParquetFile(path) as file:
            held = file.read(columns=list(names))
            columns = {name: np.asarray(held.column(name).to_pylist()) for name in names}
            return list(file.schema_arrow.names), columns
    except (pa.ArrowException, OSError) as error:
        raise IsthmusError(f"{str(path)!r} is damaged or incomplete: get it again") from error


def _vectors(path: Path, name: str, pa: Any, column: Any) -> np.ndarray:
    """A column of equally long lists (embeddings) as a matrix."""
    lists = column.combine_chunks()
    flat = lists.flatten()
    if not _is_number(pa, flat.type):
        raise not_numeric(path.name, [name])
    if lists.null_count or len({len(row) for row in lists}) > 1:
        raise IsthmusError(f"the lists in {str(path)!r} differ in length: make them equally long")
    return np.asarray(flat.cast(pa.float32()).to_numpy(zero_copy_only=False)).reshape(
        len(lists), -1
    )


def _is_list(pa: Any, kind: Any) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_number(pa: Any, kind: Any) -> bool:
    types = pa.types
    return (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
    )
