"""A source's rows as a model reads them, for solvers that look at all of them."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Source
from isthmus.errors import IsthmusError
from isthmus.notices import say

CHUNK = 2**15
"""Rows that are read at once; no result depends on it beyond rounding."""


def model_rows(
    model: Autoencoder, source: Source, who: str, numbers: Tensor | None = None
) -> Iterator[Tensor]:
    """Rows in the model's units, some at a time, ``(rows, d)`` in float64 on the CPU.

    All of them in order, or those of ``numbers``, int64 ``(n,)``. ``who`` reads them: a mask is an
    :class:`IsthmusError` of that name.
    """
    numbers = torch.arange(len(source)) if numbers is None else numbers
    for some in numbers.split(CHUNK):
        batch = source.batch(some)
        if batch.mask is not None:
            raise IsthmusError(
                f"{who} reads complete rows, and these have a mask: fill what is "
                "missing, or use a recipe that is trained by gradients"
            )
        yield model.scaler(batch.to(model.device).x).double().cpu().flatten(1)


def gathered(model: Autoencoder, source: Source, who: str, most: int) -> np.ndarray:
    """All rows in the model's units, float64 ``(rows, d)``, or ``most`` of them, drawn at random.

    That others are left out is said.
    """
    total = len(source)
    numbers = None
    if total > most:
        say(
            f"{who} is fitted to {most:,} of {total:,} rows, drawn at random: rows=N for more, "
            "which are held in memory"
        )
        numbers = torch.randperm(total)[:most].sort().values
    x = np.empty((min(total, most), model.signal.numel), dtype=np.float64)
    start = 0
    for some in model_rows(model, source, who, numbers):
        x[start : start + len(some)] = some.numpy()
        start += len(some)
    return x
