"""A linear encoder that has no weight of its own: it reads with the decoder's atoms."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, LinearEncoder, linear_decoder
from isthmus.kernels import Preactivations, preactivations_of


class TiedEncoder(LinearEncoder, nn.Module):
    """``(x - b_dec) W + b`` with the weight of the model's decoder, whose rows are the latents.

    ``bias`` ``(width,)`` is trained, or with ``held`` a buffer that a rule sets. With
    ``subtract_bias`` the decoder's bias is subtracted first; of a ``fixed_centre`` no gradient
    reaches the decoder's bias that way.
    """

    by_latent = ("bias",)

    bias: Tensor

    def __init__(
        self,
        width: int,
        *,
        held: bool = False,
        subtract_bias: bool = False,
        fixed_centre: bool = False,
    ) -> None:
        super().__init__()
        self.subtract_bias, self.fixed_centre = subtract_bias, fixed_centre
        if held:
            self.register_buffer("bias", torch.zeros(width))
        else:
            self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, *, model: Autoencoder) -> Preactivations:
        decoder = linear_decoder(model)
        centre = decoder.offset if self.subtract_bias else None
        if centre is not None and self.fixed_centre:
            centre = centre.detach()
        return preactivations_of(x.flatten(1), decoder.atoms(), self.bias, centre)

    def read_rows(self, model: Autoencoder) -> tuple[Tensor, Tensor]:
        """The decoder's weight, and ``b`` with the centre multiplied in."""
        decoder = linear_decoder(model)
        if not self.subtract_bias:
            return decoder.atoms(), self.bias
        return decoder.atoms(), self.bias - decoder.atoms() @ decoder.offset
