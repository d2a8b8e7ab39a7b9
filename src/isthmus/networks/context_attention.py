"""Attention of a position to the codes of those before it, which predicts its own code."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import IsthmusError
from isthmus.shapes import Float


class ContextAttention(nn.Module):
    """Codes ``(texts, positions, width)`` of each position, from those of the positions before it.

    A position asks with its own code and reads the codes that stand before it; the first one reads
    zeros. What comes out is rectified. Keys and queries are ``width / narrow`` numbers wide; rows
    of all four matrices have at first the length that is usual of what they give (Lubana et al.
    2025, arXiv:2511.01836, and the authors' code).
    """

    def __init__(self, width: int, heads: int, narrow: int = 1) -> None:
        super().__init__()
        if heads < 1 or narrow < 1 or width % (heads * narrow):
            raise IsthmusError(
                f"{width} latents do not divide into heads={heads} with narrow={narrow}: choose a "
                f"multiple of {max(1, heads * narrow)} latents, or other heads"
            )
        self.heads = heads
        self.k_ctx = nn.Linear(width, width // narrow)
        self.q_target = nn.Linear(width, width // narrow)
        self.v_ctx = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, width)
        with torch.no_grad():
            for part, fan in (
                (self.k_ctx, width // narrow // heads),
                (self.q_target, width // narrow // heads),
                (self.v_ctx, width // heads),
                (self.c_proj, width),
            ):
                part.weight.copy_(F.normalize(part.weight, dim=1) / math.sqrt(fan))

    def forward(
        self, codes: Float[Tensor, "texts positions width"]
    ) -> Float[Tensor, "texts positions width"]:
        before = F.pad(codes[:, :-1], (0, 0, 1, 0))
        query, key, value = (
            part(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, of in ((self.q_target, codes), (self.k_ctx, before), (self.v_ctx, before))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return torch.relu(self.c_proj(mixed.transpose(1, 2).flatten(2)))
