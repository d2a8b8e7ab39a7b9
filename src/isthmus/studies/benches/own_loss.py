"""Each model's own objective on rows that it was not fitted to: what its learning rate is chosen
by where the models of a claim have different objectives."""

import torch
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder, Clock, evaluating
from isthmus.anatomy.randomness import drawing

ROWS_AT_ONCE = 256
"""Objectives that compare the rows of a batch are measured on batches of about training's size."""


def own_loss(model: Autoencoder, rows: Array, seed: int) -> float:
    """The objective on ``rows``, at its weights of the end of training, mean over batches.

    One draw of each code, the same for every model of the same size and seed; what does not fill a
    batch is left out, unless there is no more.
    """
    losses: list[Tensor] = []
    counted = len(rows) - len(rows) % ROWS_AT_ONCE or len(rows)
    with torch.no_grad(), evaluating(model), drawing(model.device, seed):
        for batch in model.batches(rows[:counted], ROWS_AT_ONCE):
            out = model(batch, Clock(1, 1))
            losses.append(model.objective(model, out).total)
    return float(torch.stack(losses).mean())
