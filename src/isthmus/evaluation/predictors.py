"""The predictors that probes fit: linear ones for a path of strengths, and nearest neighbours."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from isthmus.evaluation.distances import nearest

MOST_STEPS = 1000
"""Steps of L-BFGS at most for one strength."""


@contextmanager
def converging() -> Iterator[None]:
    """Within the block scikit-learn does not warn of a fit that stopped short of its optimum."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def logistic(
    rows: np.ndarray, numbers: np.ndarray, strengths: Sequence[float], queries: np.ndarray
) -> tuple[list[np.ndarray], bool]:
    """Predicted class numbers ``(queries,)`` for each strength, and whether all fits converged.

    Multinomial logistic regression: mean cross-entropy plus ``strength / 2`` times the squared
    weights, without the intercept. Each fit starts from the one before.
    """
    # Slow to import, and only this needs it.
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=MOST_STEPS, warm_start=True)
    predicted, steps = [], 0
    with converging():  # said in the result's note instead
        for strength in strengths:
            model.C = 1 / (len(rows) * strength)
            predicted.append(model.fit(rows, numbers).predict(queries))
            steps = max(steps, int(model.n_iter_.max()))
    return predicted, steps < MOST_STEPS


def hyperplane(rows: np.ndarray, on: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Weights ``(elements,)`` and intercept of a logistic probe of bool ``on``, units of ``rows``.

    It is fitted to standardised rows: mean cross-entropy plus ``strength / 2`` times the squared
    weights, without the intercept. A row is taken to be on where ``row @ weights + intercept > 0``.
    """
    # Slow to import, and only this needs it.
    from sklearn.linear_model import LogisticRegression

    mean, std = rows.mean(0), rows.std(0)
    std = np.where(std > 1e-12 * np.abs(mean), std, 1.0)
    model = LogisticRegression(C=1 / (len(rows) * strength), solver="newton-cholesky")
    with converging():
        model.fit((rows - mean) / std, on)
    weights = model.coef_[0] / std
    return weights, float(model.intercept_[0] - mean @ weights)


def ridge(
    rows: np.ndarray, values: np.ndarray, strengths: Sequence[float], queries: np.ndarray
) -> tuple[list[np.ndarray], bool]:
    """Predicted values ``(queries,)`` for each strength; the fits are exact, hence True.

    Mean squared error plus ``strength`` times the squared weights, without the intercept.
    """
    middle, level = rows.mean(0), values.mean()
    centred = rows - middle
    spread, axes = np.linalg.eigh(centred.T @ centred / len(rows))
    along = axes.T @ (centred.T @ (values - level)) / len(rows)
    onto = (queries - middle) @ axes
    spread = np.maximum(spread, 0)
    return [level + onto @ (along / (spread + strength)) for strength in strengths], True


def neighbour_votes(
    rows: np.ndarray, numbers: np.ndarray, ks: Sequence[int], queries: np.ndarray
) -> tuple[list[np.ndarray], bool]:
    """Most frequent class among the k nearest rows, for each k; ties go to the nearer class."""
    labels = numbers[nearest(queries, rows, max(ks))[1]]
    each = np.arange(len(queries))[:, None]
    predicted = []
    for k in ks:
        votes = np.zeros((len(queries), int(numbers.max()) + 1), dtype=np.int32)
        np.add.at(votes, (each, labels[:, :k]), 1)
        leads = (votes == votes.max(1, keepdims=True))[each, labels[:, :k]]
        predicted.append(labels[each[:, 0], leads.argmax(1)])
    return predicted, True


def neighbour_means(
    rows: np.ndarray, values: np.ndarray, ks: Sequence[int], queries: np.ndarray
) -> tuple[list[np.ndarray], bool]:
    """Mean value of the k nearest rows, for each k."""
    neighbour_values = values[nearest(queries, rows, max(ks))[1]]
    return [neighbour_values[:, :k].mean(1) for k in ks], True
