"""What every measure returns: a value with its interval, its direction and its estimator."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.evaluation.moments import Moments

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal."""


@dataclass(frozen=True, eq=False)
class Result:
    """One measured number.

    ``interval`` is a 95 % confidence interval, None where there is none; ``estimator`` says how
    both were found. ``n`` is the number of rows seen. ``higher_is_better`` is None where neither
    direction is. ``per`` holds the same measure for each dimension, element or position, or what
    the docstring of the measure says. ``note`` is a sentence about this very value, such as why
    it is NaN.
    """

    name: str
    value: float
    higher_is_better: bool | None
    interval: tuple[float, float] | None
    n: int
    estimator: str
    unit: str = ""
    per: np.ndarray | None = None
    note: str = ""

    @classmethod
    def of_mean(
        cls,
        name: str,
        moments: Moments,
        *,
        higher_is_better: bool | None,
        what: str,
        unit: str = "",
        per: np.ndarray | None = None,
        note: str = "",
    ) -> "Result":
        """The mean over rows of a scalar, with the normal interval from its standard error.

        ``what`` describes the scalar, for the estimator.
        """
        value = float(moments.mean)
        half = Z95 * float(moments.standard_error())
        interval = (value - half, value + half) if math.isfinite(half) else None
        how = "normal 95 % interval from the standard error"
        return cls(
            name,
            value,
            higher_is_better,
            interval,
            moments.count,
            f"mean over rows of {what}; {how if interval else 'no interval'}",
            unit,
            per,
            note if math.isfinite(value) else _joined(note, "the values are not all finite"),
        )

    @property
    def arrow(self) -> str:
        """``↑`` where higher is better, ``↓`` where lower is, else ``·``."""
        return {True: "↑", False: "↓", None: "·"}[self.higher_is_better]

    def to_dict(self, *, per: bool = True) -> dict[str, Any]:
        """Plain types that ``json.dumps(..., allow_nan=False)`` takes: NaN and infinity are None.

        ``per=False`` leaves the array out.
        """
        plain: dict[str, Any] = {
            "name": self.name,
            "value": _plain(self.value),
            "higher_is_better": self.higher_is_better,
            "interval": None if self.interval is None else [_plain(v) for v in self.interval],
            "n": self.n,
            "estimator": self.estimator,
            "unit": self.unit,
            "note": self.note,
        }
        if per:
            plain["per"] = None if self.per is None else _plain(self.per.tolist())
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Result":
        """Read what :meth:`to_dict` wrote; None among numbers is read as NaN."""
        low_high, per = plain["interval"], plain.get("per")
        return cls(
            plain["name"],
            _number(plain["value"]),
            plain["higher_is_better"],
            None if low_high is None else (_number(low_high[0]), _number(low_high[1])),
            plain["n"],
            plain["estimator"],
            plain["unit"],
            None if per is None else np.array(per, dtype=np.float64),
            plain["note"],
        )

    def __str__(self) -> str:
        parts = [f"{self.name} {self.arrow} {self.value:.4g}"]
        if self.unit:
            parts.append(self.unit)
        if self.interval is not None:
            parts.append(f"[{self.interval[0]:.4g}, {self.interval[1]:.4g}]")
        parts.append(f"(n = {self.n}; {self.estimator})")
        return " ".join(parts) + (f": {self.note}" if self.note else "")


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
