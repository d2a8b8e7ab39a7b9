"""The atoms that lie nearest, and no amount of them."""

import torch
from torch import nn

from isthmus.anatomy import SparseCode
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations


class NearestAtom(nn.Module):
    """``k`` latents a row, of the value ``1 / k`` each: those of the largest pre-activations.

    With pre-activations ``<x, a> - |a|^2 / 2`` they are the atoms ``a`` nearest to ``x``, since
    ``|x - a|^2 = |x|^2 - 2 (<x, a> - |a|^2 / 2)``, with ``<x, a> / |a|`` those of the highest
    cosine. What is rebuilt is their mean. No gradient reaches the choice.
    """

    def __init__(self, k: int = 1) -> None:
        super().__init__()
        self.k = k

    def forward(self, h: Preactivations, *, sample: bool = False) -> SparseCode:
        if not 1 <= self.k <= h.width:
            raise IsthmusError(
                f"k={self.k} of {h.width} atoms cannot be chosen: set k from 1 to {h.width}"
            )
        values, indices = h.top(self.k)
        shares = torch.full_like(values, 1.0 / self.k).detach()
        return SparseCode(shares, indices, h.width, h if sample else None)
