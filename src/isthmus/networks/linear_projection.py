"""A linear encoder whose every latent is computed: coordinates, not a choice of few."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, LinearEncoder, linear_decoder


class LinearProjection(LinearEncoder, nn.Module):
    """``(x - b_dec) W^T`` with ``weight`` ``(width, d)`` and the bias of the model's decoder.

    What comes out is a tensor ``(rows, width)``. Without a bias of its own: a row that is the
    decoder's bias has the code zero. ``weight`` starts at zero.
    """

    subtract_bias = True

    def __init__(self, width: int, elements: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, elements))

    def forward(self, x: Tensor, *, model: Autoencoder) -> Tensor:
        return (x.flatten(1) - linear_decoder(model).offset) @ self.weight.T

    def read_rows(self, model: Autoencoder) -> tuple[Tensor, Tensor]:
        """``W``, and the bias that subtracting the decoder's is."""
        return self.weight, -(self.weight @ linear_decoder(model).offset)

    @torch.no_grad()
    def times(self, factors: Tensor) -> None:
        """Multiply each latent's row by its factor ``(width,)``, in place."""
        self.weight.mul_(factors[:, None])

    @torch.no_grad()
    def rescale(self, scale: Tensor, offset: Tensor) -> None:
        """Read ``(x - offset) / scale`` where ``x`` was read, in place."""
        self.weight.div_(scale)
