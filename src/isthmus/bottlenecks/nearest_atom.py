"""The atom that lies nearest, and no amount of it."""

import torch
from torch import nn

from isthmus.anatomy import SparseCode
from isthmus.kernels import Preactivations


class NearestAtom(nn.Module):
    """One latent a row, of the value one: that of the largest pre-activation.

    With pre-activations ``<x, a> - |a|^2 / 2`` it is the atom ``a`` nearest to ``x``, since
    ``|x - a|^2 = |x|^2 - 2 (<x, a> - |a|^2 / 2)``. No gradient reaches the choice.
    """

    def forward(self, h: Preactivations, *, sample: bool = False) -> SparseCode:
        values, indices = h.top(1)
        return SparseCode(torch.ones_like(values).detach(), indices, h.width, h if sample else None)
