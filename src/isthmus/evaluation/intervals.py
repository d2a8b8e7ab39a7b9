"""Intervals that measures share: Wilson's for shares, the percentile bootstrap over rows, the
jackknife over groups of rows, the bootstrap over seeds, and Student's of differences over seeds.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

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
    resamples = draws[np.isfinite(draws)]
    if len(resamples) == 0 or resamples.max() - resamples.min() <= 1e-12 * max(1.0, abs(value)):
        return None
    ends = np.quantile(resamples, [0.025, 0.975]) + value - resamples.mean()
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
    drawn_places = places[rng.integers(0, len(places), (draws, len(places)))]
    drawn_places += width * np.arange(draws)[:, None]
    return np.bincount(drawn_places.ravel(), minlength=draws * width).reshape(draws, width)


def resampled_ratios(above: np.ndarray, below: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """The ratio of the sums over units drawn with replacement, ``(draws,)``.

    ``above`` and ``below`` ``(units,)`` are what each unit adds to both sums. A resample whose
    lower sum is zero gives infinity or NaN.
    """
    rng, units = np.random.default_rng(seed), np.arange(len(above))
    ratios = []
    for size in blocks(draws, len(units)):
        counts = resample(units, len(units), size, rng)
        ratios.append((counts @ above) / (counts @ below))
    return np.concatenate(ratios) if ratios else np.empty(0)


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


EXACT = 6
"""Up to this many seeds all resamples are enumerated."""
SEED_DRAWS = 20_000


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
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all() or numbers.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    if len(numbers) <= EXACT:
        draws = np.array(list(itertools.product(range(len(numbers)), repeat=len(numbers))))
    else:
        draws = np.random.default_rng(0).integers(0, len(numbers), (SEED_DRAWS, len(numbers)))
    means = numbers[draws].mean(1)
    low, high = np.quantile(means, [0.025, 0.975], method="inverted_cdf")
    return Estimate(float(numbers.mean()), float(low), float(high))


def paired(differences: list[float], overlap: float = 0.0) -> Estimate:
    """The mean of paired differences with Student's interval; NaN where a seed's value is.

    Seeds that split the same rows anew share most of their training rows, and their differences
    are not independent: the variance of the mean is then ``s^2 (1/n + overlap)``, with ``overlap``
    the number of test rows divided by that of training rows (Nadeau, Bengio 2003, Inference for
    the generalization error, section 4). A single seed has no interval: from minus infinity to
    infinity.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(numbers).all() or numbers.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    mean, n = float(numbers.mean()), len(numbers)
    if n == 1:
        return Estimate(mean, -math.inf, math.inf)
    half = float(stats.t.ppf(0.975, n - 1)) * math.sqrt(
        float(numbers.var(ddof=1)) * (1.0 / n + overlap)
    )
    return Estimate(mean, mean - half, mean + half)


def student(values: list[float], *, logarithmic: bool = False) -> Estimate:
    """The mean over independent seeds with Student's 95 % interval (n - 1 degrees of freedom).

    With ``logarithmic`` it is taken of the logarithms, as suits ratios: the geometric mean, and an
    interval whose ends are ratios too. NaN where a seed's value is, or where a logarithm is asked
    of a number that is not positive.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not logarithmic:
        return paired(values)
    if numbers.size == 0 or not np.isfinite(numbers).all() or (numbers <= 0).any():
        return Estimate(math.nan, math.nan, math.nan)
    logs = paired(np.log(numbers).tolist())
    with np.errstate(over="ignore"):
        return Estimate(*(float(np.exp(x)) for x in (logs.mean, logs.low, logs.high)))
