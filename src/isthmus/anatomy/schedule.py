"""Numbers that change during a run: weights of terms, capacities, learning rates.

A schedule is a function of the clock alone, so a resumed run needs nothing stored.
"""

import math
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Clock:
    """Where a run stands: ``step`` of ``total`` (the first step is 0).

    ``rows`` is how many rows the run trains on, 0 outside a run.
    """

    step: int = 0
    total: int = 1
    rows_per_step: int = 0
    rows: int = 0

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.total))


class Schedule:
    """A number as a function of the clock.

    ``of_clock`` is False for one that follows something else, such as what was measured: losses
    of two moments are then not in the same units.
    """

    of_clock: ClassVar[bool] = True

    def __call__(self, clock: Clock) -> float:
        raise NotImplementedError

    def __mul__(self, factor: float) -> "Schedule":
        # Anything but a number (a term, say) knows better how to take a schedule as its weight.
        return _Scaled(self, factor) if isinstance(factor, (int, float)) else NotImplemented

    __rmul__ = __mul__


@dataclass(frozen=True)
class Constant(Schedule):
    """Always ``value``."""

    value: float

    def __call__(self, clock: Clock) -> float:
        return self.value


@dataclass(frozen=True)
class _Scaled(Schedule):
    inner: Schedule
    factor: float

    def __call__(self, clock: Clock) -> float:
        return self.factor * self.inner(clock)

    @property
    def of_clock(self) -> bool:  # type: ignore[override]
        return self.inner.of_clock


@dataclass(frozen=True)
class Linear(Schedule):
    """From ``start`` to ``end`` in a straight line over ``steps`` steps, then constant.

    A run shorter than that compresses the ramp to ``fit`` of its length, so that a schedule
    published for a long run still reaches its end; ``fit=None`` keeps ``steps`` as they are.
    """

    start: float
    end: float
    steps: int
    fit: float | None = 0.8

    def __call__(self, clock: Clock) -> float:
        steps = self.steps
        if self.fit is not None:
            steps = min(steps, max(1, int(self.fit * clock.total)))
        share = min(1.0, clock.step / max(1, steps))
        return self.start + (self.end - self.start) * share


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from ``start`` to ``end`` over the whole run."""

    start: float
    end: float

    def __call__(self, clock: Clock) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * clock.progress))


@dataclass(frozen=True)
class Stairs(Schedule):
    """``values[i]`` until the share ``edges[i]`` of the run is done; one more value than edges."""

    values: tuple[float, ...]
    edges: tuple[float, ...]

    def __call__(self, clock: Clock) -> float:
        passed = sum(clock.progress >= edge for edge in self.edges)
        return self.values[passed]


def as_schedule(value: "float | Schedule") -> Schedule:
    """A schedule from a number or a schedule."""
    return value if isinstance(value, Schedule) else Constant(float(value))
