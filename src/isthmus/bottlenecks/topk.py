"""Bottlenecks that keep a given number of latents: of each row, or of the whole batch."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Code, SparseCode, ThresholdCode
from isthmus.bottlenecks.sparse import Dictionary, FiringCounter, geometric_median
from isthmus.kernels import Preactivations


class TopK(nn.Module):
    """Keeps the k largest pre-activations of each row, rectified; counts who fires in training.

    With ``magnitude`` the k largest by absolute value, their sign kept.
    """

    def __init__(self, width: int, k: int, dead_after: int, *, magnitude: bool = False) -> None:
        super().__init__()
        self.width, self.k, self.magnitude = width, k, magnitude
        self.counter = FiringCounter(width, dead_after)

    def forward(self, h: Preactivations, *, sample: bool = False) -> SparseCode:
        values, indices = h.top(self.k, magnitude=self.magnitude)
        values = values if self.magnitude else torch.relu(values)
        code = SparseCode(values, indices, self.width, h if sample else None)
        if sample and self.training:
            self.counter.count(code)
        return code

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start the decoder's bias at the geometric median of the data."""
        start_at_median(model, x)


@torch.no_grad()
def start_at_median(model: Autoencoder, x: Tensor) -> None:
    """Set the decoder's bias to the geometric median of rows ``x`` in the model's units."""
    dictionary = model.decoder
    assert isinstance(dictionary, Dictionary)
    dictionary.bias.copy_(geometric_median(x.flatten(1)))


class BatchTopK(nn.Module):
    """Keeps the ``k rows`` largest rectified pre-activations of the whole batch.

    The smallest value kept, averaged over the batches of training, is the ``threshold`` that a
    latent must exceed at inference, whatever else is in the batch (Bussmann et al. 2024, section
    3). The average weighs the recent batches with ``1 - decay`` each, and all alike while there are
    fewer than that.
    """

    threshold: Tensor
    batches: Tensor

    def __init__(self, width: int, k: int, dead_after: int, *, decay: float = 0.999) -> None:
        super().__init__()
        self.width, self.k, self.decay = width, k, decay
        self.counter = FiringCounter(width, dead_after)
        # Double: a step of 1 - decay must not be lost to rounding.
        self.register_buffer("threshold", torch.zeros((), dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        if not (sample and self.training):
            return over(h, float(self.threshold), h if sample else None)
        code, smallest = top_of_batch(h, self.k)
        self._track(smallest)
        self.counter.count(code)
        return code

    @torch.no_grad()
    def _track(self, smallest: Tensor) -> None:
        self.batches += 1
        share = max(1.0 - self.decay, 1.0 / float(self.batches))
        self.threshold += share * (smallest.double().cpu() - self.threshold.cpu()).to(
            self.threshold.device
        )

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start the decoder's bias at the geometric median of the data."""
        start_at_median(model, x)


def over(h: Preactivations, threshold: float, keep: Preactivations | None = None) -> Code:
    """The code of all pre-activations that exceed a (non-negative) threshold."""
    cutoff = torch.full((h.width,), max(threshold, 0.0), device=h.x.device, dtype=h.x.dtype)
    found = h.above(cutoff)
    if found is None:
        u = h.dense()
        return ThresholdCode(torch.where(u > cutoff, u, 0.0), keep)
    values, indices, counts = found
    return SparseCode(_filled(values, counts), indices, h.width, keep)


def _filled(values: Tensor, counts: Tensor) -> Tensor:
    """Zeros, which no gradient leaves, beyond each row's count."""
    places = torch.arange(values.shape[1], device=values.device)
    return torch.where(places < counts[:, None], values, 0.0)


_SAMPLE = 128
_SLACK = (1.25, 2.5)


def top_of_batch(h: Preactivations, k: int) -> tuple[Code, Tensor]:
    """The code with the ``k rows`` largest rectified values of a batch, and the smallest of them.

    A few rows say roughly where the cut will be; what lies above a cautious guess is then found
    exactly, and the cut made among it. Where the guess was too bold another is made, and at last
    everything computed.
    """
    wanted = k * len(h)
    for slack in _SLACK:
        guess = _guess(h, k, slack)
        found = None if guess is None else h.above(torch.full_like(h.bias.detach(), guess))
        if found is None or guess is None:
            break
        values, indices, counts = found
        if int(counts.sum()) < wanted and guess > 0.0:
            continue
        values = _filled(values, counts)
        smallest, cut = _cut(values.detach().flatten(), wanted)
        return SparseCode(torch.where(values >= cut, values, 0.0), indices, h.width, h), smallest
    u = torch.relu(h.dense())
    smallest, cut = _cut(u.detach().flatten(), wanted)
    return ThresholdCode(torch.where(u >= cut, u, 0.0), h), smallest


@torch.no_grad()
def _guess(h: Preactivations, k: int, slack: float) -> float | None:
    """A number that more than ``k`` latents a row exceed, judged by some of the rows."""
    rows = torch.arange(0, len(h), max(1, len(h) // _SAMPLE), device=h.x.device)
    sample = Preactivations(h.x[rows], h.weight, h.bias, h.centre).dense().flatten()
    place = math.ceil(slack * k * len(rows))
    if place >= len(sample):
        return None
    return max(0.0, float(_kth_largest(sample, place)))


def _cut(values: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """The smallest positive value kept (0 if none), and the bound at or above which values stay."""
    positive = values[values > 0]
    if len(positive) == 0:
        return values.new_zeros(()), values.new_full((), torch.inf)
    cut = positive.min() if len(positive) <= wanted else _kth_largest(positive, wanted)
    return cut, cut


def _kth_largest(values: Tensor, k: int) -> Tensor:
    return cast(Tensor, values.kthvalue(len(values) - k + 1).values)
