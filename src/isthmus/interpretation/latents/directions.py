"""What a latent writes: its neighbours by direction, and its direct effect on the logits."""

import numpy as np
from torch import Tensor

from isthmus.evaluation.cosines import neighbours, unit_rows

PIECE = 2**24
"""Logits that are held at once."""


def nearest(rows: Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``n`` other rows of largest cosine with each, the largest first, and the cosines.

    Both ``(latents, n)``; fewer columns where there are fewer rows. Memory is bounded; the time
    grows with the square of the number of rows.
    """
    return neighbours(unit_rows(rows, "rows of the dictionary"), n)


def logit_effects(
    rows: Tensor, unembedding: Tensor, n: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The tokens whose logits one unit of each latent raises most, and lowers most.

    Each is token numbers and effects, ``(latents, n)``, the strongest first. ``unembedding`` is
    ``(vocabulary, elements)`` with the final normalisation's gain folded in. Effects are
    ``rows @ unembedding.T``, before the division by the norm of the residual stream, which is
    positive and differs from token to token: they rank tokens, and are no changes of logits.
    """
    weight = unembedding.detach().to(rows)
    n = min(n, len(weight))
    up: list[tuple[np.ndarray, np.ndarray]] = []
    down: list[tuple[np.ndarray, np.ndarray]] = []
    for part in rows.split(max(1, PIECE // len(weight))):
        effects = part @ weight.T
        for found, largest in ((up, True), (down, False)):
            best = effects.topk(n, dim=1, largest=largest)
            found.append((best.indices.cpu().numpy(), best.values.cpu().numpy()))
    return _joined(up), _joined(down)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    numbers, values = zip(*parts, strict=True)
    return np.concatenate(numbers), np.concatenate(values)
