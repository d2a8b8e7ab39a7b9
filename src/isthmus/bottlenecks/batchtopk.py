"""Keeping a given number of latents on average over a batch."""

import math

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Clock, Code, SparseCode, ThresholdCode
from isthmus.bottlenecks.sparse import FiringCounter
from isthmus.bottlenecks.start import fit_scale, sample_of, start_at_median
from isthmus.kernels import Preactivations

_SAMPLE = 128
_SLACK = (1.25, 2.5)


class BatchTopK(nn.Module):
    """Keeps the ``k rows`` largest rectified pre-activations of the whole batch.

    The smallest value kept, averaged over the batches of training, is the ``threshold`` that a
    latent must exceed at inference, whatever else is in the batch (Bussmann et al. 2024, section
    3). The average weighs each new batch with ``1 - decay``, or more where the memory of
    ``1 / (1 - decay)`` batches would exceed a twentieth of the run: while training shrinks the
    values, an average over more of them lies too high and leaves too few latents active. All
    batches weigh alike while there are fewer than it remembers.
    """

    reads = "clock"
    threshold: Tensor
    batches: Tensor

    def __init__(self, width: int, k: int, dead_after: int, *, decay: float = 0.99) -> None:
        super().__init__()
        self.width, self.k, self.decay = width, k, decay
        self.counter = FiringCounter(width, dead_after)
        # Double: a step of 1 - decay must not be lost to rounding.
        self.register_buffer("threshold", torch.zeros((), dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(
        self, h: Preactivations, *, sample: bool = False, clock: Clock | None = None
    ) -> Code:
        if not (sample and self.training):
            return over(h, float(self.threshold), h if sample else None)
        code, smallest = top_of_batch(h, self.k)
        self._track(smallest, clock)
        self.counter.count(code)
        return code

    @torch.no_grad()
    def _track(self, smallest: Tensor, clock: Clock | None) -> None:
        self.batches += 1
        memory = 1.0 / (1.0 - self.decay)
        if clock is not None:
            memory = min(memory, max(1.0, 0.05 * clock.total))
        share = 1.0 / min(memory, float(self.batches))
        self.threshold += share * (smallest.to(self.threshold) - self.threshold)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start the decoder's bias at the geometric median of the data, and fit the scale.

        The encoder is multiplied by the number with which the first reconstruction is best.
        """
        start_at_median(model, x)
        some = sample_of(x)
        fit_scale(model, some, top_of_batch(model.encoder(some), self.k)[0])


def over(h: Preactivations, threshold: float, keep: Preactivations | None = None) -> Code:
    """The code of all pre-activations that exceed a (non-negative) threshold."""
    cutoff = torch.full((h.width,), max(threshold, 0.0), device=h.x.device, dtype=h.x.dtype)
    found = h.above(cutoff)
    if found is None:
        u = h.dense()
        return ThresholdCode(torch.where(u > cutoff, u, 0.0), keep)
    values, indices = found
    return SparseCode(values, indices, h.width, keep)


def top_of_batch(h: Preactivations, k: int) -> tuple[Code, Tensor]:
    """The code with the ``k rows`` largest rectified values of a batch, and the smallest of them.

    It has fewer entries where fewer are positive, and never more: of equal values at the cut the
    first are kept, as many as there is room for.

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
        values, indices = found
        if int((values != 0).sum()) < wanted and guess > 0.0:
            continue
        kept, smallest = _cut(values.detach(), wanted)
        return SparseCode(torch.where(kept, values, 0.0), indices, h.width, h), smallest
    u = torch.relu(h.dense())
    kept, smallest = _cut(u.detach(), wanted)
    return ThresholdCode(torch.where(kept, u, 0.0), h), smallest


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
    """Which of the ``values`` ``(rows, places)`` stay, and the smallest of these (0 if none).

    At most ``wanted`` stay, and only positive ones.
    """
    positive = values[values > 0]
    if len(positive) <= wanted:
        smallest = positive.min() if len(positive) else values.new_zeros(())
        return values > 0, smallest
    cut = _kth_largest(positive, wanted)
    kept = values > cut
    # In half precision many values equal the cut: without this, far too many would stay.
    ties = (values == cut).flatten().nonzero().flatten()
    kept.view(-1)[ties[: wanted - int(kept.sum())]] = True
    return kept, cut


def _kth_largest(values: Tensor, k: int) -> Tensor:
    return values.kthvalue(len(values) - k + 1).values
