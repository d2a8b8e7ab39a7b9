"""Options about the data that every fit has: how they are read, and which rows are left out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from isthmus.anatomy import Reading, Source, Tree
from isthmus.data.sources import ArraySource, CollectionSource, Subset
from isthmus.errors import IsthmusError
from isthmus.notices import say, tried
from isthmus.tables import Preparation, TableSource

OPTIONS = ("kind", "axis", "size", "mode", "max_norm")
HUGE = 10.0
"""How many times the median size a row has at least that is left out by default."""
_MOST_SHARE, _ENERGY = 0.05, 0.5
_AT_ONCE, _LOOKED_AT = 1 << 22, 4096
_LOOKS: WeakKeyDictionary[Source, Tree] = WeakKeyDictionary()


@dataclass(frozen=True)
class DataOptions:
    """How data are to be read, and ``max_norm``: ``"auto"``, None, or the factor of the median
    size above which rows are left out of a fit."""

    reading: Reading = field(default_factory=Reading)
    max_norm: float | str | None = "auto"

    @classmethod
    def taken(cls, options: dict[str, Any], own: Collection[str] = ()) -> "DataOptions":
        """What ``options`` say of the data, taken out of them; ``own`` are a recipe's own names."""
        values = {n: options.pop(n) for n in OPTIONS if n in options and n not in own}
        factor = values.pop("max_norm", "auto")
        number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not (factor in (None, "auto") or (number and factor > 1)):
            raise IsthmusError(
                f"max_norm={factor!r} is no bound: pass a number above 1, times the median norm, "
                "none or auto"
            )
        return cls(Reading.checked(**values), factor)

    def of_features(self, features: bool) -> "DataOptions":
        """The same for a model that reads rows of features, where ``features``."""
        return replace(self, reading=replace(self.reading, features=features))


def within_norm(
    source: Source, factor: float | str | None, *, auto: bool
) -> tuple[Source, dict[str, Any] | None]:
    """The rows that are no outliers in size, and what was left out (None where nothing was).

    A row's size is its distance from the row of medians (of up to 4,096 rows, spread evenly), of a
    table's that of its features.
    ``factor`` is how many times the median size a row may have. With ``"auto"`` rows of more than
    10 times are left out where ``auto`` (the model is a dictionary) and they are at most 5 % of all
    rows and have more than half of all energy: as attention sinks have, to which a dictionary would
    give most of its latents.
    """
    if factor is None or (factor == "auto" and not auto):
        return source, None
    sized = None if factor == "auto" and not is_array(source) else _sized(source)
    if sized is None:
        if factor == "auto":
            return source, None
        raise IsthmusError(
            "max_norm is for arrays of vectors and for tables: leave it out for these data"
        )
    sizes = _sizes(sized)
    median = float(sizes.median())
    times = HUGE if factor == "auto" else float(factor)
    mask = sizes <= times * median
    out = len(sizes) - int(mask.sum())
    if out == 0 or not median > 0:
        return source, None
    if factor == "auto":
        energy = sizes.square()
        if out > _MOST_SHARE * len(sizes) or energy[~mask].sum() <= _ENERGY * energy.sum():
            return source, None
        say(
            f"{out:,} of {len(sizes):,} rows are more than {times:g} times as far from the middle "
            "as the median row and are left out of the fit (max_norm=none keeps them)"
        )
    if int(mask.sum()) < 2:
        raise IsthmusError(f"max_norm={factor} leaves fewer than 2 rows: pass a larger one")
    return Subset(source, mask), {"factor": times, "size": times * median, "left_out": out}


def again(source: Source, recorded: Mapping[str, Any] | None) -> Source:
    """The rows that a run was fitted to, of all rows of its data."""
    if recorded is None:
        return source
    raw = source  # sizes are those of the rows before any preparation of the fit
    while not isinstance(raw, ArraySource) and len(getattr(raw, "source", ())) == len(source):
        raw = raw.source  # type: ignore[attr-defined]
    sizes = _sizes(_sized(raw) or raw)
    return Subset(source, sizes <= float(recorded["factor"]) * float(sizes.median()))


def _sized(source: Source) -> Source | None:
    """The rows whose sizes count, where they have any: those of arrays of vectors, and of tables
    the features that a preparation learnt on all rows makes of them."""
    inner, _ = source.base(torch.arange(0))
    if isinstance(inner, TableSource):
        with tried():  # which the fit's own preparation says
            features = TableSource(inner.table, Preparation.learn(inner.table))
        if inner is source:
            return features
        return Subset(features, source.base(torch.arange(len(source)))[1])
    return source if is_array(source) and source.signal.kind == "vector" else None


def is_array(source: Source) -> bool:
    """Whether rows are those of arrays, so that reading all of them costs little."""
    inner, _ = source.base(torch.arange(0))
    parts = inner.parts.values() if isinstance(inner, CollectionSource) else [inner]
    return all(isinstance(part, ArraySource) for part in parts)


def spread_rows(source: Source) -> Tree:
    """Up to 4,096 rows, spread evenly; kept, so that several models read them once."""
    if source not in _LOOKS:
        step = max(1, -(-len(source) // _LOOKED_AT))
        _LOOKS[source] = source.rows(torch.arange(0, len(source), step))
    return _LOOKS[source]


def _sizes(source: Source) -> Tensor:
    """Every row's distance from the row of medians, float64 ``(rows,)``."""
    rows = len(source)
    centre = spread_rows(source).double().median(0).values
    step = max(1, _AT_ONCE // source.signal.numel)
    parts = [
        (source.rows(torch.arange(start, min(start + step, rows))).double() - centre).norm(dim=1)
        for start in range(0, rows, step)
    ]
    return torch.cat([part.cpu() for part in parts])
