"""Texts in files: plain, JSON lines and tables, also compressed."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError, unknown
from isthmus.language.document import Document
from isthmus.tables.long_cells import long_cells

_UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}
KINDS = (".txt", ".md", ".jsonl", ".csv", ".tsv")
_NAMES = ("name", "title", "id")
"""Columns that name a document."""


def is_text_file(path: Path) -> bool:
    """Whether the file's name is that of a kind that ``read_file`` knows."""
    return _kind(path) in KINDS


def read_file(path: Path, column: str | None = None) -> list[Document]:
    """The documents of a file: one of a plain text, one a row of JSON lines or of a table.

    ``column`` is where the text of a row stands: ``text`` where nothing is said, or the only one.
    """
    kind, name = _kind(path), path.name.split(".")[0]
    if kind not in KINDS:
        raise IsthmusError(
            f"{str(path)!r} is no kind of text file that is known: use one of {', '.join(KINDS)}, "
            "also compressed as .gz, .xz or .bz2"
        )
    try:
        if kind in (".txt", ".md"):
            if column is not None:
                raise IsthmusError(f"{str(path)!r} has no columns: leave ':{column}' out")
            return [Document(name, _content(path))]
        rows = _json_rows(path) if kind == ".jsonl" else _table_rows(path, kind)
        return list(_documents(rows, path, name, column))
    except (OSError, EOFError, lzma.LZMAError, zlib.error, csv.Error) as error:
        raise _unreadable(path, error) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table or of JSON lines, each by the names of its columns."""
    kind = _kind(path)
    if kind not in (".jsonl", ".csv", ".tsv"):
        raise IsthmusError(
            f"{str(path)!r} has no rows with columns: use .csv, .tsv or .jsonl, also compressed"
        )
    try:
        return list(_json_rows(path) if kind == ".jsonl" else _table_rows(path, kind))
    except (OSError, EOFError, lzma.LZMAError, zlib.error, csv.Error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> IsthmusError:
    return IsthmusError(f"{str(path)!r} cannot be read ({error}): check that the file is whole")


def read_folder(path: Path) -> list[Document]:
    """The plain texts in a folder and below it, by name."""
    files = sorted(p for p in path.rglob("*.txt") if p.is_file())
    if not files:
        raise IsthmusError(f"the folder {str(path)!r} holds no .txt file: name another")
    return [Document(file.relative_to(path).as_posix(), _content(file)) for file in files]


def _kind(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _UNPACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _content(path: Path) -> str:
    unpacked = _UNPACKED.get(path.suffix.lower(), bytes)
    return unpacked(path.read_bytes()).decode("utf-8-sig", "replace")


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_content(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise IsthmusError(
                f"line {number} of {str(path)!r} is no JSON: write one object a line"
            ) from error
        yield row if isinstance(row, dict) else {"text": row}


def _table_rows(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    with long_cells():
        yield from csv.DictReader(
            io.StringIO(_content(path), newline=""), delimiter="\t" if kind == ".tsv" else ","
        )


def _documents(
    rows: Iterator[dict[str, Any]], path: Path, name: str, column: str | None
) -> Iterator[Document]:
    for i, row in enumerate(rows):
        columns = [key for key in row if isinstance(key, str)]
        text_column = column or (
            "text" if "text" in row else columns[0] if len(columns) == 1 else None
        )
        if text_column is None:
            raise IsthmusError(
                f"{str(path)!r} has no column 'text': choose one of {', '.join(columns)}, as in "
                f"'{path}:{columns[0]}'"
            )
        if text_column not in row:
            raise unknown(f"column of {str(path)!r}", text_column, columns)
        label = next((str(row[key]) for key in _NAMES if key != text_column and row.get(key)), None)
        text = row[text_column]
        yield Document(label or f"{name} {i}", "" if text is None else str(text))
