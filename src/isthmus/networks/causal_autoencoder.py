"""An autoencoder of sequences whose decoder looks at the last few places."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.shapes import Float


class CausalAutoencoder(nn.Module):
    """``conv(GELU(linear x))``: each place is rebuilt from itself and the places before.

    The code has ``share`` times the width; the convolution reads ``kernel`` places. Without
    ``causal`` it is centred, and a place sees the next ones: so in the released code of Ben
    Chaliah, Dellagi 2024 (arXiv:2501.00530), where a language model is thereby told the token that
    it is asked for.
    """

    def __init__(
        self, width: int, share: float = 0.75, kernel: int = 3, *, causal: bool = True
    ) -> None:
        super().__init__()
        code = max(1, int(share * width))
        self.encoder = nn.Linear(width, code)
        self.decoder = nn.Conv1d(code, width, kernel)
        ahead = 0 if causal else (kernel - 1) // 2
        self.padding = (kernel - 1 - ahead, ahead)

    def forward(self, x: Float[Tensor, "rows places width"]) -> Float[Tensor, "rows places width"]:
        code = F.gelu(self.encoder(x)).transpose(1, 2)
        out: Tensor = self.decoder(F.pad(code, self.padding))
        return torch.transpose(out, 1, 2)
