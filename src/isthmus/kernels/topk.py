"""The k largest pre-activations of each row, rectified."""

import torch
from torch import Tensor

from isthmus._shapes import Float, Int


def topk_relu(
    preactivations: Float[Tensor, "rows width"], k: int
) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
    """Values ``relu(top-k)`` and their latents, unsorted; a selected value of zero is no firing."""
    values, indices = torch.topk(preactivations, k, dim=-1, sorted=False)
    return torch.relu(values), indices
