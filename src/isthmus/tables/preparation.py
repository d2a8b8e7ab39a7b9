"""A table as rows of numbers, learnt on the training rows alone, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import torch

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.tables.cells import OFFSETS, order_is_unclear
from isthmus.tables.numbers import Numbers
from isthmus.tables.one_hot import Levels, listed
from isthmus.tables.options import PrepareOptions
from isthmus.tables.table import Column, Table, as_text
from isthmus.tables.text_columns import numbers_of, times_of

Encoder = Numbers | Levels

_NEAR = 0.5
"""How alike two names are from which on one may be the other, of 1."""


@dataclass(frozen=True, eq=False)
class Preparation:
    """How the columns of a table become float32 features, by the columns' names.

    ``encoders`` in the order of the columns; ``left_out`` are columns that are not read, with the
    reason; ``named`` says whether the names are more than places; ``frame`` as what a
    reconstruction is given where nothing else says it.
    """

    encoders: tuple[Encoder, ...]
    left_out: Mapping[str, str]
    named: bool = True

    @classmethod
    def learn(
        cls, table: Table, index: Any = None, options: PrepareOptions | None = None
    ) -> "Preparation":
        """From the rows ``index`` (all where None), saying what is done.

        A column in which one cell is not like the others, infinity, and a table without a usable
        column are an :class:`IsthmusError`.
        """
        options = options or PrepareOptions()
        for name in (*options.text, *options.numbers):
            table[name]  # an error where there is none
        encoders: list[Encoder] = []
        left_out: dict[str, str] = {}
        joined: list[str] = []
        zeros: list[str] = []
        for name, whole in table.columns.items():
            column = whole
            padded = column.zeros and name not in options.numbers
            zeros += [name] if padded else []
            if name in options.text or padded:
                column = table.as_text(name)
            elif column.stray:
                raise IsthmusError(column.stray)
            if column.kind != "free" and index is not None:
                column = column.take(index)
            if column.is_empty:
                left_out[name] = "it holds nothing in the training rows"
            elif column.kind == "free":
                left_out[name] = "it is text with a different value in almost every row"
            elif column.kind == "text":
                levels = Levels.learn(name, column, options.rare)
                reason = _too_many(levels, column, options)
                if reason:
                    left_out[name] = reason
                else:
                    encoders.append(levels)
                    joined += [name] if levels.rare else []
            else:
                encoders.append(Numbers.learn(name, column, quantiles=options.quantiles))
        if not any(one.features for one in encoders):
            why = "".join(f"; {name!r}: {reason}" for name, reason in [*left_out.items()][:3])
            raise IsthmusError(
                f"{table.where} has no usable column{why}: pass columns of numbers, or of text "
                "with few values"
            )
        preparation = cls(tuple(encoders), left_out, table.named)
        if zeros:
            notices.say(
                f"whole numbers with leading zeros are names, and read as text: {listed(zeros)} of "
                f"{table.where}; prepare={{'numbers': {zeros[:5]!r}}} reads them as numbers"
            )
        preparation._say(table, index, options, joined)
        return preparation

    @property
    def features(self) -> list[str]:
        """The names of the features, in order."""
        return [name for one in self.encoders for name in one.features]

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are read, in order."""
        return [one.name for one in self.encoders]

    @property
    def texts(self) -> frozenset[str]:
        """The columns that are read as text."""
        return frozenset(one.name for one in self.encoders if isinstance(one, Levels))

    @property
    def is_numeric(self) -> bool:
        """Whether all columns are numbers or truth values, so that an array can stand for them."""
        return all(
            isinstance(one, Numbers) and one.kind in ("number", "integer", "boolean")
            for one in self.encoders
        )

    @property
    def is_plain(self) -> bool:
        """Whether the features are the columns themselves, as float32."""
        return all(one.is_plain for one in self.encoders)

    def matched(self, table: Table) -> Table:
        """The columns that are read, by name whatever their order.

        A column that is lacking is an :class:`IsthmusError`; one that is not read is said.
        """
        names = self.columns
        if not (table.named and self.named) and len(table.columns) == len(names):
            if table.names != names and self.named:
                notices.say(
                    f"the columns of {table.where} have no names and are taken by place, as "
                    f"{listed(names)}: name them in the first line"
                )
            return replace(table, columns=dict(zip(names, table.columns.values(), strict=True)),
                           reread=_by_place(table, names))  # fmt: skip
        lacking = [name for name in names if name not in table.columns]
        if lacking:
            raise self._lacks(table, lacking)
        extra = [n for n in table.names if n not in names and n not in self.left_out]
        if extra:
            notices.say(
                f"the model was fitted without {listed(extra)} of {table.where}, which is left out"
                if len(extra) == 1 else
                f"the model was fitted without the columns {listed(extra)} of {table.where}, which "
                "are left out"
            )  # fmt: skip
        return table.only(names)

    def _lacks(self, table: Table, lacking: Sequence[str]) -> IsthmusError:
        free = [n for n in table.names if n not in self.columns and n not in self.left_out]
        hints = ", ".join(f"{new!r} to {old!r}" for old, new in _renamed(lacking, free).items())
        what = "the column" if len(lacking) == 1 else "the columns"
        unknown_ = f" and has {listed(free)} instead" if free else ""
        return IsthmusError(
            f"{table.where} lacks {what} {listed(lacking)} that the model was fitted to{unknown_}: "
            + (f"rename {hints}" if hints else "pass a table with these columns")
        )

    def apply(self, table: Table, index: np.ndarray | None = None) -> np.ndarray:
        """The features of the rows ``index`` (all where None), float32 ``(rows, features)``."""
        table = self.matched(table)
        number = table.rows if index is None else len(index)
        rows = np.empty((number, len(self.features)), np.float32)
        filled: list[str] = []
        start = 0
        for one in self.encoders:
            column = _rows(self._fitting(table, one), index)
            into = rows[:, start : start + len(one.features)]
            start += len(one.features)
            if isinstance(one, Levels):
                new = one.put(column, into)
                if new:
                    as_what = "as rare" if one.rare else "as none of the known values"
                    notices.say(
                        f"the column {one.name!r} of {table.where} holds {listed(new)}, not there "
                        f"when the model was fitted: taken {as_what}"
                    )
                if not one.missing and one.width > 1 and bool((column.values < 0).any()):
                    filled.append(one.name)
            elif one.put(column, into) and not one.indicator:
                filled.append(one.name)
        if filled:
            notices.say(
                f"{table.where} has gaps in {listed(filled)}, where the training rows had none: "
                "filled with the median of the training rows (text with no value at all)"
            )
        return rows

    def _fitting(self, table: Table, one: Encoder) -> Column:
        """The column as its encoder reads it; an error where it is of another type."""
        column = table[one.name]
        if isinstance(one, Levels):
            if column.kind == "text" and not column.stray:
                return column
            text = table.as_text(one.name) if not column.is_empty else as_text(column)
            if text.kind == "free":
                raise IsthmusError(
                    f"the column {one.name!r} of {table.where} has too many different values for "
                    "one that the model reads as text: pass fewer rows at once"
                )
            return text
        if column.stray:
            raise IsthmusError(column.stray)
        timely = ("time", "duration")
        fits = column.kind == one.kind if one.kind in timely else column.is_number
        if fits:
            return _as_marked(column, one, table)
        if column.kind != "free" and column.is_empty:
            if one.kind in timely:
                letter = "M" if one.kind == "time" else "m"
                gaps = np.full(len(column.values), "NaT", f"{letter}8[{one.unit}]")
                return Column(one.kind, gaps)
            return Column("number", np.full(len(column.values), np.nan))
        if column.kind == "text" and one.kind == "time":
            times = times_of(column, one.style or "iso")
            if times is not None:
                return times
        example = (
            f" ({str(column.objects()[~column.gaps()][0])!r}, say)" if column.kind != "free" else ""
        )
        what = {"time": "times", "duration": "durations"}.get(one.kind, "numbers")
        kinds = {"text": "text", "free": "text", "time": "times", "duration": "durations"}
        raise IsthmusError(
            f"the column {one.name!r} of {table.where} holds {kinds.get(column.kind, 'numbers')}"
            f"{example}, and the model was fitted to {what} there: convert it"
        )

    def by_column(self, values: Any) -> Any:
        """Sums of what features have, ``(rows, features)``, over those of each column that is read.

        ``(rows, columns)``, an array or a tensor as ``values`` are; 0 of a column without features.
        """
        ends = np.cumsum([len(one.features) for one in self.encoders]).tolist()
        sums = [values[:, a:b].sum(1) for a, b in zip([0, *ends], ends, strict=False)]
        return torch.stack(sums, 1) if isinstance(values, torch.Tensor) else np.stack(sums, 1)

    def restored(self, rows: np.ndarray) -> Table:
        """The table of features ``(rows, features)``: numbers in their units, values, times."""
        rows = np.asarray(rows, np.float64)
        columns: dict[str, Column] = {}
        start = 0
        for one in self.encoders:
            stop = start + len(one.features)
            columns[one.name] = one.restored(rows[:, start:stop])
            start = stop
        return Table(columns, len(rows), named=self.named)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary, from which :meth:`from_dict` makes the same again exactly."""
        return {
            "kind": "table",
            "columns": [one.to_dict() for one in self.encoders],
            "left_out": dict(self.left_out),
            "named": self.named,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Preparation":
        """Read what :meth:`to_dict` wrote."""
        encoders = [
            Levels.from_dict(one) if one["kind"] == "text" else Numbers.from_dict(one)
            for one in plain["columns"]
        ]
        return cls(tuple(encoders), plain["left_out"], plain["named"])

    # --- what is said ----------------------------------------------------------------------------

    def _say(self, table: Table, index: Any, options: PrepareOptions, joined: list[str]) -> None:
        for name, reason in self.left_out.items():
            notices.say(f"the column {name!r} of {table.where} is left out: {reason}")
        texts = [one for one in self.encoders if isinstance(one, Levels)]
        numbers = [one for one in self.encoders if isinstance(one, Numbers)]
        spread = [one.name for one in texts if one.width > 1]
        if spread:
            notices.say(
                f"columns of text, with one 0/1 column for each of their values: {listed(spread)} "
                f"of {table.where}"
            )
        if joined:
            notices.say(
                f"values in fewer than {options.rare:g}{' of the' * (options.rare < 1)} rows are "
                f"joined as rare in {listed(joined)}: prepare={{'rare': 0}} keeps them apart"
            )
        gaps = [one.name for one in numbers if one.indicator]
        if gaps:
            count = sum(int(_rows(table[name], index).gaps().sum()) for name in gaps)
            notices.say(
                f"{count} missing values become their column's median, and a 0/1 column says where "
                f"({listed(gaps)} of {table.where}): fill them yourself to have it otherwise"
            )
        moved = [one.name for one in numbers if one.offset != 0 or one.scale != 1.0]
        if moved:
            notices.say(
                f"centred in double precision, since float32 is too coarse: {listed(moved)} of "
                f"{table.where}"
            )
        offsets = [one.name for one in numbers if one.style == OFFSETS]
        if offsets:
            notices.say(
                f"times with an offset are given back in UTC, since their offsets differ: "
                f"{listed(offsets)} of {table.where}"
            )
        still = [one.name for one in numbers if one.constant]
        if still:
            notices.say(
                f"never varies in the training rows, and says nothing: {listed(still)} of "
                f"{table.where}; leave it out"
            )
        same = [one.name for one in texts if one.width < 2]
        if same:
            notices.say(
                f"never varies in the training rows, and is only put back in reconstructions: "
                f"{listed(same)} of {table.where}"
            )


def _as_marked(column: Column, one: Numbers, table: Table) -> Column:
    """Numbers of a file, by the marks of the rows fitted to where its cells may be read so."""
    if not one.marks or table.reread is None or column.marks.pair == one.marks:
        return column
    text = table.as_text(one.name)
    marks = replace(column.marks, decimal=one.marks[0], thousands=one.marks[1:])
    return numbers_of(text, marks) or column


def _rows(column: Column, index: Any) -> Column:
    return column if index is None else column.take(index)


def _by_place(table: Table, names: Sequence[str]) -> Any:
    if table.reread is None:
        return None
    of_name = dict(zip(names, table.columns, strict=True))
    again = table.reread
    return lambda name: again(of_name[name])


def _renamed(lacking: Sequence[str], free: Sequence[str]) -> dict[str, str]:
    """Which column may be which by another name, each taken once: the most alike first."""
    pairs = [(_alike(old, new), old, new) for old in lacking for new in free]
    renames: dict[str, str] = {}
    for _, old, new in sorted((p for p in pairs if p[0] >= _NEAR), key=lambda p: -p[0]):
        if old not in renames and new not in renames.values():
            renames[old] = new
    return renames


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _too_many(levels: Levels, column: Column, options: PrepareOptions) -> str:
    """Why a column of text is not read; empty where it is."""
    different = len(np.unique(column.values[column.values >= 0]))
    if len(levels.levels) > options.levels or not levels.levels:
        texts = [level for level in column.levels if isinstance(level, str)]
        if texts and len(texts) == len(column.levels) and order_is_unclear(texts):
            return (
                f"its dates, such as {texts[0]!r}, may begin with the day or the month: write them "
                "as 2020-12-31, or pass a frame in which they are times"
            )
        hint = f"prepare={{'levels': {different}, 'rare': 0}} keeps it"
        return f"it is text with {different} different values; {hint}"
    return ""
