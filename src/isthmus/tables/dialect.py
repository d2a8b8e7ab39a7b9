"""How a file of text is written, found from its beginning: letters, marks, names of columns."""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables import cells
from isthmus.tables.compression import DAMAGE, damaged, endings, opened
from isthmus.tables.table import check_names

SAMPLE = 1 << 18
"""Bytes that are looked at."""
LINES = 200
_SEPARATORS = (";", "\t", "|", ",")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)?\.\d+([eE][+-]?\d+)?")
_GROUPED = {",": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
            ".": re.compile(r"[+-]?[1-9]\d{0,2}((\.\d{3}){2,}|(\.\d{3})+,\d+)")}  # fmt: skip
_EITHER_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_ROW_NAMES = ("", "Unnamed: 0", "__index_level_0__")


@dataclass(frozen=True)
class Dialect:
    """How to read a file.

    ``names`` are those of all ``width`` columns; ``headed`` says whether a line bears them, and
    ``named`` whether they are more than places. ``left_out`` are columns that hold no data (row
    numbers, an empty last one).
    """

    encoding: str
    separator: str
    marks: cells.Marks
    names: tuple[str, ...]
    headed: bool
    named: bool
    left_out: frozenset[int] = frozenset()

    @property
    def width(self) -> int:
        """Cells of a row."""
        return len(self.names)


def sniffed(path: Path, *, quiet: bool = False) -> Dialect:
    """The dialect of a file; what was found and is not what every reader assumes is said."""
    try:
        with opened(path) as stream:
            start = stream.read(SAMPLE)
    except DAMAGE as error:
        if isinstance(error, IsthmusError):
            raise
        raise damaged(path) from error
    whole = len(start) < SAMPLE
    encoding = encoding_of(start, whole=whole)
    if encoding is None:
        raise damaged(path, "is damaged or no table of text (it holds zero bytes)")
    text = start.decode(encoding, "ignore" if not whole else "replace")
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    if not text.strip():
        raise IsthmusError(f"{str(path)!r} is empty: pass a table with at least one row")
    separator = _separator(text, "\t" if endings(path)[0] == ".tsv" else ",")
    rows = _rows(text, separator)
    dialect = _named(path, rows, Dialect(encoding, separator, cells.Marks(), (), False, False))
    body = rows[1:] if dialect.headed else rows
    if not body:
        raise IsthmusError(f"{str(path)!r} has a header but no rows: pass at least one row")
    dialect = replace(dialect, marks=_marks(body, separator))
    if not quiet:
        _say(path, dialect)
    return dialect


def encoding_of(start: bytes, *, whole: bool) -> str | None:
    """The encoding of a text from its first bytes; None where it is no text."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"),
                       (b"\xfe\xff", "utf-16")):  # fmt: skip
        if start.startswith(mark) and (name == "utf-8-sig" or start.count(b"\0") > len(start) / 8):
            return name
    if b"\0" in start:
        for place, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            if start[place::2].count(0) > 0.9 * (len(start) // 2):
                return name
        return None
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if whole or error.start < len(start) - 4:
            return "cp1252" if _decodes(start, "cp1252") else "latin-1"
    return "utf-8"


def _decodes(start: bytes, encoding: str) -> bool:
    try:
        start.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _rows(text: str, separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        found = list(islice((row for row in reader if row), LINES))
    except csv.Error:
        return [line.split(separator) for line in text.splitlines()[:LINES] if line]
    return [[cell.strip() for cell in row] for row in found]


def _separator(text: str, usual: str) -> str:
    """The separator by which most lines have as many cells as the first one has."""
    best, most = usual, 0.0
    for separator in (usual, *_SEPARATORS) if usual == "\t" else _SEPARATORS:
        counts = [len(row) for row in _rows(text, separator)]
        usual_count = Counter(counts[1:] or counts).most_common(1)[0][0]
        # A first line that is one cell shorter lacks the name of the rows' names.
        if usual_count < 2 or counts[0] < 2 or counts[0] not in (usual_count, usual_count - 1):
            continue
        share = counts.count(usual_count) / len(counts)
        if share > most and share > 0.5:
            best, most = separator, share
    return best


def _named(path: Path, rows: list[list[str]], dialect: Dialect) -> Dialect:
    """With the names of the columns, and those that hold no data."""
    first, body = rows[0], rows[1:]
    width = len(first)
    headed = _is_header(rows)
    numbered = not headed and _is_numbered(rows)
    names = list(first) if headed or numbered else [str(i) for i in range(width)]
    left_out: set[int] = set()
    usual = Counter(len(row) for row in body).most_common(1)[0][0] if body else width
    if headed and usual == width + 1 and len(body) > 0:
        whole = [row for row in body if len(row) == usual]
        if all(row[-1] == "" for row in whole):
            names, left_out = [*names, ""], {width}
        else:
            names, left_out = ["", *names], {0}
            notices.say(
                f"{path.name!r} names one column less than its rows have cells: the first one is "
                "taken for the rows' names and left out"
            )
    elif headed and width > 1:
        if names[-1] == "" and all(row[-1] == "" for row in body if len(row) == width):
            left_out.add(width - 1)
        if names[0] in _ROW_NAMES:
            left_out.add(0)
            notices.say(
                f"the first column of {path.name!r} has no name, so that it is taken for the "
                "rows' numbers and left out: name it in the first line to keep it"
            )
    nameless = [i for i, name in enumerate(names) if name == "" and i not in left_out]
    for place in nameless:
        names[place] = f"unnamed {place}"
    if nameless:
        said = ", ".join(map(str, nameless[:8]))
        notices.say(f"columns of {path.name!r} without a name (at place {said}) are called "
                    f"'unnamed {nameless[0]}' and so on: name them in the first line")  # fmt: skip
    if numbered:
        said = ", ".join(first[:3]) + (", ..." if width > 3 else "")
        notices.say(
            f"the first line of {path.name!r} counts ({said}) and is taken for the columns' "
            "names: write other names above it if it is a row"
        )
    if headed or numbered:
        check_names([name for i, name in enumerate(names) if i not in left_out], repr(path.name))
    return replace(
        dialect, names=tuple(names), headed=headed or numbered,
        named=(headed or numbered) and names != [str(i) for i in range(len(names))],
        left_out=frozenset(left_out),
    )  # fmt: skip


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first line names the columns: text stands above a number, or is all there is."""
    any_marks = (cells.Marks(), cells.Marks(","), cells.Marks(".", ","), cells.Marks(",", "."))

    def is_text(cell: str) -> bool:
        return all(cells.number(cell, m) is None for m in any_marks) and cells.truth(cell) is None

    top = [is_text(cell) for cell in rows[0]]
    for row in rows[1:2]:
        if len(row) == len(top):
            above = any(t and not is_text(cell) for t, cell in zip(top, row, strict=True))
            return above or all(top)
        if len(row) == len(top) + 1 and all(top):
            return True
    named = [t for t, cell in zip(top, rows[0], strict=True) if cell]
    return all(named) and bool(named)


def _is_numbered(rows: list[list[str]]) -> bool:
    """Whether the first line counts, and the rows below do not: names such as 0, 1, 2, ..."""

    def counts(row: list[str]) -> bool:
        if not all(re.fullmatch(r"\d+", cell) for cell in row):
            return False
        return all(int(b) - int(a) == 1 for a, b in pairwise(row))

    first = rows[0][1:] if rows[0][0] == "" else rows[0]
    if len(first) < 2 or not counts(first) or len(rows) < 2:
        return False
    below = [row[len(row) - len(first) :] for row in rows[1:6]]
    return not any(counts(row) for row in below) and rows[0] not in rows[1:]


def _marks(body: list[list[str]], separator: str) -> cells.Marks:
    """The decimal mark and the one between thousands, by what the cells show."""
    texts = [cell for row in body for cell in row if cell and cell[-1].isdigit()]
    comma = sum(bool(_DECIMAL_COMMA.fullmatch(cell)) for cell in texts)
    point = sum(bool(_DECIMAL_POINT.fullmatch(cell)) for cell in texts)
    grouped = [sum(bool(_GROUPED[mark].fullmatch(cell)) for cell in texts) for mark in ",."]
    # "1,234" alone may be either; a comma elsewhere than before three digits settles it.
    telling = sum(
        bool(_DECIMAL_COMMA.fullmatch(c)) and not _GROUPED[","].fullmatch(c) for c in texts
    )
    # So does "1.234.567" or "0,5": then the point of "1.234" is between thousands, too.
    either = sum(bool(_EITHER_POINT.fullmatch(cell)) for cell in texts)
    if comma and point == either and (telling or (separator != "," and (grouped[1] or not point))):
        return cells.Marks(",", "." if grouped[1] or point else "")
    if separator == "," and comma > telling and not telling:
        return cells.Marks(".", ",")
    if point and grouped[0] > telling:  # what does not fit is then named by its row
        return cells.Marks(".", ",")
    return cells.Marks()


def _say(path: Path, dialect: Dialect) -> None:
    told = []
    if dialect.separator != ("\t" if endings(path)[0] == ".tsv" else ","):
        between = {"\t": "tabs"}.get(dialect.separator, repr(dialect.separator))
        told.append(f"{between} between cells")
    if dialect.marks.decimal != ".":
        told.append("',' as the decimal mark")
    if dialect.marks.thousands:
        told.append(f"{dialect.marks.thousands!r} between thousands")
    if dialect.encoding in ("cp1252", "latin-1"):
        told.append("letters as in Western Europe (it is no UTF-8)")
    if told:
        notices.say(
            f"{path.name!r} is read with {', '.join(told)}: write it as UTF-8 with ',' and '.' if "
            "that is wrong"
        )
