"""What is measured, once for all libraries. Imports nothing but NumPy, for it runs in both
environments.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


def fvu(x: np.ndarray, recon: np.ndarray) -> float:
    """Squared error over the squared distance from the mean row, both ``(rows, d)``."""
    x, recon = np.asarray(x, np.float64), np.asarray(recon, np.float64)
    return float(np.square(x - recon).sum() / np.square(x - x.mean(0)).sum())


def recovered(rows: np.ndarray, directions: np.ndarray, above: float = 0.9) -> int:
    """Unit ``directions`` ``(truths, d)`` with a decoder row ``(width, d)`` of such a cosine."""
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return int(((rows @ directions.T).max(0) > above).sum())


def batches(rows: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of one batch after another, for ever: a fresh permutation each epoch."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(rows)
        for start in range(0, rows - size + 1, size):
            yield np.sort(order[start : start + size])


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % t interval (both ends the mean where there is but one value)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def interval(values: list[float]) -> Interval:
    """The interval of a sample: of paired differences, where pairs are compared."""
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, mean, mean)
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return Interval(mean, mean - half, mean + half)
