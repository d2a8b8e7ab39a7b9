"""An exponential moving average of the weights."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """``average <- decay average + (1 - decay) weights`` after every step.

    The decay of step t is at most ``(1 + t) / (10 + t)``, so that a short run does not end on its
    initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.live = dict(model.named_parameters())
        self.mean: dict[str, Tensor] = {n: p.detach().clone() for n, p in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.mean.values()), list(self.live.values()), 1.0 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the averaged weights in the place of the live ones."""
        for name, parameter in self.live.items():
            parameter.copy_(self.mean[name])
