"""Tables in files: CSV by pandas in parts, Parquet by pyarrow."""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import notices
from isthmus.errors import IsthmusError, unknown
from isthmus.tables import cells, parquet
from isthmus.tables.cells import USUAL
from isthmus.tables.compression import DAMAGE, damaged, endings
from isthmus.tables.dialect import Dialect, sniffed
from isthmus.tables.heading import BLANKS
from isthmus.tables.marks import in_words
from isthmus.tables.row_count import reader_of, surveyed
from isthmus.tables.table import Column, Table
from isthmus.tables.text_columns import Gathering

PART_CELLS = 1 << 19
"""Cells that are read at once."""
_EXACT = float(1 << 53)


def read(
    path: str | Path, choice: str | None = None, *, only: Sequence[str] | None = None,
    whole: Collection[str] = (),
) -> Table:  # fmt: skip
    """The table in a file.

    ``choice`` is "a,b" for these columns, "-a,b" for all but these; ``only`` names them. Columns
    are numbers, integers, truth values, times or text; of free text (see :class:`Column`) nothing
    is kept but of the columns in ``whole``. A header line is recognised; without one the columns
    are called "0", "1", ... Rows of different lengths, columns of one name and damaged files are
    an :class:`IsthmusError`; what was guessed is said.
    """
    path = Path(path)
    if endings(path)[0] == ".parquet":
        return parquet.read(path, lambda names: only or chosen(path, names, choice), whole)
    dialect, rows, zeros = _known(path)
    names = [n for i, n in enumerate(dialect.names) if i not in dialect.left_out]
    keep = [*only] if only is not None else chosen(path, names, choice)
    places = {name: dialect.names.index(name) for name in keep}
    columns = _columns(path, dialect, rows, places, whole)
    for name, place in places.items():
        if place in zeros and _is_whole(columns[name]):
            columns[name] = replace(columns[name], zeros=True)
    _say_marks(path, dialect, columns)

    def reread(name: str) -> Column:
        return _texts(path, dialect, rows, {name: dialect.names.index(name)}, (), plain=True)[name]

    return Table(
        {name: columns[name] for name in keep}, rows, repr(path.name), dialect.named,
        file=path.name, reread=reread,
    )  # fmt: skip


def header(path: Path) -> list[str]:
    """The names of a table's columns, as :func:`read` has them."""
    if endings(path)[0] == ".parquet":
        return parquet.header(path)
    with notices.collected(quiet=True):
        dialect = sniffed(path)
    return [n for i, n in enumerate(dialect.names) if i not in dialect.left_out]


def text(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the cells of a small file as text, as they stand."""
    with notices.collected(quiet=True):
        dialect, _, _ = _known(path)
    with dialect.rows(path) as stream:
        lines = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
        rows = [row for row in reader_of(lines, dialect) if row]
        lines.detach()
    return list(dialect.names), rows


def chosen(path: Path, names: Sequence[str], choice: str | None) -> list[str]:
    """The chosen columns, in the order chosen."""
    if choice is None:
        return [*names]
    choices = _named(choice.removeprefix("-"), names)
    for name in choices:
        if name not in names:
            raise unknown(f"column of {path.name!r}", name, names)
    if not choice.startswith("-"):
        return choices
    others = [name for name in names if name not in choices]
    if not others:
        raise IsthmusError(f"'{path.name}:{choice}' leaves no columns: keep at least one")
    return others


def _named(choice: str, names: Sequence[str]) -> list[str]:
    """The names in a choice; one that has a comma itself may stand in quotes, or alone."""
    if choice in names:
        return [choice]
    listed = next(csv.reader([choice], skipinitialspace=True), [])
    return [name.strip() for name in listed]


def _is_whole(column: Column) -> bool:
    """Whether a column holds whole numbers alone, beside gaps."""
    if column.kind != "number":
        return column.kind == "integer"
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.isnan(column.values) | (column.values % 1 == 0)))


def _say_marks(path: Path, dialect: Dialect, columns: dict[str, Column]) -> None:
    """Say which columns have numbers that are written in another way than the others."""
    notes = []
    for name, column in columns.items():
        how = in_words(column.marks, dialect.marks) if column.is_number else ""
        if how and column.marks != USUAL:
            notes.append(f"{name!r} ({how})")
    if notes:
        few = ", ".join(notes[:5]) + (f" and {len(notes) - 5} more" if len(notes) > 5 else "")
        notices.say(
            f"numbers of {path.name!r} are read with what is written around them: {few}; write "
            "plain numbers if that is wrong"
        )


def _known(path: Path) -> tuple[Dialect, int, frozenset[int]]:
    """The dialect, the number of rows and the columns with leading zeros; where the beginning
    misled, with its letters mended."""
    dialect = sniffed(path)
    try:
        return dialect, *surveyed(path, dialect)
    except UnicodeDecodeError:
        pass
    for encoding in ("cp1252", "latin-1"):
        try:
            dialect = replace(dialect, letters=encoding)
            rows, zeros = surveyed(path, dialect)
        except UnicodeDecodeError:
            continue
        notices.say(
            f"{path.name!r} is no UTF-8 and is read with letters as in Western Europe: write it "
            "as UTF-8 if that is wrong"
        )
        return dialect, rows, zeros
    raise damaged(path)


def _parts(
    path: Path, dialect: Dialect, rows: int, places: Collection[int], **how: Any
) -> Iterator[Any]:
    """The file as frames of consecutive rows, their columns called by their places."""
    import pandas as pd

    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
        how["float_precision"] = "round_trip"  # as is the rule since
    at_once = max(64, PART_CELLS // dialect.width)
    try:
        with (
            dialect.rows(path) as stream,
            pd.read_csv(
                stream, sep=r"\s+" if dialect.separator == BLANKS else dialect.separator,
                header=None,
                names=range(dialect.width), usecols=sorted(places), index_col=False,
                encoding=dialect.encoding, decimal=dialect.marks.decimal, engine="c",
                low_memory=False, skipinitialspace=True,
                chunksize=min(at_once, rows), **how,
            ) as parts,
        ):  # fmt: skip
            yield from parts
    except (*DAMAGE, pd.errors.ParserError, UnicodeDecodeError) as error:
        if isinstance(error, IsthmusError):
            raise
        raise damaged(path) from error


def _columns(
    path: Path, dialect: Dialect, rows: int, places: dict[str, int], whole: Collection[str]
) -> dict[str, Column]:
    """All columns: numbers in one walk, the others in a second one."""
    typed: dict[str, np.ndarray] = {}
    texts = {name: place for name, place in places.items() if name in whole}
    start = 0
    if len(texts) < len(places):
        numeric = [place for name, place in places.items() if name not in texts]
        marks = {"na_values": cells.marks_of_missing(), "keep_default_na": False}
        for part in _parts(path, dialect, rows, numeric, **marks):
            for name, place in places.items():
                if name not in texts and not _put(typed, name, part[place], start, rows):
                    texts[name] = place
                    typed.pop(name, None)
            start += len(part)
    for name, values in [*typed.items()]:
        if values.dtype.kind == "f" and float(np.nanmax(np.abs(values), initial=0.0)) >= _EXACT:
            texts[name] = places[name]  # integers with gaps that doubles do not hold
            del typed[name]
    kinds = {"i": "integer", "b": "boolean", "f": "number"}
    columns = {n: Column(kinds[v.dtype.kind], v) for n, v in typed.items()}  # type: ignore[arg-type]
    return {**columns, **_texts(path, dialect, rows, texts, whole)}


def _put(into: dict[str, np.ndarray], name: str, part: Any, start: int, rows: int) -> bool:
    """Put a part of a column in its place; False where it has to be read as text."""
    values = part.to_numpy()
    kind = values.dtype.kind
    if kind not in "ifb":
        return False
    column = into.get(name)
    if column is None:
        column = into[name] = np.empty(rows, {"i": np.int64, "f": np.float64, "b": bool}[kind])
    if column.dtype.kind != kind:
        if "b" in (column.dtype.kind, kind):
            return False
        for integers in (column[:start],) if kind == "f" else (values,):
            if integers.dtype.kind == "i" and len(integers) and np.abs(integers).max() >= _EXACT:
                return False
        if kind == "f":
            column = into[name] = column.astype(np.float64)
    column[start : start + len(values)] = values
    return True


def _texts(
    path: Path, dialect: Dialect, rows: int, places: dict[str, int], whole: Collection[str], *,
    plain: bool = False,
) -> dict[str, Column]:  # fmt: skip
    """Columns that hold more than numbers."""
    if not places:
        return {}
    gathering = {
        name: Gathering(name, rows, dialect.marks, repr(path.name), plain=plain or name in whole,
                        whole=name in whole, shown=dialect.shown)
        for name in places
    }  # fmt: skip
    reading = {"dtype": str, "keep_default_na": False, "na_filter": False}
    for part in _parts(path, dialect, rows, list(places.values()), **reading):
        for name, place in places.items():
            gathering[name].add(part[place].to_numpy(object))
    return {name: one.column() for name, one in gathering.items()}


def columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a table by name, whatever their number of different values, ``(rows,)`` each.

    Numbers as numbers, text and times as Python values.
    """
    table = read(path, only=names, whole=names)
    return {name: values_of(table[name]) for name in names}


def values_of(column: Column) -> np.ndarray:
    """A column as an array: numbers where it holds them, else Python values."""
    if column.kind in ("integer", "boolean") and column.missing is None:
        return column.values
    if column.is_number:
        return column.doubles()
    return column.objects()
