"""The bottleneck: a few levels a channel, and no code book to learn."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import Code


class FiniteScalar(nn.Module):
    """Bound each channel and round it to ``levels`` values (Mentzer et al. 2023, section 3).

    Reads ``(rows, len(levels))``; ``z`` is of that shape, with values in [-1, 1]. The gradient
    passes straight through the rounding.
    """

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))

    def forward(self, h: Tensor, *, sample: bool = False) -> Code:
        # An even number of levels has none at zero: all are moved by a half.
        half, offset = (self.levels - 1) * 1.001 / 2, 0.5 * (1 - self.levels % 2)
        bounded = (h + (offset / half).atanh()).tanh() * half - offset
        rounded = bounded + (bounded.round() - bounded).detach()
        return Code(rounded / (self.levels // 2))
