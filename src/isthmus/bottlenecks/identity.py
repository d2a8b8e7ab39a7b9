"""No bottleneck but the number of latents."""

from torch import Tensor, nn

from isthmus.anatomy import Code


class Identity(nn.Module):
    """The encoder's output ``(rows, latent)`` is the code."""

    def forward(self, h: Tensor, *, sample: bool = False) -> Code:
        return Code(h)
