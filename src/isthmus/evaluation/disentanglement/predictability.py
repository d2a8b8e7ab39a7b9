"""Separated attribute predictability: is each factor predicted by one latent alone?"""

from typing import Any, Literal, get_args

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.disentanglement.factors import (
    Discrete,
    Table,
    left_out,
    nan_mean,
    notes,
    tables,
)
from isthmus.evaluation.disentanglement.score_matrix import gaps
from isthmus.evaluation.result import Result

Classifier = Literal["thresholds", "svm"]


def sap(
    codes: Array,
    factors: Array,
    *,
    classifier: Classifier = "thresholds",
    adjusted: bool = True,
    discrete_factors: Discrete = None,
    seed: int = 0,
) -> Result:
    """Separated attribute predictability: 1 where one latent alone predicts each factor.

    Kumar, Sattigeri & Balakrishnan (2018, arXiv:1711.00848, sec. 3): each factor is predicted from
    each latent by itself; the mean over factors of the best score less the second best. The score
    is the squared correlation for continuous factors, and the balanced accuracy for discrete ones.

    codes
        ``(rows, latents)``, taken as numbers.
    factors
        ``(rows, factors)`` or ``(rows,)``; see :func:`mig` for what counts as discrete.
    classifier
        "thresholds": a decision tree on the latent with as many leaves as the factor has values:
        the thresholds of the paper, chosen greedily. "svm": the linear support vector machine of
        Locatello et al. (2019), C = 0.01 with balanced classes, which on one latent cannot tell
        the middle ones of three or more values from their neighbours.
    adjusted
        Count accuracy from chance, (accuracy - 1/K) / (1 - 1/K) for K values and not below 0, so
        that a perfect code gives 1. False leaves it as published: 1 - 1/K at best.
    seed
        Accuracies are from rows that the classifier has not seen: the rows are halved by ``seed``
        and each half predicted from the other.

    ``per`` is the gap of each factor, NaN where it is constant; ``n`` is the number of rows. No
    interval. The same seed gives the same value in any order of the rows. A single latent is
    compared with 0; constant codes give 0. An unknown classifier, values that are not finite, rows
    that do not match and fewer than four rows are an :class:`IsthmusError`.
    """
    if classifier not in get_args(Classifier):
        raise unknown("classifier", classifier, get_args(Classifier))
    z, v = tables(codes, factors, None, discrete_factors)
    rows = len(v.values)
    if rows < 4:
        raise IsthmusError(f"{rows} rows are too few to halve: pass four")
    scores = np.zeros((len(z.discrete), len(v.discrete)))
    first = np.random.default_rng(seed).permutation(rows) % 2 == 0
    alive = np.flatnonzero(~z.constant)
    for j in np.flatnonzero(~v.constant).tolist():
        scores[alive, j] = (
            _accuracies(z, v, j, alive, first, classifier, adjusted)
            if v.discrete[j]
            else _squared_correlations(z, v, j)[alive]
        )
    per = np.where(v.constant, np.nan, gaps(scores))
    how = "a tree of thresholds" if classifier == "thresholds" else "a linear SVM (C = 0.01)"
    return Result(
        "sap",
        nan_mean(per),
        True,
        None,
        rows,
        f"mean over factors of the gap between the two best latents in two-fold balanced accuracy "
        f"of {how}{', counted from chance' if adjusted else ''} (squared correlation for "
        "continuous factors); no interval",
        "fraction",
        per,
        notes(
            left_out(v.constant, "constant factors"),
            "all codes are constant" if not len(alive) else "",
            "one latent only, compared with 0" if len(z.discrete) == 1 else "",
        ),
    )


def _squared_correlations(z: Table, v: Table, factor: int) -> np.ndarray:
    squared_correlations: np.ndarray = (
        z.standardised.T @ v.standardised[:, factor] / len(z.values)
    ) ** 2
    return squared_correlations


def _accuracies(
    z: Table,
    v: Table,
    factor: int,
    alive: np.ndarray,
    first: np.ndarray,
    classifier: Classifier,
    adjusted: bool,
) -> np.ndarray:
    y = np.unique(v.values[:, factor], return_inverse=True)[1]
    values, accuracies = int(y.max()) + 1, np.zeros(len(alive))
    for place, latent in enumerate(alive):
        x, guess = z.standardised[:, [latent]], np.empty_like(y)
        for fitted in (first, ~first):
            guess[~fitted] = _guess(classifier, x[fitted], y[fitted], x[~fitted], values)
        accuracies[place] = np.mean(
            [(guess[y == label] == label).mean() for label in range(values)]
        )
    return np.maximum((accuracies - 1 / values) / (1 - 1 / values), 0) if adjusted else accuracies


def _guess(
    classifier: Classifier, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, values: int
) -> np.ndarray:
    if np.ptp(y) == 0:
        return np.full(len(x_test), y[0])
    # Slow to import, and only this needs it.
    from sklearn.svm import LinearSVC
    from sklearn.tree import DecisionTreeClassifier

    model: Any
    if classifier == "thresholds":
        model = DecisionTreeClassifier(
            max_leaf_nodes=values, class_weight="balanced", random_state=0
        )
    else:
        model = LinearSVC(C=0.01, class_weight="balanced", dual=False)
    return model.fit(x, y).predict(x_test)
