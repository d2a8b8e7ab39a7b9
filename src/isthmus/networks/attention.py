"""The transformer block: pre-norm self-attention and a two-layer perceptron."""

from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import IsthmusError
from isthmus.shapes import Float

MLP_RATIO = 4
EPSILON = 1e-6
"""Added to the variance in layer normalisation, as in the masked autoencoder."""


class SelfAttention(nn.Module):
    """Multi-head self-attention over ``(rows, tokens, width)`` (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise IsthmusError(
                f"width={width} does not divide into {heads} heads: make the width a multiple "
                "of the number of heads"
            )
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "rows tokens width"]) -> Float[Tensor, "rows tokens width"]:
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; GELU, hidden width four times."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, EPSILON)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, EPSILON)
        self.mlp = nn.Sequential(
            nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width)
        )

    def forward(self, x: Float[Tensor, "rows tokens width"]) -> Float[Tensor, "rows tokens width"]:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def blocks(width: int, depth: int, heads: int) -> nn.Sequential:
    """``depth`` blocks and the layer normalisation that a pre-norm stack ends with."""
    stack = [TransformerBlock(width, heads) for _ in range(depth)]
    return nn.Sequential(*stack, nn.LayerNorm(width, EPSILON))


def init_linears(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases in every linear layer (He et al. 2021)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
