"""A first walk over a file of text: how many rows, and whether all are equally long."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.tables.compression import DAMAGE, damaged, opened
from isthmus.tables.dialect import Dialect

BLOCK = 1 << 20
"""Bytes that are looked at at once; counting takes some twenty times as many."""


def surveyed(path: Path, dialect: Dialect) -> int:
    """The number of rows below the header.

    A row of another number of cells is an :class:`IsthmusError` that names its line. Bytes that
    are no text in the dialect's encoding raise UnicodeDecodeError.
    """
    try:
        with opened(path) as stream:
            rows = _by_bytes(path, stream, dialect) if dialect.encoding in _ASCII else None
        if rows is None:  # quotes, or other encodings
            with opened(path) as stream:
                rows = _by_cells(path, stream, dialect)
    except UnicodeDecodeError:
        raise
    except DAMAGE as error:
        if isinstance(error, IsthmusError):
            raise
        raise damaged(path) from error
    except csv.Error as error:
        raise damaged(path) from error
    rows -= dialect.headed
    if rows < 1:
        raise IsthmusError(f"{str(path)!r} has a header but no rows: pass at least one row")
    return rows


_ASCII = ("utf-8", "utf-8-sig", "cp1252", "latin-1")


def _by_bytes(path: Path, stream: IO[bytes], dialect: Dialect) -> int | None:
    """By counting separators; None where quotes (or line ends of old) ask for more."""
    separator, rows, line, rest = ord(dialect.separator), 0, 0, b""
    for block in _blocks(stream, dialect.encoding):
        if b'"' in block or b"\0" in block:
            return None
        block = rest + block
        if b"\r" in block[:-1].replace(b"\r\n", b""):
            return None
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        if end:
            counted = _counted(path, block[:end], separator, dialect, rows, line)
            rows, line = rows + counted[0], line + counted[1]
    if rest:
        rows += _counted(path, rest + b"\n", separator, dialect, rows, line)[0]
    return rows


def _blocks(stream: IO[bytes], encoding: str) -> Iterator[bytes]:
    import codecs

    decoder = codecs.getincrementaldecoder(encoding)()
    first = True
    while block := stream.read(BLOCK):
        decoder.decode(block)  # which raises where it is no text
        yield block.removeprefix(b"\xef\xbb\xbf") if first else block
        first = False
    decoder.decode(b"", True)


def _counted(
    path: Path, block: bytes, separator: int, dialect: Dialect, before: int, line: int
) -> tuple[int, int]:
    """Rows and lines of whole lines; ``before`` and ``line`` count those that came before."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    marks = np.concatenate([[0], np.cumsum(data == separator, dtype=np.int64)])
    counts = marks[ends] - marks[starts] + 1
    last = data[np.maximum(ends - 1, 0)]
    full = (ends - starts > 1) | ((ends - starts == 1) & (last != ord("\r")))
    counts, lines = counts[full], np.flatnonzero(full) + line + 1
    skip = 1 if dialect.headed and before == 0 else 0
    odd = np.flatnonzero(counts[skip:] != dialect.width)
    if len(odd):
        at = int(odd[0]) + skip
        _ragged(path, int(lines[at]), int(counts[at]), dialect)
    return len(counts), len(ends)


def _by_cells(path: Path, stream: IO[bytes], dialect: Dialect) -> int:
    text = io.TextIOWrapper(stream, encoding=dialect.encoding, newline="")
    reader = csv.reader(text, delimiter=dialect.separator)
    rows = 0
    for row in reader:
        if not row:
            continue
        if len(row) != dialect.width and (rows or not dialect.headed):
            _ragged(path, reader.line_num, len(row), dialect)
        rows += 1
    text.detach()
    return rows


def _ragged(path: Path, line: int, cells: int, dialect: Dialect) -> None:
    raise IsthmusError(
        f"line {line} of {str(path)!r} has {cells} cells instead of {dialect.width}: correct or "
        "remove it"
    )
