"""What a latent does: reconstructions along it, with all other latents at their means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.anatomy import Autoencoder, Tree, decodes_latents, tree
from isthmus.errors import IsthmusError
from isthmus.pages.codes import Codes
from isthmus.pages.directions import decoded

STEPS = 9
RANGE = (0.005, 0.995)
"""Quantiles of a latent's values between which it is moved: the extremes are single odd rows."""


@dataclass(frozen=True)
class Traversal:
    """Reconstructions ``rows`` ``(steps, *shape)`` at ``values`` ``(steps,)`` of one latent."""

    latent: int
    values: np.ndarray
    rows: Tree


def traversed(
    model: Autoencoder,
    codes: Codes,
    latents: Sequence[int],
    span: float | None = None,
    steps: int = STEPS,
) -> list[Traversal]:
    """Decode each of ``latents`` at even steps, the other latents at their means.

    ``codes`` (:func:`isthmus.pages.codes.codes_of`) say where the values lie. A latent is moved
    over its observed range (0.5 to 99.5 %, from zero on where the code is sparse), or by ``span``
    standard deviations to either side of its mean. Rows are in the user's units, as read. A latent
    without values is left out; a model that decodes nothing but whole codes is an
    :class:`IsthmusError`.
    """
    if not decodes_latents(model):
        raise IsthmusError("this model does not decode from single latents: none can be moved")
    ways = [(int(k), at) for k in latents if len(at := values_of(codes, int(k), span, steps))]
    if not ways:
        return []
    rows = np.tile(codes.mean_code, (len(ways) * steps, 1))
    for place, (latent, at) in enumerate(ways):
        rows[place * steps : (place + 1) * steps, latent] = at
    outputs = decoded(model, codes, rows)
    return [
        Traversal(latent, at, tree.mapped(lambda a, k=k: a[k * steps : (k + 1) * steps], outputs))
        for k, (latent, at) in enumerate(ways)
    ]


def values_of(codes: Codes, latent: int, span: float | None, steps: int) -> np.ndarray:
    """Where a latent is put, ``(steps,)``; empty where it never has a value."""
    _, values = codes.values(latent)
    if not len(values):
        return np.empty(0)
    if span is not None:
        middle, reach = codes.mean_code[latent], span * codes.stds[latent]
        return np.linspace(middle - reach, middle + reach, steps)
    low, high = (float(v) for v in np.quantile(values, RANGE))
    return np.linspace(min(0.0, low) if codes.sparse else low, high, steps)


def most_informative(codes: Codes, number: int) -> list[int]:
    """The latents that tell most of a row, the first first.

    By the divergence of their posterior from the prior where there is one, else by their standard
    deviation; those that tell nothing are left out.
    """
    information = codes.stds if codes.kl is None else codes.kl
    order = np.argsort(-information, kind="stable")[:number]
    return [int(k) for k in order if information[k] > 1e-3 * max(information[order[0]], 1e-12)]
