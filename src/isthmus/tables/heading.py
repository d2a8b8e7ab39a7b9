"""What stands above the rows of a file of text: notes, names of columns, units."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from isthmus import notices
from isthmus.tables import cells
from isthmus.tables.long_cells import long_cells
from isthmus.tables.table import check_names

LINES = 200
"""Rows that are looked at."""
SEPARATORS = (";", "\t", "|", ",")
BLANKS = " "
"""The separator of cells with any number of blanks between them."""
_ROW_NAMES = ("", "Unnamed: 0", "__index_level_0__")
_EXCEL = re.compile(r"(?i)sep=([^\w\s]|\t)")
_MOST_TITLES = 10


def rows_of(text: str, separator: str, number: int = LINES) -> list[list[str]]:
    """The cells of the first rows that are not blank."""
    if separator == BLANKS:
        lines = [line.strip() for line in text.splitlines()[: 2 * number] if line.strip()]
        reader = csv.reader(lines, delimiter=" ", skipinitialspace=True)
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        with long_cells():
            rows = list(islice((row for row in reader if row), number))
    except csv.Error:
        return [line.split(separator) for line in text.splitlines()[:number] if line]
    return [[cell.strip() for cell in row] for row in rows]


@dataclass(frozen=True)
class Above:
    """Lines above the table: how many, what they say of the separator, and names among them."""

    lines: int = 0
    separator: str = ""
    names: str = ""


def above(path: Path, lines: Sequence[str], tables: Sequence[str]) -> Above:
    """What stands above the table of a file with these lines, which is said.

    ``tables`` are the separators of cells that it may have.
    """
    start, separator = 0, ""
    excel = _EXCEL.fullmatch(lines[0].rstrip("\r\n"))
    if excel:
        separator, start = excel[1], 1
        notices.say(f"the first line of {path.name!r}, {lines[0].strip()!r}, says what is between "
                    "cells, and is no row")  # fmt: skip
    place, last = start, -1
    while place < len(lines) and (_is_note(lines[place]) or not lines[place].strip()):
        last = place if lines[place].strip() else last
        place += 1
    if last >= 0:
        rest, note = "".join(lines[last + 1 :]), lines[last].lstrip("# \t")
        if _names_below(note, rest, [separator] if separator else tables):
            notices.say(
                f"the columns' names of {path.name!r} stand behind '#' ({note.strip()[:40]!r}): "
                "write them without it, above the first row"
            )
            return Above(last + 1, separator, note)
        number = sum(bool(line.strip()) for line in lines[start : last + 1])
        count = "1 line" if number == 1 else f"{number} lines"
        notices.say(
            f"{count} at the top of {path.name!r} with '#' in front: no part of the table, and "
            "left out"
        )
        return Above(last + 1, separator)
    titles = _titles("".join(lines[start:]), [separator] if separator else tables)
    if titles:
        title = next(line.strip() for line in lines[start:] if line.strip())
        notices.say(
            f"what stands above the names of the columns in {path.name!r} "
            f"({title.strip(''.join(SEPARATORS))[:40]!r}) is no part of the table"
        )
    return Above(start + titles, separator)


def _is_note(line: str) -> bool:
    """Whether a line is a note: it begins with "#", which is no name of a column."""
    return line.startswith("#") and line[1:2] not in SEPARATORS and line.strip() != "#"


def _names_below(note: str, rest: str, tables: Sequence[str]) -> bool:
    """Whether a note bears the names of rows without a header of their own."""
    for separator in (*tables, BLANKS):
        below = rows_of(rest, separator)
        names = rows_of(note, separator)
        if not below or not names or len(names[0]) < 2:
            continue
        if all(len(row) == len(names[0]) for row in below[:20]):
            return is_header([*names, *below]) and not _over_numbers(below)
    return False


def _over_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all cells of the first line are words, some of them above numbers."""
    if len(rows) < 2 or len(rows[0]) != len(rows[1]):
        return False
    words = not any(cells.is_numeric(cell) and cell for cell in rows[0])
    return words and any(cell and cells.is_numeric(cell) for cell in rows[1])


def _titles(text: str, tables: Sequence[str]) -> int:
    """Lines above the names that hold one cell each, as titles do; 0 where there are none."""
    for separator in tables:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            with long_cells():
                entries = [(reader.line_num, row) for row in islice(reader, LINES)]
        except csv.Error:
            continue
        whole = [row for _, row in entries if row]
        if len(whole) < 3:
            continue
        usual, count = Counter(map(len, whole)).most_common(1)[0]
        filled = [sum(bool(cell.strip()) for cell in row) for row in whole]
        number = next((i for i, n in enumerate(filled) if n != 1), 0)
        if usual < 2 or 2 * count <= len(whole) or not 0 < number <= _MOST_TITLES:
            continue
        rest = [[cell.strip() for cell in row] for row in whole[number:]]
        if len(rest[0]) == usual and _over_numbers(rest):
            lines = [line for line, row in entries if row]
            return lines[number - 1]
    return 0


@dataclass(frozen=True)
class Heading:
    """The columns' ``names``; whether a line bears them (``headed``), and says more than places
    (``named``), and whether a line of ``units`` follows. ``left_out`` are columns without data."""

    names: tuple[str, ...]
    headed: bool
    named: bool
    left_out: frozenset[int]
    units: bool


def headed_by(path: Path, rows: list[list[str]], *, sure: bool = False) -> Heading:
    """The names of the columns, and which of them hold no data; what is guessed is said.

    ``sure`` says that the first row bears the names.
    """
    first, body = rows[0], rows[1:]
    width = len(first)
    headed = sure or is_header(rows)
    units = headed and _are_units(body)
    if headed and not sure and not units and len(body) > 1:
        _doubtful(path, first, body)
    body = body[units:]
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
        excerpt = ", ".join(map(str, nameless[:8]))
        notices.say(f"columns of {path.name!r} without a name (at place {excerpt}) are called "
                    f"'unnamed {nameless[0]}' and so on: name them in the first line")  # fmt: skip
    if numbered:
        excerpt = ", ".join(first[:3]) + (", ..." if width > 3 else "")
        notices.say(
            f"the first line of {path.name!r} counts ({excerpt}) and is taken for the columns' "
            "names: write other names above it if it is a row"
        )
    if headed or numbered:
        check_names([name for i, name in enumerate(names) if i not in left_out], repr(path.name))
    if units:
        excerpt = ", ".join(cell for cell in rows[1] if cell)
        notices.say(f"the second line of {path.name!r} ({excerpt[:40]}) is taken for units, and is "
                    "no row: remove it if that is wrong")  # fmt: skip
    return Heading(
        tuple(names), headed or numbered,
        (headed or numbered) and names != [str(i) for i in range(len(names))],
        frozenset(left_out), units,
    )  # fmt: skip


def _doubtful(path: Path, first: list[str], body: list[list[str]]) -> None:
    """Say that a line of words above words is taken for names."""
    if any(cell and cells.is_numeric(cell) for row in body[:1] for cell in row):
        return
    excerpt = ", ".join(map(repr, first[:4])) + (", ..." if len(first) > 4 else "")
    notices.say(
        f"the first line of {path.name!r} ({excerpt}) is taken for the columns' names, though the "
        "cells below it are words, too: write names above it if it is a row"
    )


def _are_units(body: list[list[str]]) -> bool:
    """Whether the line below the names holds units: words above numbers in all such columns."""
    if len(body) < 2:
        return False
    first, rest = body[0], [row for row in body[1:] if len(row) == len(body[0])]
    numeric = [
        place
        for place in range(len(first))
        if any(row[place] for row in rest) and all(cells.is_numeric(row[place]) for row in rest)
    ]
    above_them = [first[place] for place in numeric]
    words = [cell for cell in above_them if not cells.is_numeric(cell)]
    telling = sum(any(letter.isalpha() or letter in "%°" for letter in cell) for cell in words)
    return telling >= 2 and all(not cell or cell in words for cell in above_them)


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line names the columns: text stands above a number, or is all there is.

    Words that come again below them in their columns are no names.
    """

    def is_text(cell: str) -> bool:
        return not cells.is_numeric(cell) and cells.truth(cell) is None

    first = rows[0]
    top = [is_text(cell) for cell in first]
    others = [row for row in rows[1:] if len(row) == len(first) and row != first]
    for place, cell in enumerate(first):
        if top[place] and any(row[place] == cell for row in others):
            return False
    for row in rows[1:2]:
        if len(row) == len(top):
            over = any(t and not is_text(cell) for t, cell in zip(top, row, strict=True))
            return over or all(top)
        if len(row) == len(top) + 1 and all(top):
            return True
    flags = [t for t, cell in zip(top, first, strict=True) if cell]
    return all(flags) and bool(flags)


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
