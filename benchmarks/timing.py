"""Interleaved timing of several ways to do the same work, and ratios with their spread."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Arm = Callable[[], float]
"""Does a fixed amount of work and returns its seconds, setting up excluded."""


@dataclass(frozen=True)
class Ratio:
    """``arm`` over ``base``: the median of the paired ratios, and their range."""

    arm: str
    base: str
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.arm} / {self.base}: {self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interleave(arms: dict[str, Arm], rounds: int) -> dict[str, list[float]]:
    """Seconds of each arm in each round; a round runs every arm once, its order rotating.

    A first round warms up and is dropped.
    """
    names, seconds = list(arms), {name: [] for name in arms}
    for turn in range(rounds + 1):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            taken = arms[name]()
            if turn:
                seconds[name].append(taken)
    return seconds


def ratio(seconds: dict[str, list[float]], arm: str, base: str) -> Ratio:
    """Paired within rounds; the spread is the middle half of the rounds."""
    pairs = sorted(a / b for a, b in zip(seconds[arm], seconds[base], strict=True))
    quarter = len(pairs) // 4
    return Ratio(arm, base, statistics.median(pairs), pairs[quarter], pairs[-1 - quarter])


def clock(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
