"""How a file of text is written, found from its beginning: letters, marks, names of columns."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables import cells, marks
from isthmus.tables.compression import DAMAGE, damaged, endings, opened
from isthmus.tables.fixed_width import Cuts, Tabbed, cut, cuts_of
from isthmus.tables.heading import BLANKS, SEPARATORS, above, headed_by, rows_of

SAMPLE = 1 << 18
"""Bytes that are looked at."""


@dataclass(frozen=True)
class Dialect:
    """How to read a file.

    ``names`` are those of all ``width`` columns; ``headed`` says whether a line bears them, and
    ``named`` whether they are more than places. ``left_out`` are columns that hold no data (row
    numbers, an empty last one). The rows begin after ``offset`` bytes, which are ``lines`` lines.
    ``marks`` are those of most columns, ``shown`` decimal marks that stand somewhere. ``cuts`` are
    the cells of lines that are aligned by blanks.
    """

    letters: str
    separator: str
    marks: cells.Marks = cells.USUAL
    names: tuple[str, ...] = ()
    headed: bool = False
    named: bool = False
    left_out: frozenset[int] = frozenset()
    offset: int = 0
    lines: int = 0
    shown: frozenset[str] = frozenset()
    cuts: Cuts | None = None

    @property
    def width(self) -> int:
        """Cells of a row."""
        return len(self.names)

    @property
    def encoding(self) -> str:
        """That of the stream of rows."""
        return self.letters if self.cuts is None else "utf-8"

    @contextmanager
    def rows(self, path: Path) -> Iterator[IO[bytes]]:
        """The file from its first row on, cells between :attr:`separator`."""
        with opened(path) as stream:
            rest = self.offset
            while rest > 0 and (skipped := stream.read(min(rest, 1 << 20))):
                rest -= len(skipped)
            if self.cuts is None:
                yield stream
            else:
                tabbed = Tabbed(stream, self.letters, self.cuts, path, self.lines)
                yield io.BufferedReader(tabbed)


def sniffed(path: Path, *, quiet: bool = False) -> Dialect:
    """The dialect of a file; what was found and is not what every reader assumes is said."""
    try:
        with opened(path) as stream:
            start = stream.read(SAMPLE)
            # Of a table of very many columns, at least the names and some rows.
            while start.count(b"\n") < 3 and len(start) < 64 * SAMPLE:
                more = stream.read(SAMPLE)
                if not more:
                    break
                start += more
    except DAMAGE as error:
        if isinstance(error, IsthmusError):
            raise
        raise damaged(path) from error
    whole = len(start) < SAMPLE
    encoding = encoding_of(start, whole=whole)
    if encoding is None:
        raise damaged(path, "is damaged or no table of text (it holds zero bytes)")
    letters, marked = _without_mark(start, encoding)
    text = start[marked:].decode(letters, "ignore" if not whole else "replace")
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    if not text.strip():
        raise IsthmusError(f"{str(path)!r} is empty: pass a table with at least one row")
    usual = "\t" if endings(path)[0] == ".tsv" else ","
    lines = list(io.StringIO(text, newline=""))
    top = above(path, lines, (usual, *(one for one in SEPARATORS if one != usual)))
    text = "".join(lines[top.lines :])
    if not text.strip():
        raise IsthmusError(f"{str(path)!r} has no rows: pass a table with at least one row")
    dialect = _cells(text, top.separator, usual, Dialect(letters, top.separator or usual))
    rows = _rows(text, dialect)
    name_rows = _rows(top.names, dialect) if top.names else []
    if not rows:
        raise IsthmusError(f"{str(path)!r} has a header but no rows: pass at least one row")
    heading = headed_by(path, [*name_rows, *rows], sure=bool(name_rows))
    skipped = heading.headed - len(name_rows) + heading.units
    body = rows[skipped:]
    if not body:
        raise IsthmusError(f"{str(path)!r} has a header but no rows: pass at least one row")
    before = top.lines + _lines_of(lines[top.lines :], dialect, skipped)
    usual_marks, evidence = marks.of_file(body, dialect.separator)
    dialect = replace(
        dialect, marks=usual_marks, shown=evidence, names=heading.names, headed=heading.headed,
        named=heading.named, left_out=heading.left_out, lines=before,
        offset=marked + len("".join(lines[:before]).encode(letters)),
    )  # fmt: skip
    if not quiet:
        _say(path, dialect)
    return dialect


def _without_mark(start: bytes, encoding: str) -> tuple[str, int]:
    """The encoding without a mark at the beginning, and how long that is."""
    if encoding == "utf-8-sig":
        return "utf-8", 3
    if encoding == "utf-16":
        return ("utf-16-le" if start.startswith(b"\xff\xfe") else "utf-16-be"), 2
    return encoding, 0


def _rows(text: str, dialect: Dialect) -> list[list[str]]:
    if dialect.cuts is None:
        return rows_of(text, dialect.separator)
    lines = [line for line in text.splitlines() if line.strip()]
    return [cut(line, dialect.cuts) for line in lines]


def _lines_of(lines: Sequence[str], dialect: Dialect, rows: int) -> int:
    """Lines of the first ``rows`` rows, with blank ones among them."""
    if not rows:
        return 0
    quoted = dialect.cuts is None and dialect.separator != BLANKS
    number = row = 0
    open_quote = False
    for line in lines:
        number += 1
        if quoted and line.count('"') % 2:
            open_quote = not open_quote
        if line.strip() and not open_quote:
            row += 1
            if row == rows:
                break
    return number


def _cells(text: str, declaration: str, usual: str, dialect: Dialect) -> Dialect:
    """With the separator: as a line says, by the cells that most lines have, or by blanks."""
    if declaration:
        return dialect
    best, sure = _separator(text, usual)
    if sure:
        return replace(dialect, separator=best)
    rows = rows_of(text, BLANKS)
    if _is_table(rows):
        return replace(dialect, separator=BLANKS)
    lines = [line for line in text.splitlines() if line.strip()]
    cuts = cuts_of(lines)
    if cuts is not None and _is_table([cut(line, cuts) for line in lines], gaps=True):
        return replace(dialect, separator="\t", cuts=cuts)
    return replace(dialect, separator=best)


def _is_table(rows: list[list[str]], *, gaps: bool = False) -> bool:
    """Whether lines cut by blanks are a table: equally many cells, half of the columns numbers."""
    if len(rows) < 2:
        return False
    width = Counter(map(len, rows[1:])).most_common(1)[0][0]
    # A line with one name less than there are cells lacks that of the rows' names.
    fits = len(rows[0]) in ((width,) if gaps else (width, width - 1)) and len(rows[0]) > 1
    odd = sum(len(row) != width for row in rows[1:])
    if width < 2 or not fits or 10 * odd > len(rows) - 1 + 9 * (len(rows) > 2):
        return False
    body = [row for row in rows[1:] if len(row) == width]
    numeric = sum(all(cells.is_numeric(row[place]) for row in body) for place in range(width))
    return 2 * numeric >= width


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


def _separator(text: str, usual: str) -> tuple[str, bool]:
    """The separator by which most lines have as many cells as the first one has, if any."""
    best, most = usual, 0.0
    for separator in (usual, *SEPARATORS) if usual == "\t" else SEPARATORS:
        counts = [len(row) for row in rows_of(text, separator)]
        usual_count = Counter(counts[1:] or counts).most_common(1)[0][0]
        # A first line that is one cell shorter lacks the name of the rows' names.
        if usual_count < 2 or counts[0] < 2 or counts[0] not in (usual_count, usual_count - 1):
            continue
        share = counts.count(usual_count) / len(counts)
        if share > most and share > 0.5:
            best, most = separator, share
    return best, most > 0


def _say(path: Path, dialect: Dialect) -> None:
    traits = []
    if dialect.cuts is not None:
        traits.append("cells of fixed width, as its lines are aligned")
    elif dialect.separator != ("\t" if endings(path)[0] == ".tsv" else ","):
        between = {"\t": "tabs", BLANKS: "blanks"}.get(dialect.separator, repr(dialect.separator))
        traits.append(f"{between} between cells")
    if dialect.marks.decimal != ".":
        traits.append("',' as the decimal mark")
    if dialect.marks.thousands:
        traits.append(f"{dialect.marks.thousands!r} between thousands")
    if dialect.letters in ("cp1252", "latin-1"):
        traits.append("letters as in Western Europe (it is no UTF-8)")
    if traits:
        notices.say(
            f"{path.name!r} is read with {', '.join(traits)}: write it as UTF-8 with ',' and '.' "
            "if that is wrong"
        )
