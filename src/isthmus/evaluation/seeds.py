"""Means over seeds and their intervals: of one method by the bootstrap, of differences by t."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

EXACT = 6
"""Up to this many seeds all resamples are enumerated."""
_DRAWS = 20_000


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval; both NaN where a seed's value is."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "undefined"
        if self.low == self.high:
            return f"{self.mean:.4g}"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def over_seeds(values: list[float]) -> Estimate:
    """The mean and its percentile bootstrap interval (Efron 1979), resampling seeds.

    Up to six seeds all resamples are enumerated, so the interval is exact; with three it is
    the range of the seeds. Differences within a seed are paired, since whole seeds are resampled.
    """
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all() or found.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    if len(found) <= EXACT:
        draws = np.array(list(itertools.product(range(len(found)), repeat=len(found))))
    else:
        draws = np.random.default_rng(0).integers(0, len(found), (_DRAWS, len(found)))
    means = found[draws].mean(1)
    low, high = np.quantile(means, [0.025, 0.975], method="inverted_cdf")
    return Estimate(float(found.mean()), float(low), float(high))


def paired(differences: list[float], overlap: float = 0.0) -> Estimate:
    """The mean of paired differences with Student's interval; NaN where a seed's value is.

    Seeds that split the same rows anew share most of their training rows, and their differences
    are not independent: the variance of the mean is then ``s^2 (1/n + overlap)``, with ``overlap``
    the number of test rows divided by that of training rows (Nadeau, Bengio 2003, Inference for
    the generalization error, section 4). A single seed has no interval: from minus infinity to
    infinity.
    """
    found = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(found).all() or found.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    mean, n = float(found.mean()), len(found)
    if n == 1:
        return Estimate(mean, -math.inf, math.inf)
    from scipy.stats import t

    half = float(t.ppf(0.975, n - 1)) * math.sqrt(float(found.var(ddof=1)) * (1.0 / n + overlap))
    return Estimate(mean, mean - half, mean + half)
