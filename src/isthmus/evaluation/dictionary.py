"""What a dictionary's directions say: planted truth recovered, latents near or opposed.

Every ``rows`` is ``(latents, elements)``, or a model whose decoder is a dictionary, whose rows are
then taken in the user's units. Lengths do not matter. Cosines are computed in pieces: memory grows
with the number of rows, not with its square (:func:`matched_cosine` excepted). A result's ``n``
is the number of directions that ``per`` has a value for.
"""

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder
from isthmus.errors import IsthmusError
from isthmus.evaluation.cosines import (
    LARGEST_ASSIGNMENT,
    alike,
    assigned,
    nearest,
    unit_rows,
)
from isthmus.evaluation.result import Result

RECOVERED = 0.9
"""A truth whose best cosine exceeds this is recovered."""

ANTIPODAL = -0.9
"""Two latents whose cosine is below this are antipodal."""


def mean_max_cosine(
    rows: Array | Autoencoder, directions: Array, *, signed: bool = False
) -> Result:
    """Mean over true directions of the largest cosine with a latent (MMCS, Sharkey et al. 2022).

    ``directions`` is ``(truths, elements)``. ``signed`` is for dictionaries whose latents take
    either sign: a direction and its opposite then count as one (absolute cosines). ``per`` is the
    largest cosine of each truth. Several truths may share a latent; see :func:`matched_cosine`.
    Empty or zero directions and rows of different lengths are an :class:`IsthmusError`.
    """
    truths, latents = _truths_and_latents(rows, directions)
    best = nearest(truths, latents, absolute=signed)[0]
    what = f"mean over truths of the largest {_cosine(signed)} with a latent"
    return _result("mean_max_cosine", float(best.mean()), True, what, best, "cosine")


def recovery(
    rows: Array | Autoencoder,
    directions: Array,
    threshold: float = RECOVERED,
    *,
    signed: bool = False,
) -> Result:
    """Share of true directions whose largest cosine with a latent exceeds ``threshold``.

    Arguments, ``per`` (the cosines) and errors as for :func:`mean_max_cosine`.
    """
    truths, latents = _truths_and_latents(rows, directions)
    best = nearest(truths, latents, absolute=signed)[0]
    what = f"share of truths whose largest {_cosine(signed)} with a latent exceeds {threshold:g}"
    return _result("recovery", float((best > threshold).mean()), True, what, best, "fraction")


def matched_cosine(rows: Array | Autoencoder, directions: Array, *, signed: bool = False) -> Result:
    """Mean cosine of true directions with the latents that the best one-to-one pairing gives them.

    The pairing maximises the summed cosine (Hungarian assignment). With fewer latents than truths,
    a truth left without a latent counts as zero. ``per`` is the cosine of each truth with its own
    latent. All cosines are held at once: more than 8192 x 8192 of them are an
    :class:`IsthmusError`; other arguments and errors as for :func:`mean_max_cosine`.
    """
    truths, latents = _truths_and_latents(rows, directions)
    if len(truths) * len(latents) > LARGEST_ASSIGNMENT:
        raise IsthmusError(
            f"{len(truths)} truths and {len(latents)} latents are too many to assign one to one: "
            "use mean_max_cosine, or pass only the latents that are alive"
        )
    numbers, cosines = assigned(truths, latents, absolute=signed)
    without = int((numbers < 0).sum())
    cosines = np.where(numbers < 0, 0.0, cosines)
    what = f"mean over truths of the {_cosine(signed)} with their latent, Hungarian assignment"
    note = f"{without} truths are left without a latent and count as zero" if without else ""
    return _result("matched_cosine", float(cosines.mean()), True, what, cosines, "cosine", note)


def decoder_cosine(rows: Array | Autoencoder, *, signed: bool = False) -> Result:
    """Mean over latents of the largest cosine with another latent: 0 for an orthogonal dictionary.

    The mean cosine similarity of Korznikov et al. (2025, OrtSAE). ``signed`` takes absolute
    cosines. ``per`` is the largest cosine of each latent. Random directions have a positive value
    that grows with their number: compare dictionaries of one size. Fewer than two rows are an
    :class:`IsthmusError`.
    """
    latents = _several(rows)
    best = nearest(latents, latents, absolute=signed, skip_self=True)[0]
    what = f"mean over latents of the largest {_cosine(signed)} with another latent"
    return _result("decoder_cosine", float(best.mean()), False, what, best, "cosine")


def antipodal_share(rows: Array | Autoencoder, threshold: float = ANTIPODAL) -> Result:
    """Share of latents that have an opposite: another latent at a cosine below ``threshold``.

    What AbsTopK claims to make needless, a latent for each pole of a concept (2025). ``per`` is
    the smallest cosine of each latent with another. Errors as for :func:`decoder_cosine`.
    """
    latents = _several(rows)
    lowest = -nearest(latents, -latents, skip_self=True)[0]
    what = f"share of latents with another latent at a cosine below {threshold:g}"
    share = float((lowest < threshold).mean())
    return _result("antipodal_share", share, False, what, lowest, "fraction")


def _truths_and_latents(rows: Array | Autoencoder, directions: Array) -> tuple[Tensor, Tensor]:
    truths = unit_rows(directions, "directions")
    empty = ~truths.any(1)
    if bool(empty.any()):
        raise IsthmusError(
            f"true direction {int(torch.nonzero(empty)[0, 0])} is zero: leave it out, it has no "
            "cosine"
        )
    return alike(truths, unit_rows(rows, "rows of the dictionary"))


def _several(rows: Array | Autoencoder) -> Tensor:
    latents = unit_rows(rows, "rows of the dictionary")
    if len(latents) < 2:
        raise IsthmusError("a dictionary of one latent has no other to compare: pass two or more")
    return latents


def _cosine(signed: bool) -> str:
    return "absolute cosine" if signed else "cosine"


def _result(
    name: str,
    value: float,
    higher_is_better: bool,
    what: str,
    per: np.ndarray,
    unit: str,
    note: str = "",
) -> Result:
    how = f"{what}; no interval"
    return Result(name, value, higher_is_better, None, len(per), how, unit, per, note)
