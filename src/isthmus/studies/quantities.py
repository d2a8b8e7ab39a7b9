"""Quantities that checks are about: one number a seed, with its own text and its null."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import CodeType

from isthmus.errors import IsthmusError

Figures = Mapping[str, Mapping[str, float]]
"""What one seed measured: for each arm, its measures by name."""

EXTREMES = frozenset({
    "min", "max", "amin", "amax", "nanmin", "nanmax", "minimum", "maximum", "fmin", "fmax",
    "argmin", "argmax", "nanargmin", "nanargmax", "sort", "sorted", "argsort", "quantile",
    "percentile", "nlargest", "nsmallest",
})  # fmt: skip
"""Functions that make a quantity a best-of or a worst-of, as far as names can tell."""


@dataclass(frozen=True)
class Quantity:
    """One number of every seed, and the value that it has where there is no effect.

    text
        What it is, in words a reader can check the figures against.
    of
        The number, from one seed's figures. Taken within a seed, differences are paired.
    null
        Its value where there is no effect: 0 for a difference, 1 for a ratio.
    logarithmic
        Averaged over seeds in the logarithm, as ratios are.
    swap
        The same quantity with another arm in place of the method: how controls are measured.
    """

    text: str
    of: Callable[[Figures], float]
    null: float = 0.0
    logarithmic: bool = False
    swap: Callable[[str], "Quantity"] | None = None

    def __call__(self, figures: Figures) -> float:
        """The number of one seed; NaN where it is undefined.

        An :class:`IsthmusError` where the figures have no such arm or measure.
        """
        try:
            return float(self.of(figures))
        except KeyError as missing:
            raise IsthmusError(
                f"{self.text!r} wants {missing}, which the experiment does not measure: its arms "
                f"are {', '.join(figures)}"
            ) from None
        except (ArithmeticError, ValueError, TypeError):
            return math.nan

    def named(self, text: str) -> "Quantity":
        """The same with another text."""
        return replace(self, text=text)

    def in_logs(self) -> "Quantity":
        """The same, averaged over seeds in the logarithm: for a measure that is a ratio itself."""
        swap = self.swap
        return replace(
            self, logarithmic=True, swap=None if swap is None else lambda arm: swap(arm).in_logs()
        )

    def for_arm(self, arm: str) -> "Quantity":
        """The same with ``arm`` in place of the method; a ValueError where it has no such form."""
        if self.swap is None:
            raise ValueError(f"{self.text!r} is a function: give its control as a quantity")
        return self.swap(arm)

    @property
    def is_extreme(self) -> bool:
        """Whether it is the best or the worst of several numbers, which noise alone moves."""
        return any(EXTREMES & set(code.co_names) for code in _codes(self.of))


def _codes(function: Callable[..., object]) -> Iterator[CodeType]:
    """The code of a function, of those within it, and of those that it closes over or calls.

    Of the functions that it calls, those of this package and of the function's own count.
    """
    ours = ("isthmus", _package(function))
    waiting: list[object] = [function]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, CodeType):
            yield one
            waiting += [inner for inner in one.co_consts if isinstance(inner, CodeType)]
            continue
        code = getattr(one, "__code__", None)
        if code is not None and _package(one) in ours:
            waiting.append(code)
            waiting += [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
            known = getattr(one, "__globals__", {})
            waiting += [known[name] for name in code.co_names if callable(known.get(name))]


def _package(function: object) -> str:
    return (getattr(function, "__module__", None) or "").partition(".")[0]


Measures = str | Sequence[str]


def _several(measures: Measures) -> tuple[str, ...]:
    return (measures,) if isinstance(measures, str) else tuple(measures)


def _listed(measures: Measures) -> str:
    names = _several(measures)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def ratio(measures: Measures, arm: str, to: str) -> Quantity:
    """A measure of ``arm`` divided by that of ``to``; of several measures the geometric mean.

    It is undefined where a measure is not positive.
    """
    names = _several(measures)

    def value(figures: Figures) -> float:
        logs = [math.log(figures[arm][m]) - math.log(figures[to][m]) for m in names]
        return math.exp(sum(logs) / len(logs))

    text = f"{_listed(measures)} of {arm} divided by that of {to}"
    return Quantity(text, value, 1.0, logarithmic=True, swap=lambda a: ratio(measures, a, to))


def less(measures: Measures, arm: str, than: str) -> Quantity:
    """A measure of ``arm`` less that of ``than``; of several measures the mean."""
    names = _several(measures)

    def value(figures: Figures) -> float:
        return sum(figures[arm][m] - figures[than][m] for m in names) / len(names)

    text = f"{_listed(measures)} of {arm}, less that of {than}"
    return Quantity(text, value, swap=lambda a: less(measures, a, than))


def apart(measure: str, arm: str, to: str) -> Quantity:
    """How far a measure of ``arm``, divided by that of ``to``, is from 1: whether they match."""
    return Quantity(
        f"{measure} of {arm}, relative to {to}, from 1",
        lambda figures: abs(figures[arm][measure] / figures[to][measure] - 1.0),
    )


def value(measure: str, arm: str, null: float = 0.0) -> Quantity:
    """A measure of one arm by itself, such as a slope; ``null`` is its value without an effect."""
    return Quantity(
        f"{measure} of {arm}",
        lambda figures: figures[arm][measure],
        null,
        swap=lambda a: value(measure, a, null),
    )


def quantity(
    text: str, of: Callable[[Figures], float], *, null: float = 0.0, logarithmic: bool = False
) -> Quantity:
    """Any other number, as a function of one seed's figures."""
    return Quantity(text, of, null, logarithmic)
