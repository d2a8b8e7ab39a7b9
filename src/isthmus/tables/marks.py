"""Which marks the numbers of a file, and of each of its columns, are written with."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from isthmus.tables import cells
from isthmus.tables.cells import USUAL, Marks

_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)?\.\d+([eE][+-]?\d+)?")
_GROUPED = {",": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
            ".": re.compile(r"[+-]?[1-9]\d{0,2}((\.\d{3}){2,}|(\.\d{3})+,\d+)")}  # fmt: skip
_EITHER_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_EITHER_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def of_file(body: Sequence[Sequence[str]], separator: str) -> tuple[Marks, frozenset[str]]:
    """The marks of most columns, by what the cells of some rows show.

    Also which decimal marks are beyond doubt somewhere: a comma elsewhere than before three
    digits, a point elsewhere.
    """
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
    evidence = frozenset("," * bool(telling) + "." * (point > either))
    if comma and point == either and (telling or (separator != "," and (grouped[1] or not point))):
        return Marks(",", "." if grouped[1] or point else ""), evidence
    if separator == "," and comma > telling and not telling:
        return Marks(".", ","), evidence
    if point and grouped[0] > telling:  # what does not fit is then named by its row
        return Marks(".", ","), evidence
    return Marks(), evidence


@dataclass(frozen=True)
class Found:
    """The marks of a column; ``doubt`` is a cell that may be read in two ways, where nothing in
    the file says in which."""

    marks: Marks
    doubt: str = ""


def of_column(levels: Sequence[str], usual: Marks = USUAL, shown: Collection[str] = ()) -> Found:
    """The marks of a column with these different cells: the file's own where they fit all of them.

    Cells that are no numbers in any way of writing them are not looked at. Money needs one sign,
    per cent a sign everywhere, and brackets need numbers without them beside them.
    """
    entries = [level for level in levels if level.lower() not in cells.MISSING]
    figures = [one for one in map(cells.undressed, entries) if one is not None]
    if not figures:
        return Found(usual)
    signs = {one.sign for one in figures} - {""}
    if len(signs) > 1:
        return Found(usual)
    bracketed = sum(one.brackets for one in figures)
    plain = bracketed == len(figures) and not signs and all(o.bare[1:].isdigit() for o in figures)
    how = replace(usual, sign=next(iter(signs), ""), brackets=bracketed > 0 and not plain)
    if how.sign in cells.SHARES and 2 * sum(one.lacks(how) for one in figures) >= len(figures):
        how = replace(how, sign="")  # a share among plain numbers is then named by its row
    bare = [one.bare for one in figures]
    fitting = sum(cells.number(cell, usual) is not None for cell in bare)
    # Where most cells are as in the rest of the file, the others are named by their rows.
    if fitting == len(bare) or (usual.thousands and 2 * fitting > len(bare)):
        return Found(how)
    ways: list[tuple[Marks, list[float]]] = []
    for way in cells.WAYS:
        values = _read(bare, way)
        if values is not None and all(values != other for _, other in ways):
            ways.append((way, values))
    if not ways:
        return Found(how)
    if len(ways) > 1:
        settled = [way for way, _ in ways if {*shown} == {way.decimal}]
        if len(settled) == 1:
            ways = [(settled[0], [])]
        elif {*shown} != {"."} and not shown and usual.decimal == ",":
            ways = [one for one in ways if one[0].decimal == ","][:1] or ways
    if len(ways) > 1:
        return Found(
            how, next(t for t in bare if _EITHER_COMMA.fullmatch(t) or "," in t or "." in t)
        )
    way = ways[0][0]
    return Found(replace(how, decimal=way.decimal, thousands=way.thousands))


def _read(bare: Sequence[str], marks: Marks) -> list[float] | None:
    """All numbers; None where one is none with these marks."""
    values = []
    for cell in bare:
        value = cells.number(cell, marks)
        if value is None:
            return None
        values.append(value)
    return values


def in_words(marks: Marks, usual: Marks = USUAL) -> str:
    """What is special about a column's numbers, in words; "" for nothing."""
    phrases = [marks.sign] if marks.sign else []
    if marks.brackets:
        phrases.append("negative ones in brackets")
    if marks.decimal != usual.decimal:
        phrases.append(f"{marks.decimal!r} as the decimal mark")
    if marks.thousands and marks.thousands != usual.thousands:
        phrases.append(f"{marks.thousands!r} between thousands")
    return ", ".join(phrases)
