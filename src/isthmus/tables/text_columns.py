"""Columns of text that come in parts, kept as numbers of their different values."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from isthmus.tables import cells
from isthmus.tables import marks as marks_
from isthmus.tables.table import Column

_WHOLE = re.compile(r"[+-]?\d+")
KEPT = 100_000
"""Different values of a column of text that are kept."""


class Gathering:
    """One column's cells, in parts, and the column that they make.

    While there are few different cells, each row holds the number of its cell. Above
    :data:`KEPT` the cells are turned into numbers or times at once where all are that, so that no
    more than a part of the file stands in memory as text; otherwise the column is "free" text, of
    which nothing is kept. ``plain`` keeps text as text, whatever it says.
    """

    def __init__(
        self, name: str, rows: int, marks: cells.Marks, where: str, *,
        plain: bool = False, whole: bool = False, shown: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.name, self.marks, self.where, self.shown = name, marks, where, shown
        self.plain, self.whole = plain, whole
        self.places: dict[str, int] = {}
        self.codes = np.empty(rows, np.int32)
        self.done = 0
        self.typed: np.ndarray | None = None
        self.style = ""
        self.offsets: set[str] = set()
        self.free = False

    def add(self, part: Sequence[str] | np.ndarray) -> None:
        """The next rows' cells."""
        import pandas as pd

        start, self.done = self.done, self.done + len(part)
        if self.free:
            return
        numbers, distinct = pd.factorize(np.asarray(part, object))
        texts = [str(one).strip() for one in distinct]
        if self.typed is not None:
            values = self._values(texts)
            if values is None:
                self._give_up()
            else:
                self.typed[start : self.done] = values[numbers]
            return
        codes = np.array([self.places.setdefault(t, len(self.places)) for t in texts], np.int32)
        self.codes[start : self.done] = codes[numbers] if len(codes) else 0
        if len(self.places) > KEPT and not self.whole:
            self._outgrown()

    def _outgrown(self) -> None:
        levels = list(self.places)
        if not self.plain:
            entries = [level for level in levels if level.lower() not in cells.MISSING]
            self.marks = marks_.of_column(levels, self.marks, self.shown).marks
            self.style = cells.style_of_times(entries) or ""
            values = self._values(levels)
            if values is not None:
                self.typed = np.empty(len(self.codes), values.dtype)
                self.typed[: self.done] = values[self.codes[: self.done]]
                self.places = {}
                return
            if _numbers(levels, self.marks)[1]:  # mostly numbers: which one is not is to be said
                return
        self._give_up()

    def _give_up(self) -> None:
        self.free, self.places, self.typed = True, {}, None
        self.codes = np.empty(0, np.int32)

    def _values(self, texts: list[str]) -> np.ndarray | None:
        """Cells as numbers or times; None where one is neither."""
        if self.style:
            present = [text.lower() not in cells.MISSING for text in texts]
            some = cells.times(
                [t for t, keep in zip(texts, present, strict=True) if keep], self.style
            )
            if some is None:
                return None
            self.offsets |= cells.offsets_of(texts)
            values = np.full(len(texts), np.datetime64("NaT"), "datetime64[us]")
            values[np.array(present, bool)] = some
            return values
        numbers = [cells.number(text, self.marks) for text in texts]
        if any(one is None for one in numbers):
            return None
        return np.array([_double(one) for one in numbers])

    def column(self) -> Column:
        """The column, of the type that its cells have."""
        if self.free:
            return Column("free", np.empty(0, np.int32))
        if self.typed is not None:
            if self.style:
                return _timely(self.typed, self.style, self.offsets, self.name, self.where)
            return Column("number", self.typed, marks=self.marks)
        levels, about = list(self.places), (self.marks, self.name, self.where)
        return typed(levels, self.codes, *about, plain=self.plain, shown=self.shown)


def typed(
    levels: Sequence[str], codes: np.ndarray, marks: cells.Marks, name: str, where: str, *,
    plain: bool = False, shown: Collection[str] = (),
) -> Column:  # fmt: skip
    """The column of cells given as numbers of their different values: numbers, times, or text.

    ``marks`` are those of most columns, ``shown`` decimal marks that are beyond doubt in others.
    """
    stray = ""
    if not plain:
        finding = marks_.of_column(levels, marks, shown)
        marks = finding.marks
        if finding.doubt:
            stray = _in_doubt(finding.doubt, name, where)
        column = _as_numbers(levels, codes, marks) or _as_truths(levels, codes)
        column = column or _as_times(levels, codes, name, where)
        if column is not None:
            column = replace(column, marks=marks)
            return column if column.stray else replace(
                column, stray=crowded(levels, column, name, where)
            )  # fmt: skip
        stray = stray or _stray(levels, codes, marks, name, where)
    missing = np.array([level.lower() in cells.MISSING_TEXT for level in levels], bool)
    order = sorted((i for i in range(len(levels)) if not missing[i]), key=lambda i: levels[i])
    place = np.full(len(levels) + 1, -1, np.int32)
    place[order] = np.arange(len(order))
    return Column("text", place[codes], levels=[levels[i] for i in order], stray=stray)


def _numbers(levels: Sequence[str], marks: cells.Marks) -> tuple[list[float | int | None], bool]:
    """The numbers in cells, and whether at least half of those that say something are numbers."""
    numbers = [cells.number(level, marks) for level in levels]
    entries = [one for one in numbers if one is None or one == one]
    numeric = sum(one is not None for one in entries)
    return numbers, bool(entries) and 2 * numeric >= len(entries)


def _as_numbers(levels: Sequence[str], codes: np.ndarray, marks: cells.Marks) -> Column | None:
    numbers = [cells.number(level, marks) for level in levels]
    if any(one is None for one in numbers):
        return None
    entries = [one for one in numbers if one == one]
    whole = bool(entries) and all(isinstance(one, int) and abs(one) < 2**63 for one in entries)
    if not whole:
        values = np.array([_double(one) for one in numbers])
        return Column("number", values[codes])
    gaps = np.array([one != one for one in numbers], bool)
    integers = np.array([0 if one != one else int(one or 0) for one in numbers], np.int64)
    return Column("integer", integers[codes], gaps[codes] if gaps.any() else None)


def crowded(written: Sequence[Any], column: Column, name: str, where: str) -> str:
    """The sentence for whole numbers so large that doubles do not tell them apart; else empty.

    ``written`` are the different entries.
    """
    if column.kind != "number" or not float(np.nanmax(np.abs(column.values), initial=0)) >= 2.0**53:
        return ""
    whole = {int(one) for one in written if _WHOLE.fullmatch(str(one).strip())}
    if len(whole) == len({_double(one) for one in whole}):
        return ""
    return (
        f"the column {name!r} of {where} holds whole numbers too large to be told apart "
        f"({max(whole, key=abs)}, say): subtract an offset, leave the column out, or take it as "
        f"text with prepare={{'text': [{name!r}]}}"
    )


def _double(one: float | int | None) -> float:
    try:
        return float("nan") if one is None else float(one)
    except OverflowError:
        return float("inf")


def _as_truths(levels: Sequence[str], codes: np.ndarray) -> Column | None:
    truths = [cells.truth(level) for level in levels]
    gaps = np.array([level.lower() in cells.MISSING for level in levels], bool)
    if gaps.all() or any(f is None and not gap for f, gap in zip(truths, gaps, strict=True)):
        return None
    values = np.array([bool(one) for one in truths])
    return Column("boolean", values[codes], gaps[codes] if gaps.any() else None)


def _as_times(levels: Sequence[str], codes: np.ndarray, name: str, where: str) -> Column | None:
    gaps = np.array([level.lower() in cells.MISSING for level in levels], bool)
    entries = [level for level, gap in zip(levels, gaps, strict=True) if not gap]
    style = cells.style_of_times(entries) if entries else None
    times = None if style is None else cells.times(entries, style)
    if times is None or style is None:
        return None
    values = np.full(len(levels), np.datetime64("NaT"), "datetime64[us]")
    values[~gaps] = times
    return _timely(values[codes], style, cells.offsets_of(entries), name, where)


def _timely(values: np.ndarray, style: str, offsets: set[str], name: str, where: str) -> Column:
    """Times in UTC, with the offset that all of them were written with."""
    style, zone = "" if style == "iso" else style, ""
    if len(offsets) > 1:
        if "" in offsets:
            return Column("time", values, stray=without_zone(name, where))
        style, zone = cells.OFFSETS, "UTC"
    elif offsets:
        (zone,) = offsets
    return Column("time", values, style=style, zone=zone)


def without_zone(name: str, where: str) -> str:
    """The sentence for times of which some have a zone and some none."""
    return (
        f"the column {name!r} of {where} has times with and without a time zone: give all of them "
        "one"
    )


def numbers_of(column: Column, marks: cells.Marks) -> Column | None:
    """A column of text as numbers that are written with these marks; None where one is not."""
    numbers = [cells.number(str(level), marks) for level in column.levels]
    if any(one is None for one in numbers):
        return None
    values = np.array([*map(_double, numbers), np.nan])
    return Column("number", values[column.values], raw=column.raw, marks=marks)


def times_of(column: Column, style: str) -> Column | None:
    """A column of text as times that are written in a given way; None where one is not."""
    values = np.full(len(column.levels) + 1, np.datetime64("NaT"), "datetime64[us]")
    times = cells.times([str(level) for level in column.levels], style)
    if times is None:
        return None
    values[:-1] = times
    return Column("time", values[column.values])


def _in_doubt(cell: str, name: str, where: str) -> str:
    return (
        f"the column {name!r} of {where} holds {cell!r}, in which the mark may stand between "
        "thousands or before decimals: write its numbers without marks between thousands, or take "
        f"it as text with prepare={{'text': [{name!r}]}}"
    )


def _stray(
    levels: Sequence[str], codes: np.ndarray, marks: cells.Marks, name: str, where: str
) -> str:
    """The sentence for a column that is mostly numbers, with its first other cell; else empty."""
    numbers = [cells.number(level, marks) for level in levels]
    counts = np.bincount(codes, minlength=len(levels))
    numeric = sum(
        int(c) for c, one in zip(counts, numbers, strict=True) if one is not None and one == one
    )
    other = np.array([one is None for one in numbers], bool)
    strays = int(counts[other].sum())
    if numeric < strays or not numeric:
        return ""
    row = int(np.flatnonzero(other[codes])[0])
    many = "" if strays == 1 else f", as do {strays - 1} other rows,"
    return (
        f"row {row} of {where} holds {levels[codes[row]]!r}{many} in the column {name!r}, "
        "which is otherwise numbers: correct or empty the cell, leave the column out, or take it "
        f"as text with prepare={{'text': [{name!r}]}}"
    )
