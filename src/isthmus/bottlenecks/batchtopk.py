"""Keeping a given number of latents on average over a batch."""

import math

import torch
from torch import Tensor

from isthmus.anatomy import (
    AnySparseCode,
    Autoencoder,
    Code,
    Look,
    Output,
    Part,
    SparseCode,
    Step,
    ThresholdCode,
    View,
)
from isthmus.bottlenecks.dictionary_start import fit_scale, sampled, start_at_median
from isthmus.bottlenecks.firing import FiringCounter
from isthmus.bottlenecks.one_threshold import OneThreshold
from isthmus.kernels import Preactivations
from isthmus.ranks import anywhere, counted, dealt, kth_largest, lowest

_SAMPLE = 128
_SLACK = (1.25, 2.5)


class BatchTopK(OneThreshold, Part):
    """Keeps the ``k rows`` largest rectified pre-activations of the whole batch.

    The smallest value kept, averaged over the batches of training (see :class:`OneThreshold`), is
    the ``threshold`` that a latent must exceed at inference, whatever else is in the batch
    (Bussmann et al. 2024, section 3).

    With ``weigh`` values are multiplied by the lengths of the decoder's atoms where they are
    compared (not where they are used): in the batch, and with the threshold.
    """

    by_latent = ()

    def __init__(
        self, width: int, k: int, dead_after: int, *, decay: float = 0.99, weigh: bool = False
    ) -> None:
        super().__init__()
        self.width, self.k, self.decay, self.weigh = width, k, decay, weigh
        self.counter = FiringCounter(width, dead_after)
        self.start_threshold()

    def forward(
        self, h: Preactivations, *, sample: bool = False, model: Autoencoder | None = None
    ) -> Code:
        lengths = self.lengths(model)
        if not (sample and self.training):
            return over(h, self.threshold, h if sample else None, lengths)
        return top_of_batch(h, self.k, lengths)

    @torch.no_grad()
    def observe(self, out: Output, step: Step, *, model: Autoencoder | None = None) -> None:
        """Take the smallest value that a step's batch kept into the average."""
        code, lengths = out.code_as(AnySparseCode, self), self.lengths(model)
        entries = code.entries
        if lengths is not None:
            entries = entries * (lengths[code.indices] if isinstance(code, SparseCode) else lengths)
        parts = [smallest_of(part) for part in entries.chunk(step.parts)]
        self.take_in(parts[0] if len(parts) == 1 else torch.stack(parts).mean(), step)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start the decoder's bias at the geometric median of the data, and fit the scale.

        The encoder is multiplied by the number with which the first reconstruction is best.
        """
        start_at_median(model, look.x)
        some, lengths = sampled(look.x), self.lengths(model)
        fit_scale(model, some, top_of_batch(model.encode_view(View(some)), self.k, lengths))


def over(
    h: Preactivations,
    threshold: Tensor | float,
    keep: Preactivations | None = None,
    lengths: Tensor | None = None,
) -> Code:
    """The code of all pre-activations that exceed a (non-negative) threshold, or one ``(width,)``.

    With ``lengths`` ``(width,)`` that is compared with their product.
    """
    least = torch.as_tensor(threshold, device=h.bias.device).to(h.bias.dtype).clamp_min(0.0)
    cutoff = least.expand(h.width).contiguous() if lengths is None else _cutoff(least, lengths)
    entries = h.above(cutoff)
    if entries is None:
        u = h.dense()
        return ThresholdCode(torch.where(u > cutoff, u, 0.0), keep)
    values, indices = entries
    return SparseCode(values, indices, h.width, keep)


def top_of_batch(h: Preactivations, k: int, lengths: Tensor | None = None) -> Code:
    """The code with the ``k rows`` largest rectified values of a batch.

    With ``lengths`` ``(width,)`` values are compared by their product with these.

    It has fewer entries where fewer are positive, and never more: of equal values at the cut the
    first are kept, as many as there is room for.

    A few rows say roughly where the cut will be; what lies above a cautious guess is then found
    exactly, and the cut made among it. Where the guess was too bold another is made, and at last
    everything computed.
    """
    total = k * len(h)
    for slack in _SLACK:
        guess = _guess(h, k, slack, lengths)
        if guess is None:
            break
        cutoff = torch.full_like(h.bias.detach(), guess)
        entries = h.above(cutoff if lengths is None else _cutoff(cutoff, lengths))
        if anywhere(entries is None):
            break
        assert entries is not None
        values, indices = entries
        if counted(int((values != 0).sum())) < total and guess > 0.0:
            continue
        key = values.detach()
        kept = _cut(key if lengths is None else key * lengths[indices], total)
        return SparseCode(torch.where(kept, values, 0.0), indices, h.width, h)
    u = torch.relu(h.dense())
    key = u.detach() if lengths is None else u.detach() * lengths
    return ThresholdCode(torch.where(_cut(key, total), u, 0.0), h)


def smallest_of(entries: Tensor) -> Tensor:
    """The smallest positive entry, a scalar; 0 where none is."""
    least = lowest(torch.where(entries > 0, entries, torch.inf).min())
    return torch.where(least.isinf(), 0.0, least)


def _cutoff(value: Tensor, lengths: Tensor) -> Tensor:
    """What pre-activations must exceed so that their product with ``lengths`` exceeds a value.

    An atom of no length never does: its latent rebuilds nothing.
    """
    return value / lengths


@torch.no_grad()
def _guess(h: Preactivations, k: int, slack: float, lengths: Tensor | None) -> float | None:
    """A number that more than ``k`` latents a row exceed, judged by some of the rows."""
    rows = torch.arange(0, len(h), max(1, len(h) // _SAMPLE), device=h.bias.device)
    u = h.take(rows).dense()
    sample = (u if lengths is None else u * lengths).flatten()
    place = math.ceil(slack * k * len(rows))
    if place >= counted(len(sample)):
        return None
    return max(0.0, float(kth_largest(sample, place)))


def _cut(values: Tensor, total: int) -> Tensor:
    """Which of the ``values`` ``(rows, places)`` stay.

    At most ``total`` stay, and only positive ones.
    """
    positive = values[values > 0]
    if counted(len(positive)) <= total:
        return values > 0
    cut = kth_largest(positive, total)
    kept = values > cut
    # In half precision many values equal the cut: without this, far too many would stay.
    ties = (values == cut).flatten().nonzero().flatten()
    kept.view(-1)[ties[: dealt(len(ties), total - counted(int(kept.sum())))]] = True
    return kept
