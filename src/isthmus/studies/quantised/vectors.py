"""The codebook of vectors that scalar quantisation is compared with."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import DiscreteCode
from isthmus.shapes import Float, Int


class VectorCodebook(nn.Module):
    """Sets each of several positions to the nearest of shared, learned vectors.

    Reads ``(rows, positions * width)``; the code's ``indices`` are ``(rows, positions)`` and its
    values are flat again. Gradients pass straight through. ``values`` ``(entries, width)`` starts
    uniform on [-0.5, 0.5], the range of QLAE's. van den Oord, Vinyals, Kavukcuoglu 2017.
    """

    def __init__(self, positions: int, entries: int, width: int) -> None:
        super().__init__()
        self.positions = positions
        self.values = nn.Parameter(torch.rand(entries, width) - 0.5)

    def forward(self, h: Float[Tensor, "rows features"], *, sample: bool = False) -> DiscreteCode:
        pieces = h.detach().unflatten(1, (self.positions, -1))
        distances = (pieces[:, :, None] - self.values.detach()).square().sum(3)
        indices: Int[Tensor, "rows positions"] = distances.argmin(2)
        quantised = self.values[indices].flatten(1)
        z = quantised.detach() + (h - h.detach())
        return DiscreteCode(z, indices, quantised, h, len(self.values))
