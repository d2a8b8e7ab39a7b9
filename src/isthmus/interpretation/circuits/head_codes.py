"""Circuits from discrete codes of what heads write (O'Neill, Bui 2024, arXiv:2405.12522).

A small dictionary is fitted to the outputs of all heads on a few prompts. A head's code is its
largest latent; the heads of a circuit are those with many codes that are seen on prompts which the
model can answer and never on corrupted ones.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder, evaluating
from isthmus.anatomy.inference import ENCODE_BATCH
from isthmus.errors import IsthmusError
from isthmus.interpretation.encoding import coded
from isthmus.runs import fit

NONE = -1
"""The code of an output on which no latent is active."""

OPTIONS: dict[str, Any] = {
    "latent_dim": 200, "sparsity": 0.02, "lr": 1e-3, "steps": 500, "average": None,
    "validation": 0,
}  # fmt: skip
"""Options of ``relu-l1`` for such a dictionary, as in the authors' code; a step sees all rows."""


def head_dictionary(outputs: Tensor, **options: Any) -> Autoencoder:
    """A ``relu-l1`` dictionary of heads' outputs, with :data:`OPTIONS` where nothing else is said.

    ``outputs`` ``(prompts, layers, heads, width)`` are those of five to ten prompts, of both kinds.
    """
    rows = outputs.flatten(0, -2)
    settings = {**OPTIONS, "batch_size": len(rows), "progress": False, **options}
    return fit("relu-l1", rows.numpy(), **settings)


@torch.no_grad()
def discrete_codes(dictionary: Autoencoder, outputs: Tensor) -> np.ndarray:
    """The largest latent of each output, int64 ``(prompts, layers, heads)``.

    ``outputs`` is ``(prompts, layers, heads, width)``, or of any other axes before the last. Where
    no latent is active the code is :data:`NONE`.
    """
    codes = []
    with evaluating(dictionary):
        for part in outputs.flatten(0, -2).split(ENCODE_BATCH):
            largest = coded(dictionary, part).z.max(1)
            codes.append(torch.where(largest.values > 0, largest.indices, NONE).cpu())
    return torch.cat(codes).view(outputs.shape[:-1]).numpy()


def code_scores(positive: Array, negative: Array, *, share: bool = False) -> np.ndarray:
    """How many codes of each head are seen on positive prompts and never on negative ones.

    Float64 of the shape of one prompt's codes, ``(layers, heads)``; with ``share`` divided by the
    number of codes that are seen at all. ``positive`` and ``negative`` are integers ``(prompts,
    ...)``.
    """
    seen, unseen = _alike(positive, negative)
    scores = []
    for ours, theirs in zip(seen.T, unseen.T, strict=True):
        count = len(np.setdiff1d(ours, theirs))
        scores.append(count / len(np.union1d(ours, theirs)) if share else count)
    return np.array(scores, np.float64).reshape(np.shape(positive)[1:])


def edge_scores(positive: Array, negative: Array, *, share: bool = False) -> np.ndarray:
    """How many pairs of codes of two heads occur together on positive prompts and on no negative.

    Float64 ``(heads, heads)``, symmetric, zero on the diagonal; heads of all layers in a row. With
    ``share`` divided by the number of pairs on positive prompts and of those on negative ones, as
    in the authors' code.
    """
    seen, unseen = _alike(positive, negative)
    lowest = min(seen.min(), unseen.min())
    base = max(seen.max(), unseen.max()) - lowest + 1
    scores = np.zeros((seen.shape[1], seen.shape[1]))
    for i, j in zip(*np.triu_indices(len(scores), 1), strict=True):
        ours, theirs = (
            np.unique((codes[:, i] - lowest) * base + codes[:, j] - lowest)
            for codes in (seen, unseen)
        )
        count = len(np.setdiff1d(ours, theirs, assume_unique=True))
        scores[i, j] = scores[j, i] = count / (len(ours) + len(theirs)) if share else count
    return scores


def _alike(positive: Array, negative: Array) -> tuple[np.ndarray, np.ndarray]:
    """Both as ``(prompts, heads)``; an error where they are not codes of the same heads."""
    arrays = [np.asarray(codes) for codes in (positive, negative)]
    for codes in arrays:
        if codes.ndim < 2 or not len(codes) or not np.issubdtype(codes.dtype, np.integer):
            raise IsthmusError(
                f"codes of shape {codes.shape} and type {codes.dtype} are none of prompts: pass "
                "integers (prompts, layers, heads), of one prompt at least"
            )
    if arrays[0].shape[1:] != arrays[1].shape[1:]:
        raise IsthmusError(
            f"positive prompts have codes of {arrays[0].shape[1:]} heads and negative ones of "
            f"{arrays[1].shape[1:]}: pass those of one model"
        )
    first, second = (codes.reshape(len(codes), -1) for codes in arrays)
    return first, second
