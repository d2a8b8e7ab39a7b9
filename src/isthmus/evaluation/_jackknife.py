"""The interval that leaving out groups of rows gives."""

import math

import numpy as np
from scipy import stats


def grouped_interval(
    value: float, without: np.ndarray, counts: np.ndarray
) -> tuple[float, float] | None:
    """A 95 % Student interval from the delete-a-group jackknife for unequal groups.

    ``value`` is the estimate from all rows, ``without`` ``(groups,)`` the estimates that leave one
    group out each, ``counts`` ``(groups,)`` the rows of each group (Busing, Meijer & van der
    Leeden 1999, *Statistics and Computing* 9). None with fewer than three groups, or where an
    estimate is not finite.
    """
    groups, rows = len(counts), counts.sum()
    if groups < 3 or not np.isfinite(without).all():
        return None
    h = rows / counts
    estimate = groups * value - ((1 - counts / rows) * without).sum()
    pseudo = h * value - (h - 1) * without - estimate
    half = float(stats.t.ppf(0.975, groups - 1) * math.sqrt(np.mean(pseudo**2 / (h - 1))))
    return (value - half, value + half) if math.isfinite(half) else None
