"""Mixing rows with one another."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import View
from isthmus.corruptions.arguments import per_row
from isthmus.errors import IsthmusError
from isthmus.shapes import Float


class Mixup(nn.Module):
    """``w x + (1 - w) x'`` with another row ``x'`` of the batch (Zhang et al. 2018).

    ``w`` is drawn for each row from Beta(alpha, alpha). Small ``alpha`` leaves most rows almost
    as they are.
    """

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        if not alpha > 0:
            raise IsthmusError(f"alpha={alpha} must be positive")
        self.alpha = alpha

    def forward(self, x: Float[Tensor, "rows *shape"]) -> View:
        alpha = torch.tensor(self.alpha, dtype=x.dtype, device=x.device)
        weight = per_row(torch.distributions.Beta(alpha, alpha).sample((len(x),)), x)
        return View(torch.lerp(x[torch.randperm(len(x), device=x.device)], x, weight))
