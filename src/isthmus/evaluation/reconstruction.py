"""How much of the data is rebuilt: fraction of variance unexplained, squared error."""

import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import flat_rows
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.result import Result

GROUPS = 32
"""Groups of rows that the jackknife leaves out in turn."""


class FVU:
    """Fraction of variance unexplained, streamed: feed batches, then ask for the result.

    The residual sum of squares over the total sum of squares about the mean of *all* rows, summed
    over elements; 1 minus the variance-weighted R². ``per`` is the same ratio for each element, in
    the shape of one row, NaN where an element is constant (whose error still counts in the value).
    The value does not depend on the order or the cutting of the rows.

    The interval is a Student interval from the delete-a-group jackknife for unequal groups
    (Busing, Meijer & van der Leeden 1999, *Statistics and Computing* 9). The first 32 rows found
    one group each (so up to 32 rows it is the delete-one jackknife); later rows are spread by a
    hash of their number, so that sorted data do not make the groups alike.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._data = Moments()
        self._residual: Tensor | None = None
        self._groups: _Groups | None = None

    def update(self, x: Array, recon: Array) -> "FVU":
        """Take in rows ``(rows, *shape)`` and their reconstructions, of the same shape."""
        flat, rebuilt = _pair(x, recon)
        self._shape = tuple(x.shape[1:])
        squared = (flat - rebuilt).square()
        if self._residual is None or self._groups is None:
            self._residual = torch.zeros_like(flat[0])
            self._groups = _Groups(flat[0])
        self._data.update(flat)
        self._residual += squared.sum(0)
        self._groups.update(flat, squared.sum(1))
        return self

    def result(self) -> Result:
        """The fraction so far, with its interval."""
        if self._residual is None or self._groups is None:
            raise IsthmusError("no rows have been seen: update with at least one row")
        constant = self._data.constant()
        total = np.where(constant, 0.0, self._data.m2)
        residual = self._residual.cpu().numpy()
        per = np.full(total.shape, np.nan)
        np.divide(residual, total, out=per, where=total > 0)
        value, interval, note = math.nan, None, ""
        if not total.sum() > 0:
            note = "the data do not vary, so there is no variance to explain"
        elif not np.isfinite(residual).all():
            note = "the reconstruction contains NaN or infinity"
        else:
            value = float(residual.sum() / total.sum())
            interval = self._groups.interval(value)
            if constant.any():
                note = f"{int(constant.sum())} constant elements have no fraction of their own"
        how = "jackknife 95 % interval over groups of rows" if interval else "no interval"
        return Result(
            "fvu",
            value,
            False,
            interval,
            self._data.count,
            f"residual over total sum of squares about the mean of all rows, float64; {how}",
            "fraction",
            per.reshape(self._shape),
            note,
        )


class MaskedFVU:
    """The same fraction over observed entries only, streamed; without an interval.

    Every element has its own mean, over the rows in which it was observed.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    def update(self, x: Tensor, recon: Tensor, seen: Tensor) -> "MaskedFVU":
        """Take in rows, their reconstructions and what of them was observed, all of one shape."""
        where = torch.zeros((), dtype=torch.float64, device=x.device)
        values = torch.where(seen, x.double(), where).flatten(1)
        error = torch.where(seen, (x - recon).double(), where).flatten(1)
        if self._sums is None:
            self._shape = tuple(x.shape[1:])
            self._origin = values.sum(0) / seen.flatten(1).sum(0).clamp_min(1)
            self._sums = values.new_zeros(4, values.shape[1])
        centred = torch.where(seen.flatten(1), values - self._origin, where)
        self._sums += torch.stack(
            [seen.flatten(1).sum(0), centred.sum(0), centred.square().sum(0), error.square().sum(0)]
        )
        return self

    def result(self) -> Result:
        """The fraction so far."""
        if self._sums is None:
            raise IsthmusError("no rows have been seen: update with at least one row")
        count, first, second, residual = self._sums.cpu().numpy()
        total = second - first**2 / np.maximum(count, 1)
        per = np.full(total.shape, np.nan)
        np.divide(residual, total, out=per, where=total > 0)
        value = float(residual.sum() / total.sum()) if total.sum() > 0 else math.nan
        return Result(
            "fvu",
            value,
            False,
            None,
            int(count.max()),
            "residual over total sum of squares of what was observed, about each element's mean "
            "over the rows where it was, float64; no interval",
            "fraction",
            per.reshape(self._shape),
            "" if total.sum() > 0 else "the data do not vary, so there is no variance to explain",
        )


class _Groups:
    """Sums over groups of rows, from which the fraction without one group follows.

    Deviations are from the first row: far nearer to the mean than zero is, for data with a large
    mean, and known before the data are.
    """

    def __init__(self, first: Tensor) -> None:
        self.origin = first.clone()
        self.seen = 0
        self.counts = np.zeros(GROUPS)
        self.deviations = first.new_zeros(GROUPS, len(first))
        self.squares = first.new_zeros(GROUPS)
        self.residuals = first.new_zeros(GROUPS)

    def update(self, x: Tensor, residual: Tensor) -> None:
        groups = group_of_row(self.seen, len(x))
        self.seen += len(x)
        self.counts += np.bincount(groups, minlength=GROUPS)
        member = (
            torch.from_numpy(groups).to(x.device) == torch.arange(GROUPS, device=x.device)[:, None]
        )
        weights = member.to(x.dtype)
        deviation = x - self.origin
        self.deviations += weights @ deviation
        self.squares += weights @ deviation.square().sum(1)
        self.residuals += weights @ residual

    def interval(self, value: float) -> tuple[float, float] | None:
        used = self.counts > 0
        m, n, g = self.counts[used], self.counts.sum(), int(used.sum())
        if g < 3:
            return None
        mask = torch.from_numpy(used).to(self.origin.device)
        rest = (self.deviations.sum(0) - self.deviations[mask]).square().sum(1).cpu().numpy()
        squares = (self.squares.sum() - self.squares[mask]).cpu().numpy()
        residuals = (self.residuals.sum() - self.residuals[mask]).cpu().numpy()
        total = squares - rest / (n - m)
        if not (total > 0).all():
            return None
        without = residuals / total
        h = n / m
        estimate = g * value - ((1 - m / n) * without).sum()
        variance = np.mean((h * value - (h - 1) * without - estimate) ** 2 / (h - 1))
        half = float(stats.t.ppf(0.975, g - 1) * math.sqrt(variance))
        return (max(0.0, value - half), value + half) if math.isfinite(half) else None


def group_of_row(start: int, rows: int) -> np.ndarray:
    """The jackknife group of the rows numbered ``start`` to ``start + rows``, int64."""
    number = np.arange(start, start + rows, dtype=np.uint64)
    mixed = number * np.uint64(0x9E3779B97F4A7C15)  # the multiplier of Fibonacci hashing
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed = mixed >> np.uint64(64 - 5)
    return np.where(number < GROUPS, number, hashed).astype(np.int64)


def fvu(x: Array, recon: Array) -> Result:
    """Fraction of variance unexplained of ``recon`` for ``x``, both ``(rows, *shape)``.

    See :class:`FVU`. Data without variance give NaN with a note; empty data, different shapes and
    data with NaN or infinity are an :class:`IsthmusError`.
    """
    return FVU().update(x, recon).result()


class ErrorPerElement:
    """Mean squared error per element, streamed; ``per`` is the error of each element."""

    def __init__(self, unit: str = "squared units of the data") -> None:
        self._unit = unit
        self._shape: tuple[int, ...] = ()
        self._rows = Moments()
        self._elements = Moments()

    def update(self, x: Array, recon: Array) -> "ErrorPerElement":
        """Take in rows ``(rows, *shape)`` and their reconstructions, of the same shape."""
        flat, rebuilt = _pair(x, recon)
        self._shape = tuple(x.shape[1:])
        squared = (flat - rebuilt).square()
        self._rows.update(squared.mean(1))
        self._elements.update(squared)
        return self

    def result(self) -> Result:
        """The error so far, with its interval."""
        return Result.of_mean(
            "error_per_element",
            self._rows,
            higher_is_better=False,
            what="the mean squared error per element",
            unit=self._unit,
            per=self._elements.mean.reshape(self._shape),
        )


def error_per_element(x: Array, recon: Array) -> Result:
    """Mean squared error per element of ``recon`` for ``x``, both ``(rows, *shape)``.

    ``per`` is the mean squared error of each element, in the shape of one row. Errors as for
    :func:`fvu`.
    """
    return ErrorPerElement().update(x, recon).result()


def _pair(x: Array, recon: Array) -> tuple[Tensor, Tensor]:
    if tuple(x.shape) != tuple(recon.shape):
        raise IsthmusError(
            f"the reconstruction has shape {tuple(recon.shape)} and the data have shape "
            f"{tuple(x.shape)}: pass arrays of the same shape"
        )
    flat, rebuilt = flat_rows(x, "data"), flat_rows(recon, "reconstructions")
    # The mean is finite only where every value is, and is far smaller to look at.
    if not bool(torch.isfinite(flat.mean(0)).all()):
        raise IsthmusError("the data contain NaN or infinity: drop or fill these values first")
    return flat, rebuilt.to(flat.device)
