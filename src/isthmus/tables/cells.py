"""What a cell of text says: a number, a truth value, a time, nothing, or words."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "#n/a", "<na>", "nat"})
"""What stands for a missing entry in a column of numbers, in lower case."""
MISSING_TEXT = frozenset({"", "nan", "nat", "<na>"})
"""The same in a column of text, where "none" and "NA" may be words."""
_WORDS = {"true": True, "false": False}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_INFINITE = frozenset({"inf", "infinity"})
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?)? ?(Z|UTC|[+-]\d{2}:?\d{2})?"
)
_LOCAL = re.compile(r"(\d{1,2})([./])(\d{1,2})\2(\d{4})( \d{1,2}:\d{2}(:\d{2})?)?")


SHARES = ("%", "‰")
"""Signs that say what a number is a share of."""
_MONEY = "$€£¥₹₽₩₺₴₪₫฿₿"
_CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|ZAR|kr|zł|Fr"
_SIGN = rf"(?:[{_MONEY}%‰]|(?:{_CODES})(?![A-Za-z])\.?)"
_DRESSED = re.compile(
    rf"(?P<open>\()? ?(?P<minus>[+-])? ?(?P<before>{_SIGN})? ?(?P<inner>[+-])?"
    rf"(?P<bare>[\d.][\d.,' ]*(?:[eE][+-]?\d+)?) ?(?P<after>{_SIGN})? ?(?P<close>\))?"
)
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-",
                         "\u2019": "'"})  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """How numbers are written: the decimal mark, and the one between thousands where there is.

    ``sign`` stands before or after every number (``€``, ``%``, ``USD``), and is taken off;
    with ``brackets``, numbers in brackets are negative, as accounts have it.
    """

    decimal: str = "."
    thousands: str = ""
    sign: str = ""
    brackets: bool = False

    @property
    def pair(self) -> str:
        """The decimal mark and the one between thousands in one word, "" where usual."""
        return "" if self.decimal + self.thousands == "." else self.decimal + self.thousands


def marks_of_missing() -> list[str]:
    """The marks of a missing number in the ways in which they are written."""
    ways = (str, str.upper, str.capitalize, str.title)
    return sorted({way(mark) for mark in MISSING if mark for way in ways} | {"NaN", "", "NaT"})


USUAL = Marks()


def number(cell: str, marks: Marks = USUAL) -> float | int | None:
    """The number in a cell, NaN for a missing one, None for words.

    Underscores make no number, nor does a mark between thousands that stands elsewhere.
    """
    cell = cell.strip()
    if cell.lower() in MISSING:
        return float("nan")
    if not cell.isascii():
        cell = cell.translate(_BLANKS)
    if marks.sign or marks.brackets:
        figure = undressed(cell)
        if figure is None or figure.sign not in ("", marks.sign):
            return None
        if (figure.brackets and not marks.brackets) or (
            marks.sign in SHARES and figure.lacks(marks)
        ):
            return None
        cell = figure.bare
    if marks.thousands and marks.thousands in cell:
        cell = _ungrouped(cell, marks)
    if marks.decimal != ".":
        if "." in cell:
            return None
        cell = cell.replace(marks.decimal, ".", 1)
    if _WHOLE.fullmatch(cell):
        return int(cell)
    if _PLAIN.fullmatch(cell) or cell.lower().lstrip("+-") in _INFINITE:
        return float(cell)
    return None


@dataclass(frozen=True)
class Undressed:
    """A number without what is written around it, its sign in front."""

    bare: str
    sign: str
    brackets: bool

    def lacks(self, marks: Marks) -> bool:
        """Whether the sign is needed and not there: 0 is 0 % all the same."""
        return bool(marks.sign) and not self.sign and self.bare.strip("+-0.,") != ""


def undressed(cell: str) -> Undressed | None:
    """A number of digits and marks without currency, per cent and brackets; None for words."""
    cell = cell.strip()
    if not cell.isascii():
        cell = cell.translate(_BLANKS)
    match = _DRESSED.fullmatch(cell)
    if match is None:
        return None
    before, after = match["before"] or "", match["after"] or ""
    twice = before and after
    brackets = match["open"] is not None
    minus = (match["minus"] or "") + (match["inner"] or "")
    if twice or before in SHARES or brackets != (match["close"] is not None):
        return None
    if len(minus) > 1 or (brackets and minus):
        return None
    bare = ("-" if brackets else minus) + match["bare"].rstrip()
    return Undressed(bare, (before or after).rstrip("."), brackets)


def is_numeric(cell: str) -> bool:
    """Whether a cell holds a number in some way of writing them, or a mark of a missing one."""
    if number(cell) is not None:
        return True
    figure = undressed(cell)
    return figure is not None and any(number(figure.bare, marks) is not None for marks in WAYS)


WAYS = tuple(
    Marks(decimal, thousands)
    for decimal, thousands in (
        (".", ""), (",", ""), (".", ","), (",", "."), (".", "'"), (",", "'"), (".", " "), (",", " ")
    )
)  # fmt: skip
"""The decimal mark and the one between thousands, in the ways in which they are written."""


def _ungrouped(cell: str, marks: Marks) -> str:
    """Without marks between thousands; as it was where they stand elsewhere."""
    whole, dot, rest = cell.partition(marks.decimal)
    pattern = rf"[+-]?[1-9]\d{{0,2}}({re.escape(marks.thousands)}\d{{3}})+"
    if re.fullmatch(pattern, whole) and marks.thousands not in rest:
        return whole.replace(marks.thousands, "") + dot + rest
    return "words"


def truth(cell: str) -> bool | None:
    """The truth value in a cell; None for anything else."""
    return _WORDS.get(cell.strip().lower())


def order_is_unclear(cells: Sequence[str]) -> bool:
    """Whether these are dates that may begin with the day as well as with the month."""
    matches = [_LOCAL.fullmatch(cell) for cell in cells]
    return all(m is not None and m[2] == "/" and max(int(m[1]), int(m[3])) <= 12 for m in matches)


def style_of_times(cells: Sequence[str]) -> str | None:
    """How times are written, all in one way: "iso", or "day.month", "day/month", "month/day".

    With slashes the order has to show: some first number, or some second one, is above 12. None
    for anything else.
    """
    if all(_ISO.fullmatch(cell) for cell in cells):
        return "iso"
    matches = [_LOCAL.fullmatch(cell) for cell in cells]
    parts = [m for m in matches if m is not None]
    if len(parts) < len(cells) or len({m[2] for m in parts}) > 1:
        return None
    first, second = (max(int(m[place]) for m in parts) for place in (1, 3))
    if parts[0][2] == ".":
        return "day.month" if second <= 12 and first <= 31 else None
    if first > 12 and second <= 12 and first <= 31:
        return "day/month"
    return "month/day" if second > 12 and first <= 12 and second <= 31 else None


OFFSETS = "offsets"
"""The style of times in the standard form with different offsets from UTC."""


def offsets_of(cells: Iterable[str]) -> set[str]:
    """The offsets from UTC that times in the standard form have: "+09:00", "UTC", "" for none."""
    written = {match[4] or "" for cell in cells if (match := _ISO.fullmatch(cell))}
    return {one if one in ("", "UTC") else _offset(one) for one in written}


def _offset(written: str) -> str:
    hours, minutes = written[:3], written[-2:]
    return "UTC" if written == "Z" or hours[1:] + minutes == "0000" else f"{hours}:{minutes}"


def times(cells: Sequence[str], style: str) -> np.ndarray | None:
    """Times as datetime64[us], in UTC where a zone is written; None where one is no time."""
    import pandas as pd

    if not cells:
        return np.empty(0, "datetime64[us]")
    if style not in ("iso", OFFSETS):
        order = (4, 3, 1) if style.startswith("day") else (4, 1, 3)
        texts = []
        for cell in cells:
            m = _LOCAL.fullmatch(cell)
            if m is None:
                return None
            year, month, day = (m[place] for place in order)
            clock = (m[5] or " 00:00").strip()
            hours, _, rest = clock.partition(":")
            texts.append(f"{year}-{int(month):02d}-{int(day):02d}T{int(hours):02d}:{rest}")
        cells = texts
    elif not all(_ISO.fullmatch(cell) for cell in cells):
        return None
    try:
        series: Any = pd.to_datetime(pd.Series(cells, dtype=object), format="ISO8601", utc=True)
    except (ValueError, OverflowError):
        return None
    return np.asarray(series.dt.tz_localize(None).to_numpy().astype("datetime64[us]"))
