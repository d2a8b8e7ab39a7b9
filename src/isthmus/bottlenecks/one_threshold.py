"""One threshold for all latents, an average over the batches of training."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Rule, Ruled, Step, norms
from isthmus.bottlenecks.topk import check_order


class OneThreshold(Ruled):
    """What bottlenecks share that keep k latents in training and at inference those above a number.

    The ``threshold`` is an average of the smallest values that were kept. It weighs each new batch
    with ``1 - decay``, or more where the memory of ``1 / (1 - decay)`` batches would exceed a
    twentieth of the run: while training shrinks the values, an average over more of them lies too
    high and leaves too few latents active. All batches weigh alike while there are fewer than it
    remembers. Inherited beside ``nn.Module``, whose ``__init__`` calls :meth:`start_threshold`.
    """

    threshold: Tensor
    batches: Tensor
    width: int
    k: int
    weigh: bool
    decay: float

    def start_threshold(self) -> None:
        """Register the threshold, zero before training."""
        # Double: a step of 1 - decay must not be lost to rounding.
        self.register_buffer("threshold", torch.zeros((), dtype=torch.float64))  # type: ignore[attr-defined]
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))  # type: ignore[attr-defined]

    def rule(self) -> Rule:
        """One threshold for all."""
        threshold = self.threshold.to(torch.float32).repeat(self.width)
        return Rule("batchtopk", self.k, threshold, self.weigh)

    @torch.no_grad()
    def times(self, factors: Tensor) -> None:
        """Multiply the threshold, where latents are not compared by their contribution."""
        check_order(factors, self.weigh)
        if not self.weigh:
            self.threshold.mul_(factors[0].to(self.threshold))

    @torch.no_grad()
    def lengthened(self, factor: Tensor) -> None:
        """Multiply the threshold, where contributions are compared with it."""
        if self.weigh:
            self.threshold.mul_(factor.to(self.threshold))

    def lengths(self, model: Autoencoder | None) -> Tensor | None:
        """What values are multiplied by where they are compared, ``(width,)``; None without."""
        if not self.weigh:
            return None
        assert model is not None
        return norms(model).detach()

    def take_in(self, smallest: Tensor, step: Step) -> None:
        """Take a step's smallest value into the average."""
        self.batches += 1
        memory = min(1.0 / (1.0 - self.decay), max(1.0, 0.05 * step.clock.total))
        share = 1.0 / self.batches.double().clamp_max(memory)
        self.threshold += share * (smallest.to(self.threshold) - self.threshold)
