"""Do scores rank anomalies above normal rows?

Scores come with either sign: scikit-learn's ``score_samples`` and ``Autoencoder.score`` are higher
for *normal* rows, PyOD's ``decision_function`` and reconstruction errors are higher for
*anomalous* ones. Every measure here asks which.
"""

import math
from collections.abc import Callable

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import classes, matrix, plain, same_rows, vector, whole
from isthmus.evaluation.distances import nearest
from isthmus.evaluation.intervals import DRAWS, STILL, blocks, percentile, resample
from isthmus.evaluation.result import Z95, Result


def auroc(scores: Array, labels: Array, *, higher_is_anomalous: bool) -> Result:
    """Chance that an anomaly scores as more anomalous than a normal row; ties count half.

    ``scores`` ``(rows,)`` are real; ``labels`` ``(rows,)`` are 1 or True for anomalies, else 0.
    ``higher_is_anomalous`` states the sign of the scores: False for ``model.score``, True for
    reconstruction errors. In [0, 1]; 0.5 is chance, whatever the share of anomalies.

    The interval is DeLong's (DeLong, DeLong & Clarke-Pearson 1988, by the mid-ranks of Sun & Xu
    2014), on the logit scale. Where that variance is 0 (classes that do not overlap, one row of a
    class) it is Newcombe's score interval (2006, method 5, with Hanley & McNeil's variance).

    Labels of one class, equal scores and NaN are an :class:`IsthmusError`.
    """
    from scipy.stats import rankdata

    score, anomalous = _checked(scores, labels, higher_is_anomalous)
    high, low = score[anomalous], score[~anomalous]
    m, n = len(high), len(low)
    ranks = rankdata(np.concatenate([high, low]))
    # For each row, the share of the other class that it is on the right side of.
    of_high = (ranks[:m] - rankdata(high)) / n
    of_low = 1 - (ranks[m:] - rankdata(low)) / m
    value = float(of_high.mean())
    variance = of_high.var(ddof=1) / m + of_low.var(ddof=1) / n if min(m, n) > 1 else 0.0
    if variance > 0 and 0 < value < 1:
        logit, half = math.log(value / (1 - value)), Z95 * math.sqrt(variance)
        half /= value * (1 - value)
        interval = 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
        how = "DeLong's 95 % interval on the logit scale"
    else:
        interval = _newcombe(value, m, n), 1 - _newcombe(1 - value, m, n)
        how = "Newcombe's 95 % score interval (method 5)"
    how = f"area under the ROC curve by mid-ranks; {how}"
    return Result("auroc", value, True, interval, m + n, how, "", None, _counts(anomalous))


def _newcombe(value: float, m: int, n: int) -> float:
    """The lower end: the area that lies just Z95 of its own standard errors under ``value``."""
    from scipy.optimize import brentq

    if value == 0:
        return 0.0
    size = (m + n) / 2 - 1

    def slack(area: float) -> float:
        spread = 1 + size * ((1 - area) / (2 - area) + area / (1 + area))
        return value - area - Z95 * math.sqrt(area * (1 - area) * spread / (m * n))

    return float(brentq(slack, 0, value * (1 - 1e-9)))


def average_precision(
    scores: Array,
    labels: Array,
    *,
    higher_is_anomalous: bool,
    draws: int = DRAWS,
    seed: int = 0,
) -> Result:
    """Mean of the precision at each anomaly, from the most anomalous down; ties move as one.

    The sum over thresholds of (gain in recall) x precision, without interpolation, as
    scikit-learn's. Chance is the share of anomalies. Arguments and errors as for :func:`auroc`.
    The interval resamples rows within each class ``draws`` times (percentile).
    """
    ranked = _Ranked(scores, labels, higher_is_anomalous)

    def measure(anomalies: np.ndarray, rows: np.ndarray) -> np.ndarray:
        below = anomalies.cumsum(1)
        seen = np.maximum(rows.cumsum(1), 1)
        return (anomalies * (below / seen)).sum(1) / below[:, -1]

    how = "sum of recall gained x precision over distinct scores"
    return ranked.result("average_precision", measure, how, draws, seed)


def precision_at_n(
    scores: Array,
    labels: Array,
    *,
    higher_is_anomalous: bool,
    n: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Result:
    """Share of anomalies among the ``n`` most anomalous rows; ``n`` is by default their number.

    By default it equals the recall at the same cut (R-precision). Rows that tie at the cut count
    by the share of anomalies among them, the expectation over every order of them. Chance is the
    share of anomalies. Arguments, interval and errors as for :func:`average_precision`.
    """
    ranked = _Ranked(scores, labels, higher_is_anomalous)
    cut = ranked.positives if n is None else whole(n, "n", 1, ranked.rows)

    def measure(anomalies: np.ndarray, rows: np.ndarray) -> np.ndarray:
        true_positives, seen = anomalies.cumsum(1), rows.cumsum(1)
        each = np.arange(len(rows))
        at = (seen < cut).sum(1)
        over = (seen[each, at] - cut) / rows[each, at]
        return (true_positives[each, at] - over * anomalies[each, at]) / cut

    how = f"share of anomalies among the {cut} most anomalous rows, ties by expectation"
    return ranked.result("precision_at_n", measure, how, draws, seed)


_Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


class _Ranked:
    """Distinct scores from the most anomalous down, and which of them each row has."""

    def __init__(self, scores: Array, labels: Array, higher_is_anomalous: bool) -> None:
        score, anomalous = _checked(scores, labels, higher_is_anomalous)
        distinct, place = np.unique(-score, return_inverse=True)
        self.distinct, self.rows = len(distinct), len(score)
        self.positives = int(anomalous.sum())
        # Sorted, so that the order in which rows were given changes no resample.
        self._anomalies, self._normal = np.sort(place[anomalous]), np.sort(place[~anomalous])
        self._note = _counts(anomalous)

    def result(self, name: str, measure: _Measure, how: str, draws: int, seed: int) -> Result:
        """``measure`` of (anomalies, rows) at each distinct score, and its bootstrap interval."""
        whole(draws, "draws", 0)
        anomalies = np.bincount(self._anomalies, minlength=self.distinct)[None]
        normal = np.bincount(self._normal, minlength=self.distinct)[None]
        value = float(measure(anomalies, anomalies + normal)[0])
        resampled = self._resampled(measure, draws, seed)
        interval = percentile(resampled, value, 0, 1)
        ends = f"95 % percentile bootstrap over rows within each class, {draws} resamples"
        how = f"{how}; {ends if interval else 'no interval'}"
        note = self._note + (f"; {STILL}" if draws and interval is None else "")
        return Result(name, value, True, interval, self.rows, how, "", None, note)

    def _resampled(self, measure: _Measure, draws: int, seed: int) -> np.ndarray:
        rng, values = np.random.default_rng(seed), [np.empty(0)]
        for size in blocks(draws, self.rows):
            anomalies = resample(self._anomalies, self.distinct, size, rng)
            normal = resample(self._normal, self.distinct, size, rng)
            values.append(measure(anomalies, anomalies + normal))
        return np.concatenate(values)


def _checked(
    scores: Array, labels: Array, higher_is_anomalous: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which higher is more anomalous, and which rows are anomalies."""
    if not isinstance(higher_is_anomalous, bool):
        raise IsthmusError("higher_is_anomalous states the sign of the scores: pass True or False")
    score = vector(scores, "scores")
    names, number = classes(labels, "labels")
    same_rows(score, "scores", number, "labels")
    if names.dtype.kind not in "biuf" or not np.isin(names, (0, 1)).all():
        raise IsthmusError("the labels are not 0 and 1: pass 1 for anomalies and 0 for normal rows")
    if len(names) < 2:
        only = "anomalies" if names[0] else "normal rows"
        raise IsthmusError(f"the labels name only {only}: pass rows of both kinds")
    if score.min() == score.max():
        raise IsthmusError(
            f"all scores equal {score[0]:g} and rank nothing: score with a model that tells rows "
            "apart"
        )
    return score if higher_is_anomalous else -score, names[number] == 1


def _counts(anomalous: np.ndarray) -> str:
    return f"{int(anomalous.sum())} of {len(anomalous)} rows are anomalies"


def mean_shift(X: Array, *, k: int = 10, rounds: int = 3, data: Array | None = None) -> np.ndarray:
    """Rows moved ``rounds`` times to the mean of their ``k`` nearest neighbours in the data.

    x^0 = x, and x^m is the mean of the k rows of ``data`` nearest to x^(m-1) (Euclidean): the
    preprocessing of Yang, Rahardja & Fränti (2021, *Pattern Recognition* 115), as Tan et al. (2023,
    arXiv:2304.00709) score with it. Outliers move far; ``X - mean_shift(X)`` by itself is the score
    of mean-shift outlier detection (MOD).

    X
        Rows ``(rows, *shape)``.
    data
        The rows to look among, ``(others, *shape)``; ``X`` itself where None, and then row i is
        never a neighbour of its own. The data stay where they are; in MOD they move along, which
        is ``rounds`` calls with ``rounds=1``, each on the result of the last.
    k
        The papers tune it for each data set; 10 is a default of this library.

    Returns float64 of the shape of ``X``. NaN, rows of another length, or a ``k`` of more than the
    neighbours there are is an :class:`IsthmusError`. Scale columns first: distances mix them.
    """
    rows = matrix(X, "rows")
    others = rows if data is None else matrix(data, "data")
    if rows.shape[1] != others.shape[1]:
        raise IsthmusError(
            f"rows of {rows.shape[1]} elements have no neighbours among data of "
            f"{others.shape[1]}: pass rows of one length"
        )
    whole(rounds, "rounds", 1)
    whole(k, "k", 1, len(others) - (data is None))
    for _ in range(rounds):
        rows = others[nearest(rows, others, k, own=data is None)[1]].mean(1)
    return rows.reshape(plain(X).shape)
