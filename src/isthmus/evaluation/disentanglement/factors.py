"""Codes and factors as checked columns, in an order of rows that does not depend on the caller's.

Some measures split the rows or draw from them. Sorting the rows first, by factors and then by
codes, makes every draw a function of the *set* of rows: rows that tie in all columns are equal, so
that no value depends on the order in which they came.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError

REPEATS = 5
"""Floating-point columns whose values occur this often on average count as discrete."""

N_BINS = 20
"""Equal-width bins of a continuous column, as in Locatello et al. (2019, arXiv:1811.12359)."""

TRAIN_SHARE = 2 / 3
"""Share of the rows that predictors are fitted on (10,000 of 15,000 in Locatello et al. 2019)."""

Discrete = bool | Sequence[bool] | None
"""One answer for all columns, one for each, or None to find out."""


@dataclass(frozen=True)
class Table:
    """Columns ``values`` (rows, columns), float64, and which of them are ``discrete``."""

    values: np.ndarray
    discrete: np.ndarray

    def labels(self, n_bins: int) -> np.ndarray:
        """Labels 0, 1, ... of each column ``(rows, columns)``: its values, or equal-width bins."""
        columns = [
            column if discrete else _binned(column, n_bins)
            for column, discrete in zip(self.values.T, self.discrete, strict=True)
        ]
        return np.stack([np.unique(c, return_inverse=True)[1] for c in columns], axis=1)

    @property
    def constant(self) -> np.ndarray:
        """Which columns hold one value only, ``(columns,)``."""
        return np.ptp(self.values, axis=0) == 0

    @property
    def standardised(self) -> np.ndarray:
        """The columns at mean 0 and variance 1, constant ones at 0."""
        scale = self.values.std(axis=0)
        scaled: np.ndarray = (self.values - self.values.mean(axis=0)) / np.where(
            self.constant, 1, scale
        )
        return np.where(self.constant, 0, scaled)


def tables(
    codes: Array, factors: Array, discrete_codes: Discrete, discrete_factors: Discrete
) -> tuple[Table, Table]:
    """Codes and factors, checked and with their rows sorted together."""
    z, v = table(codes, "codes", discrete_codes), table(factors, "factors", discrete_factors)
    if len(z.values) != len(v.values):
        raise IsthmusError(
            f"there are {len(z.values)} rows of codes and {len(v.values)} of factors: pass the "
            "factors of the rows that were encoded"
        )
    order = row_order(z.values, v.values)
    return Table(z.values[order], z.discrete), Table(v.values[order], v.discrete)


def table(values: Array, what: str, discrete: Discrete) -> Table:
    """One checked array ``(rows, columns)``, or ``(rows,)`` for a single column."""
    plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    plain = plain[:, None] if plain.ndim == 1 else plain
    if plain.ndim != 2 or 0 in plain.shape:
        raise IsthmusError(
            f"the {what} have the shape {tuple(plain.shape)}: pass (rows, columns), one or more "
            "of each"
        )
    whole = plain.dtype.kind in "biu"
    if plain.dtype.kind in "OSU":
        # Names: their places in the sorted order stand for them.
        plain = np.stack([np.unique(c.astype(str), return_inverse=True)[1] for c in plain.T], 1)
        whole = True
    # Adding 0 turns -0 into 0, so that equal values have equal bits.
    numbers = plain.astype(np.float64) + 0.0
    if not np.isfinite(numbers).all():
        raise IsthmusError(f"the {what} hold values that are not finite: drop those rows")
    if discrete is None:
        discrete_columns = np.array([whole or _repeats(column) for column in numbers.T])
    else:
        discrete_columns = np.array(discrete, dtype=bool)
        if discrete_columns.ndim == 0:
            discrete_columns = np.full(numbers.shape[1], bool(discrete_columns))
        if discrete_columns.shape != (numbers.shape[1],):
            raise IsthmusError(
                f"discrete_{what} has {discrete_columns.size} answers for {numbers.shape[1]} "
                "columns: pass one for each, or one for all"
            )
    return Table(numbers, discrete_columns)


def row_order(minor: np.ndarray, major: np.ndarray) -> np.ndarray:
    """The order that sorts rows by the columns of ``major``, then of ``minor``."""
    keys = np.concatenate([minor[:, ::-1], major[:, ::-1]], axis=1)
    return np.lexsort(keys.T)


def held_out(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to fit on and to test on, of rows in canonical order."""
    order = np.random.default_rng(seed).permutation(rows)
    cut = round(rows * TRAIN_SHARE)
    return order[:cut], order[cut:]


def active(codes: Table, threshold: float) -> np.ndarray:
    """Latents whose standard deviation is above ``threshold`` times the largest, ``(latents,)``."""
    scale = np.where(codes.constant, 0, codes.values.std(axis=0))
    return scale > threshold * scale.max()


def need_bins(n_bins: int) -> None:
    """An error where there are fewer than two bins."""
    if n_bins < 2:
        raise IsthmusError(f"n_bins is {n_bins}: pass two or more")


def notes(*parts: str) -> str:
    """The parts that say something, as one note."""
    return "; ".join(part for part in parts if part)


def left_out(mask: np.ndarray, what: str) -> str:
    """A note on how many columns were left out and why, empty for none."""
    count = int(mask.sum())
    return f"{count} {what} left out" if count else ""


def nan_mean(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN where nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _repeats(column: np.ndarray) -> bool:
    return len(np.unique(column)) * REPEATS <= len(column)


def _binned(column: np.ndarray, n_bins: int) -> np.ndarray:
    width = np.ptp(column)
    if width == 0:
        return np.zeros(len(column))
    return np.minimum(np.floor((column - column.min()) / width * n_bins), n_bins - 1)
