"""The FactorVAE score: with one factor held fixed, which latent varies least?"""

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.disentanglement.factors import (
    N_BINS,
    Discrete,
    active,
    left_out,
    need_bins,
    notes,
    tables,
)
from isthmus.evaluation.result import Result

N_VOTES = 800
"""Votes to learn from, and as many to judge by (Kim & Mnih 2018)."""

GROUP = 64
"""Rows drawn for each vote (Locatello et al. 2019)."""

MIN_STD = 0.05
"""Latents whose standard deviation is at most this share of the largest are left out."""

_BLOCK = 4_000_000


def factor_vae_score(
    codes: Array,
    factors: Array,
    *,
    n_votes: int = N_VOTES,
    group_size: int = GROUP,
    min_std: float = MIN_STD,
    n_bins: int = N_BINS,
    discrete_factors: Discrete = None,
    seed: int = 0,
) -> Result:
    """Kim and Mnih's score: 1 where fixing a factor always stills a latent of its own.

    Kim & Mnih (2018, arXiv:1802.05983, sec. 4): choose a factor, draw rows that share a value of
    it, and note the latent whose variance over them is smallest relative to its variance over all
    rows. A majority vote learns which factor each latent stands for from ``n_votes`` such draws;
    the value is its accuracy on another ``n_votes``. Chance is about 1 over the number of factors.

    Rows are drawn with replacement from those given, so the other factors vary as they do in the
    data; a row's value is drawn as often as it occurs, among values with two rows or more.

    codes
        ``(rows, latents)``.
    factors
        ``(rows, factors)`` or ``(rows,)``. Continuous ones (see :func:`mig`) are cut into
        ``n_bins`` bins of equal width, and rows of one bin count as sharing a value.
    min_std
        Latents whose standard deviation is at most this share of the largest are left out. The
        paper leaves out those that have collapsed to the prior; relative to the largest it is
        free of the codes' common scale. Standardise codes whose scales mean nothing, or pass 0.

    ``per`` is the accuracy for each factor, NaN where it is constant or no two rows share a value
    (left out); ``n`` is the number of rows. No interval. The same seed gives the same value in any
    order of the rows. Constant codes give 0; NaN where no factor is left. With a single factor the
    score is 1, whatever the code. Fewer than one vote or two rows a vote, and the errors of
    :func:`mig`, are an :class:`IsthmusError`.
    """
    need_bins(n_bins)
    if n_votes < 1 or group_size < 2:
        raise IsthmusError(
            f"n_votes is {n_votes} and group_size {group_size}: pass one vote and two rows or more"
        )
    z, v = tables(codes, factors, None, discrete_factors)
    labels, kept = v.labels(n_bins), active(z, min_std)
    usable = np.array([_shared(column).any() for column in labels.T]) & ~v.constant
    per = np.full(len(usable), np.nan)
    value, rows = float("nan"), len(labels)
    if usable.any():
        value = 0.0
        per[usable] = 0.0
        if kept.any():
            rng, x = np.random.default_rng(seed), z.standardised[:, kept]
            columns = labels[:, usable]
            learnt = _votes(x, columns, n_votes, group_size, rng)
            judged = _votes(x, columns, n_votes, group_size, rng)
            right = judged * (learnt.argmax(axis=0) == np.arange(len(learnt))[:, None])
            value = float(right.sum() / judged.sum())
            drawn = judged.sum(axis=1)
            per[usable] = np.where(drawn > 0, right.sum(axis=1) / np.maximum(drawn, 1), np.nan)
    return Result(
        "factor_vae_score",
        value,
        True,
        None,
        rows,
        f"accuracy of a majority vote on {n_votes} draws of {group_size} rows that share a "
        f"factor's value, learnt from another {n_votes}; no interval",
        "fraction",
        per,
        notes(
            left_out(~usable, "factors that are constant or never shared"),
            left_out(~kept, "latents that hardly vary"),
            "one factor only, so that any code scores 1" if usable.sum() == 1 else "",
        ),
    )


def _shared(column: np.ndarray) -> np.ndarray:
    """Which rows share their label with another row."""
    return np.bincount(column)[column] > 1


def _votes(
    x: np.ndarray, labels: np.ndarray, votes: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """How often each latent varied least with each factor fixed, ``(factors, latents)``."""
    fixed_factors = rng.integers(labels.shape[1], size=votes)
    tally = np.zeros((labels.shape[1], x.shape[1]), dtype=np.int64)
    step = max(1, _BLOCK // (size * x.shape[1]))
    for factor, column in enumerate(labels.T):
        order = np.argsort(column, kind="stable")
        counts = np.bincount(column)
        starts = np.cumsum(counts) - counts
        shared = np.flatnonzero(_shared(column))
        label = column[rng.choice(shared, size=int((fixed_factors == factor).sum()))]
        for at in range(0, len(label), step):
            part = label[at : at + step]
            place = rng.random((len(part), size)) * counts[part][:, None]
            rows = order[starts[part][:, None] + place.astype(np.int64)]
            # x has variance 1 over all rows, so variances need no normalising.
            least = x[rows].var(axis=1).argmin(axis=1)
            tally[factor] += np.bincount(least, minlength=x.shape[1])
    return tally
