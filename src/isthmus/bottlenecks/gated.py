"""Gated latents: one path decides which are on, the other how large they are."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Code, SparseCode, ThresholdCode
from isthmus.bottlenecks.relu import EARLY
from isthmus.bottlenecks.sparse import Dictionary, DictionaryEncoder, FiringCounter
from isthmus.bottlenecks.start import Control, start_for
from isthmus.kernels import Preactivations, take_at


class GatedSparseCode(SparseCode):
    """A sparse code with ``gate``, the rectified gate of each entry, ``(rows, most)``."""

    def __init__(
        self, values: Tensor, indices: Tensor, width: int, preactivations: object, gate: Tensor
    ) -> None:
        super().__init__(values, indices, width, preactivations)
        self.gate = gate


@dataclass(eq=False)
class GatedThresholdCode(ThresholdCode):
    """A dense code with ``gate``, the rectified gate of each latent, ``(rows, width)``."""

    gate: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        return {"z": self.z}


class Gated(nn.Module):
    """``f = 1[pi > 0] ReLU(exp(r) (pi - b_gate) + b_mag)`` with the encoder's output ``pi``.

    ``pi = W_gate (x - b_dec) + b_gate``, so the magnitudes are those of the tied weight
    ``W_mag = exp(r) W_gate`` (Rajamanoharan et al. 2024, equations 5 to 7, arXiv:2404.16014).
    ``r`` and ``b_mag`` ``(width,)`` start at zero. No gradient of f reaches the gate itself: the
    terms that read ``gate`` of the code train it.
    """

    def __init__(self, width: int, dead_after: int, *, control: Control | None = None) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.counter = FiringCounter(width, dead_after)
        self.control = control

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        code = self._code(h, h if sample else None)
        if sample and self.training:
            self.counter.count(code)
            if self.control is not None:
                self.control.measure(code)
        return code

    def _code(self, h: Preactivations, keep: Preactivations | None) -> Code:
        found = h.above(torch.zeros_like(h.bias))
        if found is None:
            pi = h.dense()
            size = torch.relu((pi - h.bias) * self.log_scale.exp() + self.bias)
            return GatedThresholdCode(torch.where(pi > 0, size, 0.0), keep, gate=torch.relu(pi))
        pi, indices, counts = found
        real = torch.arange(pi.shape[1], device=pi.device) < counts[:, None]
        inner = pi - take_at(h.bias, indices)
        size = inner * take_at(self.log_scale, indices).exp() + take_at(self.bias, indices)
        values = torch.where(real, torch.relu(size), 0.0)
        gate = torch.where(real, pi, 0.0)
        return GatedSparseCode(values, indices, h.width, keep, gate)

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start at the control's target."""
        if self.control is None:
            return
        encoder, dictionary = model.encoder, model.decoder
        assert isinstance(encoder, DictionaryEncoder)
        assert isinstance(dictionary, Dictionary)
        start = start_for(model, x, self.control.target)
        over = start.u - start.cutoffs
        gain = start.gain(torch.relu(over), dictionary.weight)
        size = start.gain(torch.where(over > 0, start.u, 0.0).clamp_min(0.0), dictionary.weight)
        encoder.bias.sub_(start.cutoffs).mul_(gain)
        encoder.weight.mul_(gain)
        self.log_scale.fill_(math.log(size / gain))
        self.control.begin(EARLY * 2.0 * abs(start.height), gain * start.spread)


class GateShift:
    """Raises both cutoffs of every gated latent: of its gate, and of its size in proportion."""

    def __init__(self, encoder: DictionaryEncoder, bottleneck: Gated) -> None:
        self.gate, self.size = encoder.bias, bottleneck.bias
        self.log_scale = bottleneck.log_scale

    @torch.no_grad()
    def __call__(self, amount: float) -> None:
        self.gate.sub_(amount)
        self.size.sub_(amount * self.log_scale.exp())
