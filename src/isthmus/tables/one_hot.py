"""Columns of text as one 0/1 feature for each value, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.tables.table import Column, Level

RARE = "(rare)"
"""What a reconstruction says where it is one of the rare values."""
_REMEMBERED = 1000


@dataclass(frozen=True)
class Levels:
    """How a column of text is read.

    ``levels`` have a feature each; ``rare`` ones share one, as do values that were not there in
    training where there are rare ones; otherwise these have none. ``missing``: what is missing has
    a feature of its own, since it was in training. A column of one value has no feature and is
    put back as it was.
    """

    name: str
    levels: tuple[Level, ...]
    rare: tuple[Level, ...] = ()
    missing: bool = False
    raw: str = ""

    @classmethod
    def learn(cls, name: str, column: Column, rare: float) -> "Levels":
        """From the training rows' entries.

        Values in fewer rows than ``rare``, a share of all rows or (from 1 on) a number, are rare,
        as scikit-learn's ``OneHotEncoder(min_frequency=rare)`` has it.
        """
        codes = column.values
        counts = np.bincount(codes[codes >= 0], minlength=len(column.levels))
        least = rare if rare >= 1 else rare * len(codes)
        levels = tuple(v for v, n in zip(column.levels, counts, strict=True) if n and n >= least)
        few = tuple(v for v, n in zip(column.levels, counts, strict=True) if 0 < n < least)
        return cls(name, levels, few[:_REMEMBERED], bool((codes < 0).any()), column.raw)

    @property
    def width(self) -> int:
        """How many values are told apart."""
        return len(self.levels) + self.missing + bool(self.rare)

    @property
    def features(self) -> list[str]:
        """The names of the features: the values, then what is missing, then what is rare."""
        if self.width < 2:
            return []
        names = [f"{self.name}={level}" for level in self.levels]
        names += [f"{self.name} missing"] if self.missing else []
        return names + ([f"{self.name}={RARE}"] if self.rare else [])

    is_plain = False

    @property
    def truths(self) -> list[bool]:
        """Which of the features are 0 or 1 alone: all of them."""
        return [True] * len(self.features)

    def put(self, column: Column, into: np.ndarray) -> list[str]:
        """Write the features of rows ``(rows, width)``; returns values that are new."""
        places = {str(level): place for place, level in enumerate(self.levels)}
        last = self.width - 1 if self.rare else -1
        rare = {str(level) for level in self.rare}
        of_level = np.array(
            [places.get(str(level), last) for level in column.levels]
            + [len(self.levels) if self.missing else -1]
        )
        new = [
            str(level)
            for level, place in zip(column.levels, of_level[:-1], strict=True)
            if place == last and str(level) not in rare and str(level) not in places
        ]
        if new:  # those of these rows alone
            present = {str(column.levels[code]) for code in np.unique(column.values) if code >= 0}
            new = [level for level in new if level in present]
        if into.shape[1]:
            place = of_level[column.values]
            rows = np.flatnonzero(place >= 0)
            into[:] = 0.0
            into[rows, place[rows]] = 1.0
        return new

    def restored(self, rows: np.ndarray) -> Column:
        """The column of features ``(rows, width)``: the value whose feature is largest."""
        names: list[Level] = [*self.levels, *((RARE,) if self.rare else ())]
        if self.width < 2:
            only = np.full(len(rows), 0 if names else -1, np.int32)
            return Column("text", only, levels=names, raw=self.raw)
        place = rows.argmax(1)
        if self.missing:
            gap = len(self.levels)
            place = np.where(place == gap, -1, np.where(place > gap, place - 1, place))
        return Column("text", place.astype(np.int32), levels=names, raw=self.raw)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_dict` reads it back."""
        return {
            "name": self.name, "kind": "text", "levels": list(self.levels),
            "rare": list(self.rare), "missing": self.missing, "raw": self.raw,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Levels":
        """Read what :meth:`to_dict` wrote."""
        return cls(
            plain["name"], tuple(plain["levels"]), tuple(plain["rare"]), plain["missing"],
            plain["raw"],
        )  # fmt: skip


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a sentence."""
    text = ", ".join(map(repr, names[:most]))
    return text + (f" and {len(names) - most} more" if len(names) > most else "")
