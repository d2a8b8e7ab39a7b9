"""One step of a dictionary that several ranks hold: gradients and their norm over all of them."""

from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder
from isthmus.ranks import Shard
from isthmus.training.options import TrainingOptions
from isthmus.training.sharding import sliced
from isthmus.training.stepper import Stepper


class ShardedStepper(Stepper):
    """As :class:`Stepper`, of a model that was cut by latents: see :mod:`isthmus.ranks`.

    Optimisers, averages, projections and constraints see a rank's own rows. Two things are of all
    ranks: the gradients of whole weights, which are summed in one exchange, and the norm to which
    gradients are clipped, to which each rank adds the squares of its rows.
    """

    def __init__(
        self, model: Autoencoder, options: TrainingOptions, shard: Shard, **about: Any
    ) -> None:
        self.shard, self.sliced = shard, sliced(model)
        super().__init__(model, options, **about)

    def _limit(self, player: str) -> None:
        pairs = [(n, p) for n, p in self.named[player] if p.requires_grad]
        whole = [p for n, p in pairs if n not in self.sliced]
        self._sum_gradients(whole)
        if self.options.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters[player], self.options.clip_value)
        if self.options.clip is None:
            return
        rows = [p.grad for n, p in pairs if n in self.sliced and p.grad is not None]
        norm = self.shard.reduce(_square(rows, self.device)) + _square(
            [p.grad for p in whole if p.grad is not None], self.device
        )
        nn.utils.clip_grads_with_norm_(
            self.parameters[player], self.options.clip, norm.sqrt().to(self.model.dtype)
        )

    @torch.no_grad()
    def _sum_gradients(self, whole: list[nn.Parameter]) -> None:
        """The gradients of weights that every rank has, of which each has a part."""
        if not whole:
            return
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in whole]
        flat = self.shard.reduce(torch.cat([part.flatten() for part in parts]))
        for parameter, part in zip(whole, flat.split([p.numel() for p in whole]), strict=True):
            parameter.grad = part.view_as(parameter).clone()


def _square(gradients: list[Tensor], device: torch.device) -> Tensor:
    """The sum of all squares, a float64 scalar."""
    if not gradients:
        return torch.zeros((), dtype=torch.float64, device=device)
    return nn.utils.get_total_norm(gradients).double().square()
