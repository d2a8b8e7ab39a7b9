"""Disentanglement, completeness, informativeness: from the importances of fitted predictors."""

import warnings
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.disentanglement.factors import (
    Discrete,
    held_out,
    left_out,
    nan_mean,
    notes,
    tables,
)
from isthmus.evaluation.disentanglement.score_matrix import concentration
from isthmus.evaluation.result import Result

Predictor = Literal["boosted", "forest", "lasso"]

TREES = 100
"""Trees of a forest, or boosting steps."""

_HOW = {
    "boosted": f"gradient-boosted trees ({TREES} of depth 3)",
    "forest": f"random forests ({TREES} trees, all latents at each split)",
    "lasso": "lasso regression (penalty by 5-fold cross-validation)",
}


class DCI(NamedTuple):
    """Three results; ``per`` is by latent for disentanglement, by factor for the others."""

    disentanglement: Result
    completeness: Result
    informativeness: Result


def dci(
    codes: Array,
    factors: Array,
    *,
    predictor: Predictor = "boosted",
    discrete_factors: Discrete = None,
    seed: int = 0,
) -> DCI:
    """Eastwood and Williams' three scores, of predictors of each factor from all latents.

    Eastwood & Williams (2018, *ICLR*). Each factor is predicted from the codes; R[i, j] is how
    important latent i is for factor j. *Disentanglement* of a latent is 1 less the entropy of its
    normalised importances over factors, the mean weighted by the latents' importance;
    *completeness* of a factor is 1 less the entropy over latents, plain mean (the same as the
    weighted one for trees, whose importances sum to 1 for each factor); *informativeness* is how
    well the predictor does on held-out rows: the accuracy for discrete factors, R² (not below 0)
    for continuous ones, mean over factors. Chance informativeness is the share of the commonest
    value, and noise has disentanglement and completeness near 0.

    codes
        ``(rows, latents)``, taken as numbers.
    factors
        ``(rows, factors)`` or ``(rows,)``; see :func:`mig` for what counts as discrete.
    predictor
        "boosted": scikit-learn's gradient-boosted trees with their impurity importances, as in
        Locatello et al. (2019); "forest": random forests, and "lasso": the lasso on standardised
        codes, whose importances are absolute coefficients, as in the paper. The lasso takes
        discrete factors for the numbers of their sorted values, and its informativeness is R².
        Boosted trees take one tree a step for each value of a factor: for factors of many values
        and thousands of rows the forest is much faster.
    seed
        Decides the split (two thirds of the rows are fitted on) and the trees.

    ``n`` is the number of rows, all of them. No intervals. The same seed gives the same values in
    any order of the rows. Constant factors are left out; disentanglement is NaN where fewer than
    two factors vary, completeness where there is one latent, all three where no factor varies.
    Constant codes give 0 for the first two. An unknown predictor, values that are not finite, rows
    that do not match and fewer than nine rows are an :class:`IsthmusError`.
    """
    if predictor not in get_args(Predictor):
        raise unknown("predictor", predictor, get_args(Predictor))
    z, v = tables(codes, factors, None, discrete_factors)
    rows, varied = len(v.values), np.flatnonzero(~v.constant)
    if rows < 9:
        raise IsthmusError(f"{rows} rows are too few to fit and to test predictors: pass nine")
    train, test = held_out(rows, seed)
    x = z.standardised
    importance = np.zeros((x.shape[1], len(varied)))
    informed = np.full(len(v.discrete), np.nan)
    for place, factor in enumerate(varied):
        y = v.values[:, factor]
        labelled = bool(v.discrete[factor]) and predictor != "lasso"
        if v.discrete[factor]:
            y = np.unique(y, return_inverse=True)[1]
        if np.ptp(y[train]) == 0:
            continue
        model = _fitted(predictor, labelled, x[train], y[train], seed)
        importance[:, place] = _importances(model)
        guess = model.predict(x[test])
        informed[factor] = _accuracy(y[test], guess) if labelled else _explained(y[test], guess)
    of_latents, of_factors = concentration(importance), concentration(importance.T)
    by_latent = importance.sum(axis=1)
    completeness = np.full(len(v.discrete), np.nan)
    if x.shape[1] > 1:
        completeness[varied] = np.nan_to_num(of_factors)
    note = notes(left_out(v.constant, "constant factors"))
    how = f"importances of {_HOW[predictor]} fitted on {len(train)} rows"
    return DCI(
        _result(
            "dci_disentanglement",
            _weighted(of_latents, by_latent, len(varied)),
            of_latents,
            rows,
            f"1 less the entropy over factors of {how}, mean over latents weighted by importance",
            notes(note, "fewer than two factors vary" if len(varied) < 2 else ""),
        ),
        _result(
            "dci_completeness",
            nan_mean(completeness),
            completeness,
            rows,
            f"1 less the entropy over latents of {how}, mean over factors",
            notes(note, "one latent only" if x.shape[1] == 1 else ""),
        ),
        _result(
            "dci_informativeness",
            nan_mean(informed),
            informed,
            rows,
            f"{_measured(predictor)} of {_HOW[predictor]} on {len(test)} held-out rows, mean over "
            "factors",
            note,
        ),
    )


def _result(
    name: str, value: float, per: np.ndarray, rows: int, estimator: str, note: str
) -> Result:
    return Result(name, value, True, None, rows, f"{estimator}; no interval", "fraction", per, note)


def _measured(predictor: Predictor) -> str:
    return "R²" if predictor == "lasso" else "accuracy (R² for continuous factors)"


def _fitted(predictor: Predictor, labelled: bool, x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    # Slow to import, and only this needs it.
    from sklearn import ensemble
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LassoCV

    model: Any
    if predictor == "lasso":
        model = LassoCV(cv=min(5, len(x)))
    elif predictor == "forest":
        # At sqrt(latents) a split, the default for classes, noise would be important by default.
        kind = ensemble.RandomForestClassifier if labelled else ensemble.RandomForestRegressor
        model = kind(n_estimators=TREES, max_features=None, random_state=seed)
    else:
        boosted = (
            ensemble.GradientBoostingClassifier if labelled else ensemble.GradientBoostingRegressor
        )
        model = boosted(n_estimators=TREES, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)


def _importances(model: Any) -> np.ndarray:
    return np.abs(model.coef_ if hasattr(model, "coef_") else model.feature_importances_)


def _accuracy(y: np.ndarray, guess: np.ndarray) -> float:
    return float((y == guess).mean())


def _explained(y: np.ndarray, guess: np.ndarray) -> float:
    total = ((y - y.mean()) ** 2).sum()
    return max(0.0, float(1 - ((y - guess) ** 2).sum() / total)) if total > 0 else float("nan")


def _weighted(of_latents: np.ndarray, weights: np.ndarray, factors: int) -> float:
    if factors < 2:
        return float("nan")
    kept = weights > 0
    return float(np.average(of_latents[kept], weights=weights[kept])) if kept.any() else 0.0
