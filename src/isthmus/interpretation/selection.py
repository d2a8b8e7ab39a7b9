"""Which latents stand for something: by where they are active, and where they are not."""

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder, evaluating
from isthmus.anatomy.inference import ENCODE_BATCH
from isthmus.errors import IsthmusError
from isthmus.evaluation import Firing
from isthmus.interpretation.encoding import coded


def firing_shares(autoencoder: Autoencoder, x: Array) -> np.ndarray:
    """Share of the activations ``x`` ``(rows, width)`` on which each latent is active.

    Float64 ``(latents,)``. A latent is active where its value is not zero. Sparse codes stay
    sparse, so that memory does not grow with the number of latents times that of rows.
    """
    rows = torch.as_tensor(x)
    if rows.ndim != 2 or not len(rows):
        raise IsthmusError(
            f"activations have the shape {tuple(rows.shape)}: pass (rows, width), one row at least"
        )
    firing = Firing()
    with evaluating(autoencoder):
        for part in rows.split(ENCODE_BATCH):
            firing.update(coded(autoencoder, part))
    return firing.rates


def separation(
    autoencoder: Autoencoder, x: Array, positive: Array, kinds: Array | None = None
) -> np.ndarray:
    """How much more often each latent is active on positive than on negative rows.

    The share of positive rows on which it is active less that of negative rows, float64
    ``(latents,)`` in [-1, 1]; the minimum over ``kinds``, so that a latent has to tell the two
    apart within each of them (Ferrando et al. 2024, arXiv:2411.14257: known and unknown names of
    several types of entities). ``separation(autoencoder, x, ~positive, kinds)`` scores the latents
    of the other class, which is not the negative where there are several kinds.

    x
        Activations ``(rows, width)``.
    positive
        Bool ``(rows,)``.
    kinds
        Any labels ``(rows,)``; each needs rows of both classes. None: all rows are of one kind.
    """
    rows = torch.as_tensor(x)
    flags = _column(positive, rows, "positive").astype(bool)
    labels = np.zeros(len(rows)) if kinds is None else _column(kinds, rows, "kinds")
    scores = []
    for kind in np.unique(labels):
        shares = []
        for sign in (True, False):
            mask = (labels == kind) & (flags == sign)
            if not mask.any():
                raise IsthmusError(
                    f"the kind {kind} has no {'positive' if sign else 'negative'} rows: each "
                    "kind needs rows of both classes"
                )
            shares.append(firing_shares(autoencoder, rows[torch.from_numpy(mask)]))
        scores.append(shares[0] - shares[1])
    least: np.ndarray = np.min(scores, 0)
    return least


def ranked_latents(
    score: Array, elsewhere: Array, at_most: float, count: int | None = None
) -> np.ndarray:
    """Latents by falling score, without those that are active too often on other text.

    Int64. Latents whose share ``elsewhere`` is above ``at_most``, and those whose score is not
    above zero, are left out; ties go by number; of the others the first ``count``.

    With separation scores and at most 2 % of arbitrary tokens these are the entity latents of
    Ferrando et al. (2024, arXiv:2411.14257). With the shares of tokens of a text that is to be
    forgotten, and at most 1 % of those of a text that is to be retained, they are the latents that
    Farrell et al. (2024, arXiv:2410.19278) clamp to unlearn it: ``Steering(model, clamp={latent:
    -value, ...}, where_active=True)``.
    """
    scores, shares = np.asarray(score, np.float64), np.asarray(elsewhere, np.float64)
    if scores.ndim != 1 or scores.shape != shares.shape:
        raise IsthmusError(
            f"scores have the shape {scores.shape} and shares {shares.shape}: pass one number of "
            "each for each latent"
        )
    if count is not None and count < 0:
        raise IsthmusError(f"count={count} latents cannot be chosen: pass 0 or more")
    order = np.argsort(-scores, kind="stable")
    ranked: np.ndarray = order[(scores[order] > 0) & (shares[order] <= at_most)][:count]
    return ranked


def _column(values: Array, rows: Tensor, name: str) -> np.ndarray:
    column = np.asarray(values)
    if column.shape != (len(rows),):
        raise IsthmusError(
            f"{name} has the shape {column.shape} for {len(rows)} rows: pass one value for each row"
        )
    return column
