"""Do clusters agree with known classes?"""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import classes, same_rows, whole
from isthmus.evaluation.intervals import DRAWS, STILL, blocks, percentile
from isthmus.evaluation.result import Result

LARGEST_TABLE = 4096**2
"""Cluster-class pairs that an assignment is solved for."""


class _Table:
    """How often each cluster meets each class: the pairs that occur, and their counts."""

    def __init__(self, assigned: Array, labels: Array) -> None:
        clusters, cluster = classes(assigned, "assigned clusters")
        self.names, label = classes(labels, "labels")
        same_rows(cluster, "assigned clusters", label, "labels")
        if len(self.names) < 2:
            raise IsthmusError(
                "the labels name one class only: pass rows of two classes or more, or there is "
                "nothing to agree with"
            )
        self.rows, self.clusters = len(label), len(clusters)
        self.numbers = cluster, label
        pairs, counts = np.unique(cluster * len(self.names) + label, return_counts=True)
        self.cluster, self.label = np.divmod(pairs, len(self.names))
        self.counts = counts.astype(np.float64)

    def resampled(
        self, measure: Callable[[np.ndarray], np.ndarray], draws: int, seed: int
    ) -> np.ndarray:
        """``measure`` of resampled counts ``(some draws, pairs)``: one value for each draw.

        Resampling rows moves the counts of the pairs as a multinomial does, so rows are not drawn
        one by one.
        """
        whole(draws, "draws", 0)
        rng = np.random.default_rng(seed)
        share, values = self.counts / self.rows, [np.empty(0)]
        for size in blocks(draws, len(share)):
            values.append(measure(rng.multinomial(self.rows, share, size).astype(np.float64)))
        return np.concatenate(values)

    def margins(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows in each cluster and in each class, from counts ``(draws, pairs)``."""
        # Pairs are sorted by cluster and then by class, and every cluster and class has one.
        firsts = np.searchsorted(self.cluster, np.arange(self.clusters))
        order = np.argsort(self.label, kind="stable")
        starts = np.searchsorted(self.label[order], np.arange(len(self.names)))
        by_class = np.add.reduceat(counts[:, order], starts, axis=1)
        return np.add.reduceat(counts, firsts, axis=1), by_class


def clustering_accuracy(
    assigned: Array, labels: Array, *, draws: int = DRAWS, seed: int = 0
) -> Result:
    """Share of rows whose cluster stands for their class, under the best one-to-one pairing.

    ``assigned`` and ``labels`` are ``(rows,)``, integers or strings; the names of the clusters do
    not matter, and there may be more or fewer clusters than classes (rows of clusters without a
    class count as wrong). The pairing is the assignment of Kuhn (1955), as Xie, Girshick & Farhadi
    (2016, eq. 10) use it. ``per`` is the share of each class that is found, in the sorted order of
    the labels. The interval resamples rows ``draws`` times and keeps the pairing. In [0, 1];
    chance is at least the share of the largest class over the number of clusters.

    Labels of one class, missing labels and more than 4096 x 4096 pairs are an
    :class:`IsthmusError`.
    """
    table = _Table(assigned, labels)
    width = len(table.names)
    if table.clusters * width > LARGEST_TABLE:
        raise IsthmusError(
            f"{table.clusters} clusters and {width} classes exceed the {LARGEST_TABLE} pairs that "
            "an assignment is solved for: pass labels, not measurements"
        )
    dense = np.zeros((table.clusters, width))
    dense[table.cluster, table.label] = table.counts
    left, right = linear_sum_assignment(dense, maximize=True)
    partner = np.full(table.clusters, -1)
    partner[left] = right
    true_positives, of_class = np.zeros(width), dense.sum(0)
    true_positives[right] = dense[left, right]
    value = float(true_positives.sum() / table.rows)
    hit = partner[table.cluster] == table.label
    resampled = table.resampled(lambda counts: counts[:, hit].sum(1) / table.rows, draws, seed)
    how = "share of rows in the cluster assigned to their class (Hungarian)"
    return _result(
        "clustering_accuracy", value, resampled, table.rows, how, 0, true_positives / of_class
    )


def nmi(assigned: Array, labels: Array, *, draws: int = DRAWS, seed: int = 0) -> Result:
    """Mutual information of clusters and classes over the mean of their entropies.

    Strehl & Ghosh (2002) with the arithmetic mean, scikit-learn's default. Arguments and errors as
    for :func:`clustering_accuracy`. In [0, 1]: 1 for equal partitions, 0 for one cluster. Not
    corrected for chance: noise scores above 0, more so with more clusters; see :func:`ari`.
    """
    table = _Table(assigned, labels)
    # Slow to import, and only this needs it.
    from sklearn.metrics import normalized_mutual_info_score

    cluster, label = table.numbers
    value = float(normalized_mutual_info_score(label, cluster))

    def measure(counts: np.ndarray) -> np.ndarray:
        of_cluster, of_class = table.margins(counts)
        n = table.rows
        joint, first, second = (_entropy(c / n) for c in (counts, of_cluster, of_class))
        mean = (first + second) / 2
        return np.divide(first + second - joint, mean, out=np.ones(len(counts)), where=mean > 0)

    how = "mutual information over the mean of both entropies"
    return _result("nmi", value, table.resampled(measure, draws, seed), table.rows, how, 0)


def _entropy(share: np.ndarray) -> np.ndarray:
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logs).sum(1)


def ari(assigned: Array, labels: Array, *, draws: int = DRAWS, seed: int = 0) -> Result:
    """Adjusted Rand index: agreement on pairs of rows, 1 for equal partitions, 0 for chance.

    Hubert & Arabie (1985). Arguments and errors as for :func:`clustering_accuracy`. At least -0.5.
    """
    table = _Table(assigned, labels)
    # Slow to import, and only this needs it.
    from sklearn.metrics import adjusted_rand_score

    cluster, label = table.numbers
    value = float(adjusted_rand_score(label, cluster))
    pairs = math.comb(table.rows, 2)

    def measure(counts: np.ndarray) -> np.ndarray:
        of_cluster, of_class = table.margins(counts)
        both, first, second = (_pairs(c) for c in (counts, of_cluster, of_class))
        chance, most = first * second / pairs, (first + second) / 2
        out = np.ones(len(counts))
        return np.divide(both - chance, most - chance, out=out, where=most != chance)

    how = "Rand index adjusted for chance (Hubert & Arabie)"
    return _result("ari", value, table.resampled(measure, draws, seed), table.rows, how, -0.5)


def _pairs(counts: np.ndarray) -> np.ndarray:
    return (counts * (counts - 1)).sum(1) / 2


def _result(
    name: str,
    value: float,
    resampled: np.ndarray,
    rows: int,
    how: str,
    low: float,
    per: np.ndarray | None = None,
) -> Result:
    interval = percentile(resampled, value, low, 1)
    ends = f"95 % percentile bootstrap over rows, {len(resampled)} resamples"
    estimator = f"{how}; {ends if interval else 'no interval'}"
    note = STILL if len(resampled) and interval is None else ""
    return Result(name, value, True, interval, rows, estimator, "", per, note)
