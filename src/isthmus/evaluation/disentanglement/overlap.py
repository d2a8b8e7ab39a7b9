"""OMES: overlap and multiple encoding, seen by changing one factor at a time."""

from typing import Literal, get_args

import numpy as np
from scipy import sparse

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.disentanglement.factors import (
    N_BINS,
    Discrete,
    active,
    left_out,
    nan_mean,
    need_bins,
    notes,
    tables,
)
from isthmus.evaluation.disentanglement.intervals import intervals, said
from isthmus.evaluation.result import Result

MIN_STD = 0.05
"""Latents whose standard deviation is at most this share of the largest are left out."""

Pooling = Literal["avg", "max"]


def omes(
    codes: Array,
    factors: Array,
    *,
    alpha: float = 0.5,
    pooling: Pooling = "avg",
    signed: bool = True,
    min_std: float = MIN_STD,
    n_bins: int = N_BINS,
    discrete_factors: Discrete = None,
) -> Result:
    """Overlap and multiple encoding score: 1 where each factor moves one latent of its own.

    Dapueto, Noceti & Odone (2024, Transferring disentangled representations, arXiv:2409.18017).
    S[d, f] is 1 less the correlation of latent d over pairs of rows that differ in factor f alone:
    1 where the latent moves, 0 where it stays. For each factor and latent,

    - o = 1 - mean over factors f' of |[f' = f] - S[d, f']| (less where the latent has others too),
    - m = 1 - mean over latents d' of |[d' = d] - S[d', f]| (less where others have the factor too),

    and the score is the mean over factors of ``alpha`` times the pooled o S plus 1 - ``alpha``
    times the pooled m S.

    codes
        ``(rows, latents)``.
    factors
        ``(rows, factors)``, a grid of factors at best: rows without a partner that differs in one
        factor alone do not count for it. Continuous ones (see :func:`mig`) are cut into ``n_bins``
        bins of equal width, so that the partners differ a little in other factors as well.
    alpha
        The weight of overlap, between 0 and 1.
    pooling
        Over latents: "avg", weighted by S, or "max".
    signed
        Take S = 1 - max(correlation, 0). Pairs with a changed factor of K values correlate by
        -1 / (K - 1) on a perfect latent, down to -1 for two values; 1 - |correlation|, as
        published, calls such a latent unmoved. False takes that.
    min_std
        Latents whose standard deviation is at most this share of the largest are left out. The
        paper's 0.05 is absolute, for codes whose active latents have standard deviations near 1.
        Standardise codes whose scales mean nothing, or pass 0.

    The paper draws one partner for each row; here each row counts once with the mean over all its
    partners, so that nothing is random and the order of the rows does not matter. Noise moves with
    every factor: it scores about (1 / factors + 1 / latents) / 2.

    ``per`` is the score of each factor, NaN where no two rows differ in it alone (left out); ``n``
    is the number of rows. The interval is from a jackknife with the bins held fixed. Constant
    codes give 0; NaN where no factor has pairs. An unknown pooling, an ``alpha`` outside 0 to 1
    and the errors of :func:`mig` are an :class:`IsthmusError`.
    """
    need_bins(n_bins)
    if pooling not in get_args(Pooling):
        raise unknown("pooling", pooling, get_args(Pooling))
    if not 0 <= alpha <= 1:
        raise IsthmusError(f"alpha is {alpha:g}: pass a weight between 0 and 1")
    z, v = tables(codes, factors, None, discrete_factors)
    labels, kept = v.labels(n_bins), active(z, min_std)
    x = z.standardised[:, kept]

    groups = _groups(labels)

    def scores(rows: np.ndarray) -> np.ndarray:
        moved = _moved(x[rows], [(g[rows], c[rows]) for g, c in groups], signed)
        return _scores(moved, alpha, pooling)

    per = scores(np.ones(len(labels), dtype=bool))
    value = nan_mean(per)
    (interval,) = intervals(
        lambda rows: np.array([nan_mean(scores(rows))]), np.array([value]), len(labels)
    )
    return Result(
        "omes",
        value,
        True,
        interval,
        len(labels),
        f"mean over factors of overlap (weight {alpha:g}) and multiple encoding pooled by "
        f"{pooling}, 1 less the {'positive part of the' if signed else 'absolute'} correlation "
        f"over all pairs that differ in one factor; {said(interval)}",
        "fraction",
        per,
        notes(
            left_out(np.isnan(per), "factors in which alone no two rows differ"),
            left_out(~kept, "latents that hardly vary"),
        ),
    )


def _groups(labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each factor two labels of the rows: of all other factors, and of all factors."""
    cell = _numbered(labels)
    if labels.shape[1] == 1:
        return [(np.zeros(len(labels), dtype=np.int64), cell)]
    return [(_numbered(np.delete(labels, f, axis=1)), cell) for f in range(labels.shape[1])]


def _moved(x: np.ndarray, groups: list[tuple[np.ndarray, np.ndarray]], signed: bool) -> np.ndarray:
    """S ``(latents, factors)``, NaN for factors without pairs."""
    scores = np.full((x.shape[1], len(groups)), np.nan)
    for factor, (group, cell) in enumerate(groups):
        ones = np.ones((len(x), 1))
        columns = np.concatenate([ones, x, x**2], axis=1)
        away = _sums(columns, group) - _sums(columns, cell)
        paired = away[:, 0] > 0
        if not paired.any():
            continue
        partner = away[paired, 1:] / away[paired, :1]
        codes, (first, second) = x[paired], np.split(partner, 2, axis=1)
        covariance = (codes * first).mean(axis=0) - codes.mean(axis=0) * first.mean(axis=0)
        variance = codes.var(axis=0) * (second.mean(axis=0) - first.mean(axis=0) ** 2)
        # x has variance 1 over all rows: what is left of rounding is far below this.
        still = variance < 1e-20
        correlation = np.where(still, 1, covariance / np.sqrt(np.where(still, 1, variance)))
        strength = np.maximum(correlation, 0) if signed else np.abs(correlation)
        scores[:, factor] = 1 - np.minimum(strength, 1)
    return scores


def _numbered(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)


def _sums(columns: np.ndarray, group: np.ndarray) -> np.ndarray:
    """For each row the sum of ``columns`` over the rows of its group."""
    rows = np.arange(len(group))
    members = sparse.csr_array((np.ones(len(group)), (group, rows)))
    return (members @ columns)[group]


def _scores(moved: np.ndarray, alpha: float, pooling: Pooling) -> np.ndarray:
    """The score of each factor, NaN where it has no pairs."""
    per = np.full(moved.shape[1], np.nan)
    seen = ~np.isnan(moved).any(axis=0)
    if len(moved) == 0:
        return np.zeros_like(per)
    s = moved[:, seen]
    # |1 - s| in the place itself and s elsewhere.
    overlap = 1 - (s.sum(axis=1, keepdims=True) - s + 1 - s) / max(s.shape[1], 1)
    encoding = 1 - (s.sum(axis=0, keepdims=True) - s + 1 - s) / len(s)
    per[seen] = alpha * _pooled(overlap, s, pooling) + (1 - alpha) * _pooled(encoding, s, pooling)
    return per


def _pooled(scores: np.ndarray, s: np.ndarray, pooling: Pooling) -> np.ndarray:
    if pooling == "max":
        return (scores * s).max(axis=0)
    total = s.sum(axis=0)
    weighted_mean: np.ndarray = (scores * s * s).sum(axis=0) / np.where(total > 0, total, 1)
    return weighted_mean
