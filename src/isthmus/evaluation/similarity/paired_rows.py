"""What every measure of similarity takes in: two centred arrays of the same rows."""

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import matrix, same_rows

MOST_ROWS = 10_000
"""Rows of which every pair is compared: two matrices of them take 1.6 GB."""


def paired(a: Array, b: Array, *, least: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 ``(rows, elements)`` and :func:`scaled`, the means of the columns taken off.

    No measure depends on the unit of either array. Fewer than ``least`` rows, other numbers of
    rows, NaN, complex numbers, or an array whose rows are all alike are an
    :class:`~isthmus.errors.IsthmusError`.
    """
    first, second = matrix(a, "first rows", least), matrix(b, "second rows", least)
    same_rows(first, "first rows", second, "second rows")
    return _centred(scaled(first)[0], "first"), _centred(scaled(second)[0], "second")


def scaled(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """The rows over the power of two just above their largest element, and its exponent.

    No digit changes, and squares of numbers of any size can be added up.
    """
    exponent = int(np.frexp(np.abs(rows).max())[1])
    return np.ldexp(rows, -exponent), exponent


def few_enough(rows: int, measure: str) -> None:
    """An error for more rows than every pair of which can be compared."""
    if rows > MOST_ROWS:
        raise IsthmusError(
            f"{measure} compares every pair of rows, and {rows:,} are too many: pass "
            f"{MOST_ROWS:,} of them, drawn at random"
        )


def directions(centred: np.ndarray, variance: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns ``(rows, k)`` that span the centred rows, and their singular values.

    The largest that hold the share ``variance`` of the variance, but none that is rounding.
    """
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    rank = int((sizes > sizes[0] * max(centred.shape) * np.finfo(np.float64).eps).sum())
    held = np.cumsum(sizes**2) / np.sum(sizes**2)
    # The first at which the share is reached, up to rounding; all of it is all of the rank.
    kept = rank if variance >= 1.0 else min(rank, int((held < variance * (1 - 1e-12)).sum()) + 1)
    return left[:, :kept], sizes[:kept]


def _centred(rows: np.ndarray, which: str) -> np.ndarray:
    centred = rows - rows.mean(0)
    if np.abs(centred).max() <= 1e-12 * np.abs(rows).max():
        raise IsthmusError(
            f"the {which} rows are all alike, and are like anything or nothing: pass rows that vary"
        )
    return centred
