"""Keeping the largest latent of each of several groups."""

import torch
from torch import Tensor

from isthmus.anatomy import Rule
from isthmus.bottlenecks.topk import TopK
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations


class GroupMax(TopK):
    """Of each of k groups of neighbouring latents the largest pre-activation, rectified.

    Groups are of one size, or where the width is no multiple of k of sizes that differ by one
    (latent i is in group ``floor(i k / width)``). Nothing is compared across groups.
    """

    def __init__(self, width: int, k: int, dead_after: int) -> None:
        super().__init__(width, k, dead_after, fit_scale=True)

    def rule(self) -> Rule:
        """One of each of so many groups."""
        return Rule("groupmax", self.k)

    def times(self, factors: Tensor) -> None:
        """Nothing, where the latents of each group grow alike."""
        group = torch.arange(self.width, device=factors.device) * self.k // self.width
        first = torch.searchsorted(group, torch.arange(self.k, device=factors.device))
        if not torch.allclose(factors, factors[first][group]):
            raise IsthmusError(
                "the latents of a group are chosen by their size, and would be others if each was "
                "multiplied by the length of its atom: leave the atoms as they are"
            )

    def _top(self, h: Preactivations, k: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        values, indices = h.best_of_groups(k)
        return torch.relu(values), indices
