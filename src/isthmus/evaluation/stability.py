"""Do runs that differ in their seed alone find the same latents?"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder
from isthmus.errors import IsthmusError
from isthmus.evaluation.cosines import (
    Matching,
    alike,
    assigned,
    chosen,
    decoder_rows,
    encoder_rows,
    mutual,
    unit_rows,
)
from isthmus.evaluation.result import Result

SHARED = 0.7
"""Paired latents are shared where their decoder cosine exceeds this."""

_HOW = {"hungarian": "Hungarian assignment", "mutual": "mutual nearest neighbours"}


def seed_stability(
    models: Sequence[Autoencoder | tuple[Array, Array]],
    *,
    alive: Sequence[Array] | None = None,
    threshold: float = SHARED,
    matching: Matching = "auto",
) -> Result:
    """Share of latents that two runs have in common, mean over pairs of runs.

    After Paulo & Belrose (2025, Sparse Autoencoders Trained on the Same Data Learn Different
    Features): latents of two runs are paired by decoder directions, and again by encoder
    directions. A latent is *shared* where both pairings give it the same partner and the decoder
    cosine with it exceeds ``threshold``. The share of a pair of runs is twice the number of shared
    latents over the latents of both (for equal widths, shared over width).

    models
        Two or more models with a dictionary and a linear encoder, or pairs ``(decoder, encoder)``
        of rows, each ``(latents, elements)``; widths may differ.
    alive
        For each model a boolean mask ``(latents,)``; latents marked False are left out.
    matching
        "hungarian": the one-to-one pairing of the largest summed cosine. "mutual": latents that
        are each other's nearest, another and cheaper rule whose memory is linear in the width.
        "auto" (the default) takes the first for at most 8192 x 8192 latents and the second beyond;
        the result's estimator says which.

    ``per`` is, for each latent of the first model, the share of the other models that share it,
    NaN where it was left out; ``n`` is the number of models. Fewer than two models, rows of
    different lengths or a model without living latents are an :class:`IsthmusError`.
    """
    if len(models) < 2:
        raise IsthmusError(f"stability compares models, and {len(models)} is not enough: pass two")
    rows = [_rows(model) for model in models]
    keep = _masks(alive, [len(decoder) for decoder, _ in rows])
    kept = [
        (decoder[mask], encoder[mask]) for (decoder, encoder), mask in zip(rows, keep, strict=True)
    ]
    sizes = sorted(len(decoder) for decoder, _ in kept)
    how = chosen(matching, sizes[-1] * sizes[-2])
    pair = assigned if how == "hungarian" else mutual
    shares, times = [], np.zeros(len(kept[0][0]))
    for i, j in combinations(range(len(kept)), 2):
        (first, first_encoder), (second, second_encoder) = kept[i], kept[j]
        partner, cosines = pair(*alike(first, second))
        by_encoder = pair(*alike(first_encoder, second_encoder))[0]
        shared = (partner >= 0) & (partner == by_encoder) & (cosines > threshold)
        shares.append(2 * shared.sum() / (len(first) + len(second)))
        if i == 0:
            times += shared
    per = np.full(len(rows[0][0]), np.nan)
    per[keep[0].cpu().numpy()] = times / (len(models) - 1)
    left_out = int(sum((~mask).sum() for mask in keep))
    return Result(
        "seed_stability",
        float(np.mean(shares)),
        True,
        None,
        len(models),
        f"share of latents that {_HOW[how]} of decoders and of encoders pairs alike, at a decoder "
        f"cosine above {threshold:g}, mean over {len(shares)} pairs of models; no interval",
        "fraction",
        per,
        f"{left_out} latents were left out" if left_out else "",
    )


def _rows(model: Autoencoder | tuple[Array, Array]) -> tuple[Tensor, Tensor]:
    decoder: Array
    encoder: Array
    if isinstance(model, Autoencoder):
        decoder, encoder = decoder_rows(model), encoder_rows(model)
    else:
        decoder, encoder = model
    of_decoder, of_encoder = unit_rows(decoder, "decoder rows"), unit_rows(encoder, "encoder rows")
    if of_encoder.shape != of_decoder.shape:
        raise IsthmusError(
            f"the encoder has rows {tuple(of_encoder.shape)} and the decoder "
            f"{tuple(of_decoder.shape)}: pass both as (latents, elements)"
        )
    return of_decoder, of_encoder


def _masks(alive: Sequence[Array] | None, widths: list[int]) -> list[Tensor]:
    if alive is None:
        return [torch.ones(width, dtype=torch.bool) for width in widths]
    masks = [torch.as_tensor(mask).detach().cpu() for mask in alive]
    for number, width in enumerate(widths):
        if len(masks) != len(widths) or masks[number].shape != (width,):
            raise IsthmusError(
                f"alive needs one mask ({width},) for model {number}, and as many masks as models"
            )
        if masks[number].dtype != torch.bool:
            raise IsthmusError("alive holds masks that are not boolean: pass counts > 0")
        if not bool(masks[number].any()):
            raise IsthmusError(f"model {number} has no latent that is alive: leave it out")
    return masks
