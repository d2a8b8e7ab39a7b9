"""Unsupervised disentanglement ranking: do models that differ in their seed agree on latents?"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from scipy.stats import rankdata

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.disentanglement.factors import Table, active, table
from isthmus.evaluation.result import Result

KL_FLOOR = 0.01
"""Latents with at most this mean divergence from the prior, in nats, tell nothing (the paper)."""

MIN_STD = 0.05
"""Where no divergences are given: the share of the largest standard deviation to exceed."""

PENALTY = 0.1
"""The lasso's penalty, on standardised codes."""

Similarity = Literal["spearman", "lasso"]


def udr(
    codes: Sequence[Array],
    *,
    kl: Sequence[Array] | None = None,
    similarity: Similarity = "spearman",
) -> Result:
    """Unsupervised disentanglement ranking: how one-to-one the latents of several models match.

    Duan et al. (2020, Unsupervised Model Selection for Variational Disentangled Representation
    Learning, arXiv:1905.12614, eq. 3): with R[a, b] the similarity of latent a of one model and
    latent b of another, the score of the pair is (sum over b of r_b² / sum_a R[a, b] + sum over a
    of r_a² / sum_b R[a, b]) / (latents of both), where r is the largest of the row or column and
    only informative latents count. A model's score is the median over its pairs. It needs no
    factors: models that disentangle alike learn the same latents, up to order and sign.

    codes
        Two or more models' codes ``(rows, latents)`` of the *same rows in the same order*; the
        numbers of latents may differ. Codes are standardised.
    kl
        For each model the mean divergence of each latent's posterior from the prior in nats,
        ``(latents,)``; latents above 0.01 are informative. Without it those are whose standard
        deviation exceeds 1/20 of the model's largest.
    similarity
        "spearman": absolute rank correlations. "lasso": absolute coefficients of lasso regressions
        (penalty 0.1) of the scored model's latents on the other's; the penalty keeps models that
        agree perfectly at 0.9.

    The value is the mean of the models' scores, ``per`` the score of each model, by which to rank
    them; ``n`` is the number of rows. No interval. Rows may be permuted, in all models alike. A
    model without informative latents scores 0. An unknown similarity, fewer than two models or
    three rows, rows or divergences that do not match and values that are not finite are an
    :class:`IsthmusError`.
    """
    if similarity not in get_args(Similarity):
        raise unknown("similarity", similarity, get_args(Similarity))
    if len(codes) < 2:
        raise IsthmusError(f"{len(codes)} models cannot be compared: pass the codes of two or more")
    tables = [table(one, f"codes of model {i}", False) for i, one in enumerate(codes)]
    lengths = sorted({len(one.values) for one in tables})
    if len(lengths) > 1 or lengths[0] < 3:
        raise IsthmusError(
            f"the models have {', '.join(map(str, lengths))} rows: pass the codes of the same "
            "rows, three or more"
        )
    # Sums depend on the order of the rows by rounding; sorted rows make the value exact.
    order = np.lexsort(np.concatenate([one.values for one in tables], axis=1).T)
    tables = [Table(one.values[order], one.discrete) for one in tables]
    masks = (
        [active(one, MIN_STD) for one in tables]
        if kl is None
        else _informative(kl, [one.values.shape[1] for one in tables])
    )
    kept = [one.standardised[:, mask] for one, mask in zip(tables, masks, strict=True)]
    if similarity == "spearman":
        kept = [_ranks(one) for one in kept]
    per = np.array(
        [
            np.median(
                [
                    _agreement(_similarities(other, one, similarity))
                    for j, other in enumerate(kept)
                    if j != i
                ]
            )
            for i, one in enumerate(kept)
        ]
    )
    empty = sum(one.shape[1] == 0 for one in kept)
    how = "absolute rank correlations" if similarity == "spearman" else "lasso coefficients"
    return Result(
        "udr",
        float(per.mean()),
        True,
        None,
        lengths[0],
        f"mean over {len(kept)} models of the median over the others of the relative strength of "
        f"the largest of {how}; no interval",
        "fraction",
        per,
        f"{empty} models have no informative latent" if empty else "",
    )


def _informative(kl: Sequence[Array], widths: list[int]) -> list[np.ndarray]:
    divergences = [table(one, "divergences", False).values[:, 0] for one in kl]
    if [len(one) for one in divergences] != widths:
        raise IsthmusError("kl does not match the codes: pass (latents,) for each model")
    return [one > KL_FLOOR for one in divergences]


def _ranks(codes: np.ndarray) -> np.ndarray:
    """Centred ranks of unit length, so that products are rank correlations; constants at 0."""
    if codes.shape[1] == 0:
        return codes
    ranks = rankdata(codes, axis=0) - (len(codes) + 1) / 2
    length = np.linalg.norm(ranks, axis=0)
    unit_ranks: np.ndarray = ranks / np.where(length > 0, length, 1)
    return unit_ranks


def _similarities(first: np.ndarray, second: np.ndarray, similarity: Similarity) -> np.ndarray:
    """R ``(latents of first, latents of second)``."""
    if 0 in (first.shape[1], second.shape[1]):
        return np.zeros((first.shape[1], second.shape[1]))
    if similarity == "spearman":
        return np.abs(first.T @ second)
    # Slow to import, and only this needs it.
    from sklearn.linear_model import Lasso

    coefficients = Lasso(alpha=PENALTY).fit(first, second).coef_
    return np.abs(coefficients.reshape(second.shape[1], first.shape[1])).T


def _agreement(r: np.ndarray) -> float:
    if 0 in r.shape:
        return 0.0
    strengths = [_strength(r), _strength(r.T)]
    return float(sum(strengths) / sum(r.shape))


def _strength(r: np.ndarray) -> float:
    """Sum over columns of the largest squared over the sum; columns of zeros give 0."""
    totals = r.sum(axis=0)
    return float((r.max(axis=0) ** 2 / np.where(totals > 0, totals, 1)).sum())
