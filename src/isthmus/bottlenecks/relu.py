"""The rectifier: latents are on where their pre-activation is positive."""

import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, Look, Rule, Ruled
from isthmus.bottlenecks.batchtopk import over
from isthmus.bottlenecks.dictionary_start import EARLY, Control, Start, dictionary_of, start_for
from isthmus.bottlenecks.penalised import Penalised
from isthmus.kernels import Preactivations
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder

_LEAST_POWER = -3
"""Of two, of the latents that a row has on average at a tied start: few where atoms overlap."""


class ReLU(Ruled, Penalised):
    """``z = max(u, 0)``; counts who fires in training.

    With a ``control`` the encoder's biases start where the control's target of latents is active.
    ``price`` is the coefficient at which a penalty ``price |z|_1`` outweighs a unit gain of one
    active latent: 2 for a summed squared error, 2 / elements for a mean one.
    """

    by_latent = ()

    def __init__(
        self,
        width: int,
        dead_after: int,
        *,
        control: Control | None = None,
        price: float = 2.0,
    ) -> None:
        super().__init__(width, dead_after, control)
        self.price = price

    def rule(self) -> Rule:
        """The rectifier, without a parameter."""
        return Rule("relu")

    def times(self, factors: Tensor) -> None:
        """Nothing: what is positive stays so."""

    def _code(self, h: Preactivations, keep: Preactivations | None) -> Code:
        return over(h, 0.0, keep)

    def _fit(self, model: Autoencoder, look: Look) -> None:
        """Scale the encoder for the first reconstruction; a tied one, which cannot, gets cutoffs.

        These let as many latents pass, of powers of two, as rebuild best.
        """
        encoder, dictionary = dictionary_of(model)
        if encoder.weight is not dictionary.weight:
            super()._fit(model, look)
            return
        best, lowest = encoder.bias.clone(), torch.inf
        for power in range(_LEAST_POWER, (len(encoder.bias) // 2).bit_length()):
            start = start_for(model, look.tensor, 2.0**power)
            rebuilt = torch.relu(start.u - start.cutoffs) @ dictionary.weight
            error = float((rebuilt - start.inner).square().sum())
            if error < lowest:
                best, lowest = encoder.bias - start.cutoffs, error
        encoder.bias.copy_(best)

    def _begin(
        self, control: Control, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary
    ) -> None:
        # A tied weight keeps its rows at norm 1.
        tied = encoder.weight is dictionary.weight
        active = torch.relu(start.u - start.cutoffs)
        gain = 1.0 if tied else start.gain(active, dictionary.weight)
        encoder.bias.sub_(start.cutoffs).mul_(gain)
        if not tied:
            encoder.weight.mul_(gain)
        # Where |x - x^|^2 + c |z|_1 is stationary, a latent at its cutoff t gains 2 t and costs c.
        price = EARLY * self.price * abs(start.height)
        control.begin(price, gain * start.spread)
