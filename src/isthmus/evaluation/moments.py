"""Count, mean and sum of squared deviations of a stream, per element, in float64."""

import numpy as np
from torch import Tensor

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import float64, need_rows


class Moments:
    """Mean and variance of rows that arrive in batches, each element on its own.

    Batches are merged by the pairwise update of Chan, Golub & LeVeque (1983, eq. 2.1), so no sum
    of squares is ever cancelled against a squared mean, and the result does not depend on how the
    rows were cut (to rounding).
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._m2: Tensor | None = None

    def update(self, values: Array) -> "Moments":
        """Take in ``(rows, *shape)``; other shapes than before are an :class:`IsthmusError`."""
        need_rows(values, "values")
        batch = float64(values)
        mean = batch.mean(0)
        return self._take(len(batch), mean, (batch - mean).square().sum(0))

    def merge(self, other: "Moments") -> "Moments":
        """Take in what another accumulator has seen."""
        if other._mean is None or other._m2 is None:
            return self
        return self._take(other.count, other._mean, other._m2)

    def _take(self, count: int, mean: Tensor, m2: Tensor) -> "Moments":
        if self._mean is None or self._m2 is None:
            self.count, self._mean, self._m2 = count, mean.clone(), m2.clone()
            return self
        if mean.shape != self._mean.shape:
            raise IsthmusError(
                f"rows of shape {tuple(mean.shape)} follow rows of shape "
                f"{tuple(self._mean.shape)}: pass rows of one shape"
            )
        total = self.count + count
        delta = mean - self._mean
        self._mean = self._mean + delta * (count / total)
        self._m2 = self._m2 + m2 + delta.square() * (self.count * count / total)
        self.count = total
        return self

    @property
    def mean(self) -> np.ndarray:
        """Mean of each element, ``shape``."""
        return self._state()[0].cpu().numpy()

    @property
    def m2(self) -> np.ndarray:
        """Sum of squared deviations from the mean, of each element, ``shape``."""
        return self._state()[1].cpu().numpy()

    def variance(self, correction: int = 0) -> np.ndarray:
        """Variance of each element; NaN with no more than ``correction`` rows."""
        free = self.count - correction
        return self.m2 / free if free > 0 else np.full(self.m2.shape, np.nan)

    def standard_error(self) -> np.ndarray:
        """Standard error of the mean of each element; NaN with one row."""
        return np.sqrt(self.variance(correction=1) / self.count)

    def constant(self) -> np.ndarray:
        """Which elements never varied, beyond what rounding of the mean can feign."""
        return np.sqrt(self.variance()) <= 1e-14 * np.abs(self.mean)

    def _state(self) -> tuple[Tensor, Tensor]:
        if self._mean is None or self._m2 is None:
            raise IsthmusError("no rows have been seen: update with at least one row")
        return self._mean, self._m2
