"""Gated latents: one path decides which are on, the other how large they are."""

import math

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Code, Rule, Ruled, SparseCode, ThresholdCode
from isthmus.bottlenecks.dictionary_start import EARLY, Control, Start, dictionary_of
from isthmus.bottlenecks.penalised import Penalised
from isthmus.kernels import Preactivations, take_at
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder


class Gated(Ruled, Penalised):
    """``f = 1[pi > 0] ReLU(exp(r) (pi - b_gate) + b_mag)`` with the encoder's output ``pi``.

    ``pi = W_gate (x - b_dec) + b_gate``, so the magnitudes are those of the tied weight
    ``W_mag = exp(r) W_gate`` (Rajamanoharan et al. 2024, equations 5 to 7, arXiv:2404.16014).
    ``r`` and ``b_mag`` ``(width,)`` start at zero. No gradient of f reaches the gate itself: the
    terms that read the code's ``gates``, which are ``(ReLU(pi),)``, train it.
    """

    by_latent = ("log_scale", "bias")

    def __init__(self, width: int, dead_after: int, *, control: Control | None = None) -> None:
        super().__init__(width, dead_after, control)
        self.log_scale = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def rule(self) -> Rule:
        """One path of gates, another of sizes."""
        return Rule("gated", log_scale=self.log_scale.detach(), bias=self.bias.detach())

    @torch.no_grad()
    def times(self, factors: Tensor) -> None:
        """Multiply the sizes' biases: their weights are the gates'."""
        self.bias.mul_(factors)

    def _code(self, h: Preactivations, keep: Preactivations | None) -> Code:
        entries = h.above(torch.zeros_like(h.bias))
        if entries is None:
            pi = h.dense()
            size = torch.relu((pi - h.bias) * self.log_scale.exp() + self.bias)
            z = torch.where(pi > 0, size, 0.0)
            return ThresholdCode(z, keep, gates=(torch.relu(pi),))
        pi, indices = entries
        inner = pi - take_at(h.bias, indices)
        size = inner * take_at(self.log_scale, indices).exp() + take_at(self.bias, indices)
        # Not "greater": NaN is an open gate, so that it shows.
        values = torch.where(pi != 0, torch.relu(size), 0.0)
        return SparseCode(values, indices, h.width, keep, gates=(pi,))

    def _begin(
        self, control: Control, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary
    ) -> None:
        over = start.u - start.cutoffs
        gain = start.gain(torch.relu(over), dictionary.weight)
        size = start.gain(torch.where(over > 0, start.u, 0.0).clamp_min(0.0), dictionary.weight)
        encoder.bias.sub_(start.cutoffs).mul_(gain)
        encoder.weight.mul_(gain)
        self.log_scale.fill_(math.log(size / gain))
        control.begin(EARLY * 2.0 * abs(start.height), gain * start.spread)

    @torch.no_grad()
    def restart(self, latents: Tensor, living: Tensor, own: Tensor) -> None:
        """The factor of the sizes becomes that of the living, their bias zero."""
        self.log_scale[latents] = self.log_scale[living].mean()
        self.bias[latents] = 0.0

    @torch.no_grad()
    def shift(self, model: Autoencoder, amount: Tensor) -> None:
        """Raise both cutoffs of every latent: of its gate, and of its size in proportion."""
        dictionary_of(model)[0].bias.sub_(amount)
        self.bias.sub_(amount * self.log_scale.exp())
