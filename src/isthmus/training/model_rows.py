"""A source's rows as a model reads them, for solvers that look at all of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Source
from isthmus.errors import IsthmusError

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
