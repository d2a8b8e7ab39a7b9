"""InfoMEC: modularity, explicitness and compactness from information."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import sparse

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.disentanglement.factors import (
    N_BINS,
    Discrete,
    Table,
    left_out,
    nan_mean,
    need_bins,
    notes,
    tables,
)
from isthmus.evaluation.disentanglement.information import (
    entropies,
    label_information,
    neighbour_information,
)
from isthmus.evaluation.disentanglement.intervals import intervals, said
from isthmus.evaluation.disentanglement.score_matrix import dominance
from isthmus.evaluation.result import Result

NEIGHBOURS = 10
"""Nearest neighbours of the information estimate for continuous codes (Hsu et al. 2023)."""

RANGE_SHARE = 1 / 20
"""Continuous latents whose range is at most this share of the largest are left out."""

_STEPS = 100


class InfoMEC(NamedTuple):
    """Three results; ``per`` is by latent for modularity, by factor for the others."""

    modularity: Result
    explicitness: Result
    compactness: Result


def infomec(
    codes: Array,
    factors: Array,
    *,
    neighbours: int = NEIGHBOURS,
    n_bins: int = N_BINS,
    corrected: bool = True,
    discrete_codes: Discrete = None,
    discrete_factors: Discrete = None,
) -> InfoMEC:
    """InfoM, InfoE and InfoC: the modularity, explicitness and compactness of a code.

    Hsu et al. (2023, Disentanglement via Latent Quantization, arXiv:2305.18378, sec. 4). With
    NMI[i, j] the mutual information of latent i and factor j over the factor's entropy:

    - InfoM = (mean over latents of max_j NMI / sum_j NMI - 1/f) / (1 - 1/f) for f factors;
    - InfoC = (mean over factors of max_i NMI / sum_i NMI - 1/l) / (1 - 1/l) for l active latents;
    - InfoE = mean over factors of 1 - CE / CE0, where CE is the cross-entropy of an unpenalised
      multinomial logistic regression with balanced classes (at most 100 steps of L-BFGS), fitted
      and measured on the same rows, and CE0 that of the best constant: log K for K values.

    Information is by counts for discrete latents, and by ``neighbours`` nearest neighbours for
    continuous ones. The counts' bias, which grows with values times levels over rows, lies on
    every entry and so lowers InfoM and InfoC, by 0.1 to 0.2 with 432 rows of 10 values and 6
    levels, where neighbours have next to none: it is taken off (Miller 1955) so that both kinds of
    code can be compared. ``corrected=False`` is the plug-in estimate as published, on 10,000 rows.

    Only active latents count in InfoM and InfoC: discrete ones that are not constant, continuous
    ones whose range exceeds 1/20 of the largest range of a continuous latent. InfoE reads all of
    them, discrete ones by one indicator for each value.

    InfoM and InfoC of noise are not 0: they compare what chance leaves. InfoE of noise is near 0,
    above it by what the regression overfits.

    codes, factors
        ``(rows, latents)`` and ``(rows, factors)``; see :func:`mig` for these, for what counts as
        discrete and for the errors. Continuous factors are cut into ``n_bins`` bins.

    ``per`` holds NaN for latents that are not active and for factors that are constant (left out).
    ``n`` is the number of rows. InfoM and InfoC have intervals from a jackknife, InfoE none. The
    order of the rows does not matter. A latent or factor that shares nothing counts as spread
    evenly: 0. InfoM is NaN where fewer than two factors vary, InfoC where one latent is active;
    constant codes give 0 for all three.
    """
    need_bins(n_bins)
    if neighbours < 1:
        raise IsthmusError(f"neighbours is {neighbours}: pass one or more")
    z, v = tables(codes, factors, discrete_codes, discrete_factors)
    rows, alive, varied = len(v.values), _alive(z), ~v.constant
    labels, latents = v.labels(n_bins)[:, varied], z.labels(n_bins)

    def statistic(kept: np.ndarray) -> np.ndarray:
        information = _shared(z, latents, labels, alive, kept, neighbours, corrected)
        return np.array([nan_mean(dominance(information)), nan_mean(dominance(information.T))])

    of_latents, of_factors = np.full(len(alive), np.nan), np.full(len(varied), np.nan)
    values = np.full(2, np.nan)
    spans: list[tuple[float, float] | None] = [None, None]
    if varied.any() and not alive.any():
        values = np.array([0.0 if varied.sum() > 1 else np.nan, 0.0])
    elif varied.any():
        everything = np.ones(rows, dtype=bool)
        shared = _shared(z, latents, labels, alive, everything, neighbours, corrected)
        of_latents[alive], of_factors[varied] = dominance(shared), dominance(shared.T)
        values = np.array([nan_mean(of_latents), nan_mean(of_factors)])
        spans = intervals(statistic, values, rows)
    explicit = np.full(len(varied), np.nan)
    explicit[varied] = _explicit(z, latents, labels)
    counted = "counts less their bias" if corrected else "plug-in"
    how = f"({neighbours} nearest neighbours for continuous latents, {counted} for discrete ones)"
    note = notes(
        left_out(~alive, "latents that hardly vary"), left_out(~varied, "constant factors")
    )
    return InfoMEC(
        Result(
            "infomec_modularity",
            float(values[0]),
            True,
            spans[0],
            rows,
            f"mean over active latents of the largest share of normalised mutual information "
            f"{how} in one factor; {said(spans[0])}",
            "fraction",
            of_latents,
            notes(note, "fewer than two factors vary" if varied.sum() < 2 else ""),
        ),
        Result(
            "infomec_explicitness",
            nan_mean(explicit),
            True,
            None,
            rows,
            "1 less cross-entropy of multinomial logistic regression over that of the best "
            "constant, on the rows fitted, mean over factors; no interval",
            "fraction",
            explicit,
            left_out(~varied, "constant factors"),
        ),
        Result(
            "infomec_compactness",
            float(values[1]),
            True,
            spans[1],
            rows,
            f"mean over factors of the largest share of normalised mutual information {how} in "
            f"one active latent; {said(spans[1])}",
            "fraction",
            of_factors,
            notes(note, "one active latent only" if alive.sum() == 1 else ""),
        ),
    )


def _alive(z: Table) -> np.ndarray:
    width = np.ptp(z.values, axis=0)
    numbers = width[~z.discrete]
    floor = RANGE_SHARE * numbers.max() if len(numbers) else 0.0
    return np.where(z.discrete, width > 0, width > floor)


def _shared(
    z: Table,
    latents: np.ndarray,
    labels: np.ndarray,
    alive: np.ndarray,
    kept: np.ndarray,
    neighbours: int,
    corrected: bool,
) -> np.ndarray:
    """NMI of the active latents with the factors, ``(active latents, factors)``, on some rows."""
    v = labels[kept]
    information = np.zeros((len(alive), v.shape[1]))
    by_count, by_distance = alive & z.discrete, alive & ~z.discrete
    information[by_count] = label_information(latents[kept][:, by_count], v, corrected=corrected)
    if by_distance.any():
        information[by_distance] = neighbour_information(
            z.values[kept][:, by_distance], v, neighbours
        )
    total = entropies(v)
    normalised: np.ndarray = information[alive] / np.where(total > 0, total, 1)
    return normalised


def _explicit(z: Table, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """InfoE of each factor that varies."""
    parts = [
        _indicators(latents[:, j]) if discrete else z.standardised[:, [j]]
        for j, discrete in enumerate(z.discrete)
        if not z.constant[j]
    ]
    if not parts:
        return np.zeros(labels.shape[1])
    x = np.concatenate(parts, axis=1) if not z.discrete.any() else sparse.hstack(parts, "csr")
    return np.array([_predicted(x, y) for y in labels.T])


def _indicators(column: np.ndarray) -> sparse.csr_array:
    rows = np.arange(len(column))
    return sparse.csr_array((np.ones(len(column)), (rows, column)))


def _predicted(x: np.ndarray | sparse.csr_array, y: np.ndarray) -> float:
    # Slow to import, and only this needs it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # An infinite C is no penalty; releases of scikit-learn differ in how else to ask for that.
    model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=_STEPS)
    with warnings.catch_warnings():
        # Separable factors have no finite optimum; the number of steps is part of the measure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        chance = model.fit(x, y).predict_proba(x)[np.arange(len(y)), y]
    loss = -np.log(np.maximum(chance, np.finfo(np.float64).eps)).mean()
    return float(1 - loss / np.log(y.max() + 1))
