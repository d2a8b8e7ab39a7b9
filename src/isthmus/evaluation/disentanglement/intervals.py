"""Intervals for measures that are cheap to compute again without some of the rows."""

from collections.abc import Callable

import numpy as np

from isthmus.evaluation.intervals import grouped_interval

GROUPS = 20
"""Groups of rows that the jackknife leaves out in turn."""

HOW = f"interval from a delete-a-group jackknife over {GROUPS} groups of rows"


def intervals(
    statistic: Callable[[np.ndarray], np.ndarray], values: np.ndarray, rows: int
) -> list[tuple[float, float] | None]:
    """A 95 % interval within [0, 1] for each of ``values``, None where there is none.

    ``statistic`` maps a mask of the rows kept to the values that they give. A jackknife, as the
    bootstrap's repeated rows would add to the upward bias of mutual information. Rows must be in
    canonical order; they are dealt to the groups by a permutation that depends on their number
    alone.
    """
    groups = min(GROUPS, rows)
    group = np.random.default_rng(0).permutation(rows) % groups
    if groups < 3:
        return [None] * len(values)
    without = np.array([statistic(group != g) for g in range(groups)])
    counts = np.bincount(group, minlength=groups)
    spans = [
        grouped_interval(float(value), column, counts)
        for value, column in zip(values, without.T, strict=True)
    ]
    return [None if i is None else (max(0.0, i[0]), min(1.0, i[1])) for i in spans]


def said(interval: tuple[float, float] | None) -> str:
    """How the interval was found, for the estimator."""
    return HOW if interval else "no interval"
