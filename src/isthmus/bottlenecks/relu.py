"""The rectifier: latents are on where their pre-activation is positive."""

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Code
from isthmus.bottlenecks.batchtopk import over
from isthmus.bottlenecks.sparse import Dictionary, DictionaryEncoder, FiringCounter
from isthmus.bottlenecks.start import Control, start_for
from isthmus.kernels import Preactivations

EARLY = 0.5
"""The first coefficient as a share of its estimate: too low a price is the lesser harm."""


class ReLU(nn.Module):
    """``z = max(u, 0)``; counts who fires in training.

    With a ``control`` the encoder's biases start where the control's target of latents is active.
    ``price`` is the coefficient at which a penalty ``price |z|_1`` outweighs a unit gain of one
    active latent: 2 for a summed squared error, 2 / elements for a mean one.
    """

    def __init__(
        self,
        width: int,
        dead_after: int,
        *,
        control: Control | None = None,
        price: float = 2.0,
    ) -> None:
        super().__init__()
        self.counter = FiringCounter(width, dead_after)
        self.control, self.price = control, price

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        code = over(h, 0.0, h if sample else None)
        if sample and self.training:
            self.counter.count(code)
            if self.control is not None:
                self.control.measure(code)
        return code

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start at the control's target."""
        if self.control is None:
            return
        encoder, dictionary = model.encoder, model.decoder
        assert isinstance(encoder, DictionaryEncoder)
        assert isinstance(dictionary, Dictionary)
        start = start_for(model, x, self.control.target)
        # A tied weight keeps its rows at norm 1.
        tied = encoder.weight is dictionary.weight
        active = torch.relu(start.u - start.cutoffs)
        gain = 1.0 if tied else start.gain(active, dictionary.weight)
        encoder.bias.sub_(start.cutoffs).mul_(gain)
        if not tied:
            encoder.weight.mul_(gain)
        # Where |x - x^|^2 + c |z|_1 is stationary, a latent at its cutoff t gains 2 t and costs c.
        price = EARLY * self.price * abs(start.height)
        self.control.begin(price, gain * start.spread)
