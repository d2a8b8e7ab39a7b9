"""Numbers, truth values and times as float32 features, and back.

Where float32 would lose what a column says (seconds since 1970, ids, metres of a map), its mean is
taken off in double before the cast, and put back in double.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.tables.table import Column, ColumnKind

LOSS = 1e-4
"""Rounding, in standard deviations of a column, from which float32 is too coarse for it."""
QUANTILES = 1000
"""Quantiles that are kept of a column."""
_LARGE, _SMALL = 1e15, 1e-15
_CLIP = 1e-7
_EXACT = 2.0**62


def deltas(values: np.ndarray, offset: Any) -> np.ndarray:
    """``values - offset`` in double; of integers the difference is taken exactly."""
    if values.dtype.kind in "iu" and np.asarray(offset).dtype.kind in "iu":
        rough = values.astype(np.float64) - np.asarray(offset, np.float64)
        if values.dtype == np.uint64:
            return rough
        with np.errstate(over="ignore"):
            exact = values.astype(np.int64) - np.asarray(offset).astype(np.int64)
        return np.where(np.abs(rough) < _EXACT, exact.astype(np.float64), rough)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float64) - np.asarray(offset, np.float64)


def rounding(values: np.ndarray) -> np.ndarray:
    """By how much float32 misses each value, float64; infinity where it has none so large.

    Of integers exactly, also where doubles would miss them.
    """
    if values.dtype.kind in "iu":
        kind = np.dtype(np.uint64 if values.dtype == np.uint64 else np.int64)
        whole = values.astype(kind)
        top = np.nextafter(float(np.iinfo(kind).max) + 1.0, 0.0)  # the last double below the end
        near = np.minimum(values.astype(np.float32).astype(np.float64), top).astype(kind)
        with np.errstate(over="ignore"):
            return np.where(whole > near, whole - near, near - whole).astype(np.float64)
    double = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs(double - values.astype(np.float32).astype(np.float64))


def shortest(values: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The numbers of fewest decimals within ``room`` of each value, float64.

    With half the distance between neighbours in float32 as the room, that is the number as float32
    writes it: 0.3 for 0.30000001192092896.
    """
    numbers = values.copy()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        finest = np.ceil(-np.log10(room))
        for more in (1, 0, -1):  # the last that fits is the shortest
            decimals = np.clip(finest + more, -300, 300)
            up, down = 10.0 ** np.maximum(decimals, 0), 10.0 ** np.maximum(-decimals, 0)
            near = np.where(decimals > 0, np.rint(values * up) / up, np.rint(values / down) * down)
            fits = np.isfinite(near) & (np.abs(decimals) <= 22) & (np.abs(near - values) <= room)
            numbers = np.where(fits, near, numbers)
    return numbers


@dataclass(frozen=True)
class Numbers:
    """How a column of numbers, truth values or times is read.

    The feature is ``(x - offset) / scale``, what is missing ``fill``; where ``indicator``, a
    second feature says what is missing. ``quantiles`` map the feature to a standard normal one.
    ``marks`` are the decimal mark and the one between thousands with which numbers were written in
    a file, where that is not usual. ``grain`` is what all times were whole numbers of ("D", "h",
    "m", "s", ...): those that come back are rounded to it.
    """

    name: str
    kind: ColumnKind
    raw: str = ""
    zone: str = ""
    style: str = ""
    unit: str = ""
    offset: int | float = 0
    scale: float = 1.0
    fill: float = 0.0
    indicator: bool = False
    quantiles: tuple[float, ...] = ()
    constant: bool = False
    marks: str = ""
    grain: str = ""

    @classmethod
    def learn(cls, name: str, column: Column, *, quantiles: bool = False) -> "Numbers":
        """From the training rows' entries; infinity is an :class:`IsthmusError`."""
        gaps = column.gaps()
        timely = column.kind in ("time", "duration")
        unit = np.datetime_data(column.values.dtype)[0] if timely else ""
        values = column.values.view(np.int64) if timely else column.values
        present = values[~gaps]
        if column.kind == "boolean":
            present = present.astype(np.float32)
        _finite(name, column, values, gaps)
        about = (name, column.kind, column.raw, column.zone, column.style, unit)
        still = bool((present == present[0]).all())
        how = {"indicator": bool(gaps.any()), "marks": column.marks.pair}
        how["grain"] = _grain(present, unit)
        encoder = cls(*about, **how, constant=still)  # type: ignore[arg-type]
        offset = present[0].item()
        off = deltas(present, offset)
        with np.errstate(over="ignore", invalid="ignore"):
            most = float(np.abs(off).max()) or 1.0  # so that no square is too large or small
            mean, std = float((off / most).mean() * most), float((off / most).std() * most)
        if timely or (std > 0 and float(rounding(present).max()) > LOSS * std):
            whole = present.dtype.kind == "i"
            center = offset + (round(mean) if whole else mean)
            scaled = timely or not _SMALL < std < _LARGE
            encoder = replace(encoder, offset=center, scale=std if scaled and std > 0 else 1.0)
        off = encoder._features(present)
        encoder = replace(encoder, fill=float(np.median(off)))
        if quantiles and not encoder.constant and column.kind != "boolean":
            number = min(QUANTILES, len(off))
            marks = np.quantile(off, np.linspace(0.0, 1.0, number))
            encoder = replace(encoder, quantiles=tuple(np.maximum.accumulate(marks).tolist()))
        return encoder

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return [self.name, f"{self.name} missing"] if self.indicator else [self.name]

    @property
    def truths(self) -> list[bool]:
        """Which of the features are 0 or 1 alone."""
        return [self.kind == "boolean", True][: len(self.features)]

    @property
    def is_plain(self) -> bool:
        """Whether the feature is the column itself."""
        changed = self.offset != 0 or self.scale != 1.0 or self.indicator or self.quantiles
        return not changed and self.kind not in ("time", "duration")

    def _features(self, values: np.ndarray) -> np.ndarray:
        if self.offset == 0 and self.scale == 1.0:
            return values.astype(np.float64)
        return deltas(values, self.offset) / self.scale

    def _in_unit(self, values: np.ndarray) -> np.ndarray:
        """Times in the unit of those fitted to; an error where that does not hold them."""
        kind = values.dtype.kind
        times = values.astype(f"{kind}8[{self.unit}]")
        # NumPy wraps what is too large: nanoseconds end in 2262.
        present = ~np.isnat(values)
        second = f"{kind}8[s]"
        off = (times[present].astype(second) - values[present].astype(second)).astype(np.int64)
        if (np.abs(off) > 1).any() and self.unit not in ("Y", "M", "W", "D", "h", "m"):
            wrong = values[present][np.abs(off) > 1][0]
            raise IsthmusError(
                f"{wrong} in the column {self.name!r} is too far from the times that the model was "
                f"fitted to, which are stored in {self.unit}: leave the row out, or fit to times "
                "in microseconds"
            )
        return times

    def put(self, column: Column, into: np.ndarray) -> int:
        """Write the features of rows ``(rows, width)``, and count what was missing there."""
        gaps = column.gaps()
        values = column.values
        if self.unit and values.dtype.kind in "mM":
            values = self._in_unit(values).view(np.int64)
        _finite(self.name, column, values, gaps)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.quantiles:
                into[:, 0] = self._normal(self._features(values))
            elif self.offset == 0 and self.scale == 1.0:
                into[:, 0] = values
            else:
                into[:, 0] = self._features(values)
        number = int(gaps.sum())
        if number:
            fill = self.fill if not self.quantiles else self._normal(np.array([self.fill]))[0]
            into[gaps, 0] = fill
        if self.indicator:
            into[:, 1] = gaps
        odd = np.flatnonzero(~np.isfinite(into[:, 0]))
        if len(odd):
            raise IsthmusError(
                f"row {odd[0]} holds {column.values[odd[0]]} in the column {self.name!r}, "
                "which is too far from what the model was fitted to: correct or empty it"
            )
        return number

    def _normal(self, x: np.ndarray) -> np.ndarray:
        """By the quantiles to a standard normal, as scikit-learn's QuantileTransformer does."""
        from scipy.special import ndtri

        marks = np.array(self.quantiles)
        shares = np.linspace(0.0, 1.0, len(marks))
        up = np.interp(x, marks, shares)
        down = np.interp(-x, -marks[::-1], -shares[::-1])
        share = 0.5 * (up - down)
        share[x <= marks[0]] = 0.0
        share[x >= marks[-1]] = 1.0
        far = float(ndtri(1.0 - _CLIP))
        return np.clip(ndtri(np.clip(share, _CLIP, 1.0 - _CLIP)), -far, far)

    def restored(self, rows: np.ndarray) -> Column:
        """The column of features ``(rows, width)``, float64."""
        x = rows[:, 0]
        if self.constant:
            x = np.full(len(rows), self.fill)
        elif self.quantiles:
            from scipy.special import ndtr

            marks = np.array(self.quantiles)
            share = ndtr(x)
            # What _normal clips stands for the first and the last mark.
            share = np.where(share <= _CLIP * 1.01, 0.0, share)
            share = np.where(share >= 1.0 - _CLIP * 1.01, 1.0, share)
            x = np.interp(share, np.linspace(0.0, 1.0, len(marks)), marks)
        gaps = rows[:, 1] > 0.5 if self.indicator else np.zeros(len(rows), bool)
        missing = gaps if gaps.any() else None
        if self.kind == "boolean":
            return Column("boolean", x > 0.5, missing, raw=self.raw)
        coarse = np.spacing(np.abs(x).astype(np.float32)).astype(np.float64) * self.scale
        x = x * self.scale
        if self.kind == "number":
            values = x + self.offset
            if not self.constant:
                values = shortest(values, coarse / 2)
            values[gaps] = np.nan
            return Column("number", values, raw=self.raw)
        whole = np.rint(np.clip(np.nan_to_num(x), -_EXACT, _EXACT)).astype(np.int64)
        with np.errstate(over="ignore"):
            whole = whole + np.int64(int(self.offset))
            if self.grain:
                step = _steps(self.grain, self.unit)
                whole = whole + step // 2 - (whole + step // 2) % step
        if self.kind == "integer":
            return Column("integer", whole, missing, raw=self.raw)
        letter = "M" if self.kind == "time" else "m"
        times = whole.view(f"{letter}8[{self.unit}]").copy()
        times[gaps] = np.array("NaT", times.dtype)
        return Column(self.kind, times, raw=self.raw, zone=self.zone, style=self.style)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :meth:`from_dict` reads it back."""
        plain = {k: v for k, v in asdict(self).items() if k == "name" or v not in ("", ())}
        return plain if not self.quantiles else {**plain, "quantiles": list(self.quantiles)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Numbers":
        """Read what :meth:`to_dict` wrote."""
        return cls(**{"name": "", **plain, "quantiles": tuple(plain.get("quantiles", ()))})


_GRAINS = ("D", "h", "m", "s", "ms", "us")


def _steps(grain: str, unit: str) -> int:
    """How often the unit goes into the grain; 0 where it does not."""
    if unit not in (*_GRAINS[1:], "ns"):
        return 0
    return int(np.timedelta64(1, grain) // np.timedelta64(1, unit))  # type: ignore[call-overload]


def _grain(times: np.ndarray, unit: str) -> str:
    """The coarsest that all times are whole numbers of; empty where none is above their unit."""
    for grain in _GRAINS:
        step = _steps(grain, unit)
        if step > 1 and not (times % step).any():
            return grain
    return ""


def _finite(name: str, column: Column, values: np.ndarray, gaps: np.ndarray) -> None:
    if column.kind != "number":
        return
    odd = np.flatnonzero(np.isinf(values))
    if len(odd):
        raise IsthmusError(
            f"row {odd[0]} holds infinity in the column {name!r}: correct or empty it, or "
            "leave the row out"
        )
