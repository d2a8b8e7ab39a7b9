"""The mutual information gap: is each factor in one latent alone?"""

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.disentanglement.factors import (
    N_BINS,
    Discrete,
    left_out,
    nan_mean,
    need_bins,
    notes,
    row_order,
    table,
    tables,
)
from isthmus.evaluation.disentanglement.information import entropies, label_information
from isthmus.evaluation.disentanglement.intervals import intervals, said
from isthmus.evaluation.disentanglement.score_matrix import gaps
from isthmus.evaluation.result import Result

N_SAMPLES = 10_000
"""Draws of q(z), as in Chen et al. (2018)."""

_BLOCK = 4_000_000


def mig(
    codes: Array,
    factors: Array,
    *,
    n_bins: int = N_BINS,
    discrete_codes: Discrete = None,
    discrete_factors: Discrete = None,
) -> Result:
    """Mutual information gap, by histograms: 1 where one latent alone tells each factor.

    Chen et al. (2018, arXiv:1802.04942, eq. 6): the mean over factors of the mutual information
    with the best latent less that with the second best, over the factor's entropy. Estimated as in
    Locatello et al. (2019): continuous columns are cut into ``n_bins`` bins of equal width between
    their least and largest value, and the information is the plug-in estimate of the counts, which
    for independent columns is not 0 but about (a - 1)(b - 1) / 2n for a and b labels in n rows.

    codes
        ``(rows, latents)``.
    factors
        ``(rows, factors)``, numbers or names, or ``(rows,)`` for one factor.
    discrete_codes, discrete_factors
        Which columns are labels: one answer for all, or one for each. By default columns of
        integers, booleans and names are, and columns of floats whose values occur five times or
        more on average.

    ``per`` is the gap of each factor, NaN where it is constant; ``n`` is the number of rows. The
    order of the rows does not matter. The interval is from a jackknife with the bins held fixed.
    Of a single latent the gap is its own information; constant codes give 0, and NaN is for
    factors that are all constant. Values that are not finite, rows that do not match and fewer
    than two bins are an :class:`IsthmusError`.
    """
    need_bins(n_bins)
    z, v = tables(codes, factors, discrete_codes, discrete_factors)
    latents, labels = z.labels(n_bins), v.labels(n_bins)
    per = _per_factor(latents, labels)
    value = nan_mean(per)
    (interval,) = intervals(
        lambda kept: np.array([nan_mean(_per_factor(latents[kept], labels[kept]))]),
        np.array([value]),
        len(labels),
    )
    return Result(
        "mig",
        value,
        True,
        interval,
        len(labels),
        f"mean over factors of the gap in normalised mutual information between the two best "
        f"latents, plug-in estimate with {n_bins} bins of equal width for continuous columns; "
        f"{said(interval)}",
        "fraction",
        per,
        notes(
            left_out(v.constant, "constant factors"),
            "all codes are constant" if z.constant.all() else "",
            "one latent only, compared with 0" if len(z.discrete) == 1 else "",
        ),
    )


def mig_from_posterior(
    means: Array,
    logvars: Array,
    factors: Array,
    *,
    n_samples: int = N_SAMPLES,
    n_bins: int = N_BINS,
    discrete_factors: Discrete = None,
    seed: int = 0,
) -> Result:
    """Mutual information gap, by samples of a Gaussian posterior (Chen et al. 2018, app. B).

    I(z_j; v) = E[log q(z_j | v) - log q(z_j)] over draws of a row and of z_j from q(z_j | row),
    where q(z_j) is the mean of the rows' posterior densities, and q(z_j | v) that of the rows with
    the same value of the factor. It is the information in the *sampled* code, noise included, and
    needs no bins for the latents. Below 0 it is cut to 0.

    means, logvars
        ``(rows, latents)``, of a diagonal Gaussian q(z | x).
    factors
        As for :func:`mig`; continuous ones are cut into ``n_bins`` bins.
    n_samples
        Draws in all, dealt evenly to the rows (to a random part of them if there are more rows).
        Time grows with draws times rows times latents.

    ``per`` is the gap of each factor, NaN where it is constant; ``n`` is the number of rows. No
    interval. The same seed gives the same value in any order of the rows. The errors are those of
    :func:`mig`.
    """
    need_bins(n_bins)
    if n_samples < 1:
        raise IsthmusError(f"n_samples is {n_samples}: pass one or more")
    mean, logvar = table(means, "means", False).values, table(logvars, "logvars", False).values
    v = table(factors, "factors", discrete_factors)
    if mean.shape != logvar.shape or len(mean) != len(v.values):
        raise IsthmusError(
            f"means {mean.shape}, logvars {logvar.shape} and {len(v.values)} rows of factors do "
            "not match: pass (rows, latents) twice and (rows, factors)"
        )
    order = row_order(np.concatenate([mean, logvar], axis=1), v.values)
    mean, logvar, labels = mean[order], logvar[order], v.labels(n_bins)[order]
    rng = np.random.default_rng(seed)
    picked = np.resize(rng.permutation(len(mean)), n_samples)
    noise = rng.standard_normal((n_samples, mean.shape[1]))
    information = np.stack(
        [
            _sampled(mean[:, j], logvar[:, j], labels, picked, noise[:, j])
            for j in range(mean.shape[1])
        ]
    )
    per = _normalised(information, labels)
    return Result(
        "mig",
        nan_mean(per),
        True,
        None,
        len(mean),
        f"mean over factors of the gap in normalised mutual information between the two best "
        f"latents, from {n_samples} samples of q(z); no interval",
        "fraction",
        per,
        notes(
            left_out(v.constant, "constant factors"),
            "one latent only, compared with 0" if mean.shape[1] == 1 else "",
        ),
    )


def _per_factor(latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return _normalised(label_information(latents, labels), labels)


def _normalised(information: np.ndarray, labels: np.ndarray) -> np.ndarray:
    total = entropies(labels)
    normalised_gaps: np.ndarray = np.where(
        total > 0, gaps(information) / np.where(total > 0, total, 1), np.nan
    )
    return normalised_gaps


def _sampled(
    mean: np.ndarray, logvar: np.ndarray, labels: np.ndarray, picked: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Information of one latent with each factor, ``(factors,)``."""
    rows, offsets = len(mean), np.cumsum([0, *(labels.max(axis=0) + 1)])
    members = np.zeros((rows, offsets[-1]))
    for factor, column in enumerate(labels.T):
        members[np.arange(rows), offsets[factor] + column] = 1
    sizes = members.sum(axis=0)
    total = np.zeros(labels.shape[1])
    step = max(1, _BLOCK // rows)
    for start in range(0, len(picked), step):
        row = picked[start : start + step]
        z = mean[row] + np.exp(0.5 * logvar[row]) * noise[start : start + step]
        log_q = -0.5 * ((z[:, None] - mean) ** 2 * np.exp(-logvar) + logvar)
        # Common factors of a draw cancel in the ratio of the two densities.
        density = np.exp(log_q - log_q.max(axis=1, keepdims=True))
        grouped = density @ members / sizes
        conditional_density = np.take_along_axis(grouped, offsets[:-1] + labels[row], axis=1)
        tiny = np.finfo(np.float64).tiny
        total += (
            np.log(np.maximum(conditional_density, tiny)) - np.log(density.mean(axis=1))[:, None]
        ).sum(axis=0)
    return np.maximum(total / len(picked), 0)
