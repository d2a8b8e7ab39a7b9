"""A first walk over a file of text: how many rows, and whether all are equally long."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.tables.compression import DAMAGE, damaged
from isthmus.tables.dialect import Dialect
from isthmus.tables.heading import BLANKS
from isthmus.tables.long_cells import long_cells

BLOCK = 1 << 20
"""Bytes that are looked at at once; counting takes some twenty times as many."""


def surveyed(path: Path, dialect: Dialect) -> tuple[int, frozenset[int]]:
    """The number of rows, and the places of columns that hold digits with leading zeros.

    A row of another number of cells is an :class:`IsthmusError` that names its line. Bytes that
    are no text in the dialect's encoding raise UnicodeDecodeError.
    """
    try:
        survey = None
        if dialect.encoding in _ASCII and dialect.separator != BLANKS:
            with dialect.rows(path) as stream:
                survey = _by_bytes(path, stream, dialect)
        if survey is None:  # quotes, or other encodings
            with dialect.rows(path) as stream, long_cells():
                survey = _by_cells(path, stream, dialect)
    except UnicodeDecodeError:
        raise
    except DAMAGE as error:
        if isinstance(error, IsthmusError):
            raise
        raise damaged(path) from error
    except csv.Error as error:
        raise damaged(path) from error
    if survey[0] < 1:
        raise IsthmusError(f"{str(path)!r} has a header but no rows: pass at least one row")
    return survey


_ASCII = ("utf-8", "cp1252", "latin-1")


def _by_bytes(path: Path, stream: IO[bytes], dialect: Dialect) -> tuple[int, frozenset[int]] | None:
    """By counting separators; None where quotes (or line ends of old) ask for more."""
    rows, line, rest = 0, dialect.lines, b""
    zeros: set[int] = set()
    for block in _blocks(stream, dialect.encoding):
        if b'"' in block or b"\0" in block:
            return None
        block = rest + block
        if b"\r" in block[:-1].replace(b"\r\n", b""):
            return None
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        if end:
            counts = _counted(path, block[:end], dialect, line, zeros)
            rows, line = rows + counts[0], line + counts[1]
    if rest:
        rows += _counted(path, rest + b"\n", dialect, line, zeros)[0]
    return rows, frozenset(zeros)


def _blocks(stream: IO[bytes], encoding: str) -> Iterator[bytes]:
    import codecs

    decoder = codecs.getincrementaldecoder(encoding)()
    while block := stream.read(BLOCK):
        decoder.decode(block)  # which raises where it is no text
        yield block
    decoder.decode(b"", True)


def _counted(
    path: Path, block: bytes, dialect: Dialect, line: int, zeros: set[int]
) -> tuple[int, int]:
    """Rows and lines of whole lines; ``line`` counts those that came before.

    Columns with digits behind a leading zero are put into ``zeros``.
    """
    data, separator = np.frombuffer(block, np.uint8), ord(dialect.separator)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    marks = np.concatenate([[0], np.cumsum(data == separator, dtype=np.int64)])
    counts = marks[ends] - marks[starts] + 1
    last = data[np.maximum(ends - 1, 0)]
    full = (ends - starts > 1) | ((ends - starts == 1) & (last != ord("\r")))
    counts, lines = counts[full], np.flatnonzero(full) + line + 1
    odd = np.flatnonzero(counts != dialect.width)
    if len(odd):
        at = int(odd[0])
        _ragged(path, int(lines[at]), int(counts[at]), dialect)
    if len(zeros) < dialect.width:
        padded = data[:-1] == ord("0")
        padded &= (data[1:] - ord("0")) < 10  # bytes below "0" wrap to large ones
        padded[1:] &= (data[:-2] == separator) | (data[:-2] == ord("\n"))
        at_ = np.flatnonzero(padded)
        if len(at_):
            of_line = starts[np.searchsorted(starts, at_, "right") - 1]
            zeros.update(np.unique(marks[at_] - marks[of_line]).tolist())
    return len(counts), len(ends)


def _by_cells(path: Path, stream: IO[bytes], dialect: Dialect) -> tuple[int, frozenset[int]]:
    text = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
    reader = reader_of(text, dialect)
    rows = 0
    zeros: set[int] = set()
    for row in reader:
        if not row:
            continue
        if len(row) != dialect.width:
            _ragged(path, reader.line_num + dialect.lines, len(row), dialect)
        for place, cell in enumerate(row):
            if cell[:1] == "0" and cell[1:2].isdecimal():
                zeros.add(place)
        rows += 1
    text.detach()
    return rows, frozenset(zeros)


def reader_of(text: Iterable[str], dialect: Dialect) -> Any:
    """The rows of a stream of text as lists of cells; of a blank line an empty one."""
    if dialect.separator != BLANKS:
        return csv.reader(text, delimiter=dialect.separator)
    lines = (line.strip() for line in text)
    return csv.reader(lines, delimiter=" ", skipinitialspace=True)


def _ragged(path: Path, line: int, cells: int, dialect: Dialect) -> None:
    raise IsthmusError(
        f"line {line} of {str(path)!r} has {cells} cells instead of {dialect.width}: correct or "
        "remove it"
    )
