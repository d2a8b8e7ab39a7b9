"""TopK in training, one threshold at inference."""

from typing import Any

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Output, SparseCode, Step
from isthmus.bottlenecks.batchtopk import over
from isthmus.bottlenecks.one_threshold import OneThreshold
from isthmus.bottlenecks.topk import TopK
from isthmus.kernels import Preactivations
from isthmus.ranks import lowest


class ThresholdTopK(OneThreshold, TopK):
    """Keeps the k largest of each row in training, and at inference all above one ``threshold``.

    That is the smallest value that a row kept, averaged over the rows of a batch and over the
    batches (see :class:`~isthmus.bottlenecks.one_threshold.OneThreshold`), as dictionary_learning
    finds it for ``use_threshold``. Options are those of :class:`TopK`.
    """

    def __init__(
        self, width: int, k: int, dead_after: int, *, decay: float = 0.99, **options: Any
    ) -> None:
        super().__init__(width, k, dead_after, **options)
        self.decay = decay
        self.start_threshold()

    def forward(  # type: ignore[override]  # at inference rows have any number of latents
        self,
        h: Preactivations,
        *,
        sample: bool = False,
        step: Step | None = None,
        model: Autoencoder | None = None,
    ) -> Code:
        if sample and self.training:
            return super().forward(h, sample=sample, step=step, model=model)
        return over(h, self.threshold, h if sample else None, self.lengths(model))

    @torch.no_grad()
    def observe(self, out: Output, step: Step, *, model: Autoencoder | None = None) -> None:
        """Take the smallest value that each of the step's rows kept into the average."""
        code, lengths = out.code_as(SparseCode, self), self.lengths(model)
        values = code.values if lengths is None else code.values * lengths[code.indices]
        self.take_in(smallest_of_rows(values), step)


def smallest_of_rows(values: Tensor) -> Tensor:
    """The mean over rows of the smallest positive value; rows without one do not count."""
    least = lowest(torch.where(values > 0, values, torch.inf).amin(1))
    counted = least.isfinite()
    return torch.where(counted, least, 0.0).sum() / counted.sum().clamp_min(1)
