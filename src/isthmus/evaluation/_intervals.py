"""Intervals that measures share: Wilson's for shares, and the percentile bootstrap over rows."""

import math
from collections.abc import Iterator

import numpy as np

from isthmus.evaluation.result import Z95

DRAWS = 1000
"""Resamples of the bootstrap, unless another number is asked for."""

PIECE = 2**22
"""Counts of resampled rows held at once."""

STILL = "the resamples do not differ, so there is no interval"


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for a share of ``n`` independent rows (Wilson 1927)."""
    share, square = hits / n, Z95**2 / n
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(square * share * (1 - share) + square**2 / 4) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def percentile(
    draws: np.ndarray, value: float, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float] | None:
    """The 95 % percentile interval of resampled values, ``(draws,)``, within [low, high].

    The resamples are moved by the difference of ``value`` and their mean. Plug-in measures such as
    mutual information are biased upwards, and resampling adds that bias once more; unmoved, the
    interval of a small sample lies above its own value. None where the resamples do not differ.
    """
    found = draws[np.isfinite(draws)]
    if len(found) == 0 or found.max() - found.min() <= 1e-12 * max(1.0, abs(value)):
        return None
    ends = np.quantile(found, [0.025, 0.975]) + value - found.mean()
    ends = np.clip(ends, low, high)
    return float(min(ends[0], value)), float(max(ends[1], value))


def blocks(draws: int, rows: int) -> Iterator[int]:
    """How many resamples of ``rows`` rows to hold at once; the sizes add up to ``draws``."""
    size = max(1, PIECE // rows)
    for start in range(0, draws, size):
        yield min(size, draws - start)


def resample(places: np.ndarray, width: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn with replacement, ``(draws, width)``: how many of them lie at each place.

    ``places`` ``(rows,)`` says where each row lies, in [0, width).
    """
    chosen = places[rng.integers(0, len(places), (draws, len(places)))]
    chosen += width * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * width).reshape(draws, width)
