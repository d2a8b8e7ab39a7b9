"""Modularity and explicitness: does a latent carry one factor, and are factors read linearly?"""

import warnings

import numpy as np

from isthmus.anatomy import Array
from isthmus.evaluation.disentanglement.factors import (
    N_BINS,
    Discrete,
    held_out,
    left_out,
    nan_mean,
    need_bins,
    notes,
    tables,
)
from isthmus.evaluation.disentanglement.information import label_information
from isthmus.evaluation.disentanglement.intervals import intervals, said
from isthmus.evaluation.result import Result

_STEPS = 500


def modularity(
    codes: Array,
    factors: Array,
    *,
    n_bins: int = N_BINS,
    discrete_codes: Discrete = None,
    discrete_factors: Discrete = None,
) -> Result:
    """Ridgeway and Mozer's modularity: 1 where every latent depends on one factor at most.

    Ridgeway & Mozer (2018, arXiv:1802.05312, sec. 3): for each latent 1 less the squared mutual
    information with all factors but its best, over that of its best and the number of other
    factors; the mean over latents. Information as in :func:`mig`. It is high for noise too: what a
    latent of pure noise shares with the factors is as uneven as chance makes it.

    Arguments, detection of discrete columns and errors as for :func:`mig`. ``per`` is the
    modularity of each latent, NaN where it is constant (left out, as are constant factors) and 0
    where it shares nothing with any factor; ``n`` is the number of rows. The interval is from a
    jackknife. Constant codes give 0; a single factor that varies gives NaN, as there is no other
    that a latent might depend on.
    """
    need_bins(n_bins)
    z, v = tables(codes, factors, discrete_codes, discrete_factors)
    latents, labels = z.labels(n_bins), v.labels(n_bins)[:, ~v.constant]
    alive = ~z.constant

    def statistic(kept: np.ndarray) -> np.ndarray:
        return np.array([nan_mean(_of_latents(latents[kept][:, alive], labels[kept]))])

    per = np.full(len(alive), np.nan)
    value, interval = float("nan"), None
    if labels.shape[1] > 1:
        value = 0.0
        if alive.any():
            per[alive] = _of_latents(latents[:, alive], labels)
            value = nan_mean(per)
            (interval,) = intervals(statistic, np.array([value]), len(labels))
    return Result(
        "modularity",
        value,
        True,
        interval,
        len(labels),
        f"mean over latents of 1 less the squared mutual information outside the best factor, "
        f"plug-in estimate with {n_bins} bins of equal width for continuous columns; "
        f"{said(interval)}",
        "fraction",
        per,
        notes(
            "fewer than two factors vary" if labels.shape[1] < 2 else "",
            left_out(z.constant, "constant latents"),
            left_out(v.constant, "constant factors"),
        ),
    )


def explicitness(
    codes: Array,
    factors: Array,
    *,
    n_bins: int = N_BINS,
    discrete_factors: Discrete = None,
    seed: int = 0,
) -> Result:
    """Ridgeway and Mozer's explicitness: how well a linear classifier reads each value, as AUROC.

    Ridgeway & Mozer (2018, arXiv:1802.05312, sec. 3): a multinomial logistic regression of each
    factor on the standardised codes (scikit-learn, C = 1), fitted on two thirds of the rows; on
    the rest the area under the ROC curve of each value against all others, mean over values, then
    over factors. 1 is perfect and 0.5 chance. Codes are taken as numbers, discrete or not.

    Arguments and errors as for :func:`mig`; continuous factors are cut into ``n_bins`` bins.
    ``seed`` decides the split. ``per`` is the score of each factor, NaN where it is constant or
    none of its values can be tested; ``n`` is the number of rows, all of them. No interval. NaN
    where no factor can be tested.
    """
    need_bins(n_bins)
    z, v = tables(codes, factors, None, discrete_factors)
    labels = v.labels(n_bins)
    train, test = held_out(len(labels), seed)
    x = z.standardised
    per = np.array([_area(x[train], y[train], x[test], y[test]) for y in labels.T])
    return Result(
        "explicitness",
        nan_mean(per),
        True,
        None,
        len(labels),
        f"one-against-rest AUROC of multinomial logistic regression on {len(test)} held-out rows, "
        "mean over values and factors; no interval",
        "AUROC",
        per,
        left_out(np.isnan(per), "factors that are constant or cannot be tested"),
    )


def _of_latents(latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    squared = label_information(latents, labels) ** 2
    best = squared.max(axis=1)
    others = squared.sum(axis=1) - best
    deviation = others / np.where(best > 0, best, 1) / (labels.shape[1] - 1)
    scores: np.ndarray = np.where(best > 0, 1 - deviation, 0)
    return scores


def _area(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    # Slow to import, and only this needs it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    known = np.unique(y)
    if len(known) < 2:
        return float("nan")
    with warnings.catch_warnings():
        # A separable factor has no finite optimum to converge to soon; its areas are settled.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(max_iter=_STEPS).fit(x, y)
    chance = model.predict_proba(x_test)
    areas = [
        roc_auc_score(y_test == label, chance[:, place])
        for place, label in enumerate(known)
        if 0 < (y_test == label).sum() < len(y_test)
    ]
    return float(np.mean(areas)) if areas else float("nan")
