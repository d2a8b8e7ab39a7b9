"""Learnt thresholds with the pseudo-derivatives that train them."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from isthmus.anatomy import Autoencoder, Code, Rule, Ruled, SparseCode, ThresholdCode
from isthmus.bottlenecks.dictionary_start import EARLY, Control, Start
from isthmus.bottlenecks.penalised import Penalised
from isthmus.kernels import Preactivations, take_at
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder

BANDWIDTH = 0.5
"""Width of the kernel in standard deviations of the pre-activations, where it is estimated."""


def rectangle(t: Tensor) -> Tensor:
    """The kernel K(t) = 1 where abs(t) < 1/2, else 0."""
    return (t.abs() < 0.5).to(t.dtype)


class JumpReLU(Function):
    """``u H(u - theta)`` with the straight-through derivative for the threshold.

    ``d/du = H(u - theta)`` and ``d/dtheta = -(theta / eps) K((u - theta) / eps)`` (equation 11),
    carried on to ``log theta``. ``log_threshold`` has the shape of ``u`` ``(rows, entries)``, or
    ``(entries,)`` where all rows share it.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, log_threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(u, log_threshold)
        ctx.bandwidth = bandwidth
        return torch.where(u > log_threshold.exp(), u, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        u, log_threshold = ctx.saved_tensors
        threshold, eps = log_threshold.exp(), ctx.bandwidth
        near = rectangle((u - threshold) / eps)
        to_threshold = -(threshold / eps) * near * gradients[0] * threshold
        to_u = torch.where(u > threshold, gradients[0], 0.0)
        return to_u, to_threshold.sum_to_size(log_threshold.shape), None


class HeavisideStep(Function):
    """``H(u - theta)``: no gradient to u, ``-(1 / eps) K((u - theta) / eps)`` to theta (eq. 12)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, log_threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(u, log_threshold)
        ctx.bandwidth = bandwidth
        return (u > log_threshold.exp()).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        u, log_threshold = ctx.saved_tensors
        threshold, eps = log_threshold.exp(), ctx.bandwidth
        near = rectangle((u - threshold) / eps)
        to_threshold = -(threshold / eps) * near * gradients[0]
        return None, to_threshold.sum_to_size(log_threshold.shape), None


class JumpReLUBottleneck(Ruled, Penalised):
    """One learned, positive threshold per latent; below it a latent is exactly zero.

    With a ``control`` the thresholds start where the control's target of latents is active, and
    ``threshold`` and ``bandwidth`` may be None: the bandwidth is then ``BANDWIDTH`` standard
    deviations of the pre-activations. It is saved with the model. ``price`` is what a squared unit
    of error costs: 1 for a summed squared error, 1 / elements for a mean one.
    """

    by_latent = ("log_threshold",)

    bandwidth: Tensor

    def __init__(
        self,
        width: int,
        threshold: float | None,
        bandwidth: float | None,
        *,
        dead_after: int = 10_000_000,
        control: Control | None = None,
        price: float = 1.0,
    ) -> None:
        super().__init__(width, dead_after, control)
        self.price = price
        if control is None and (threshold is None or bandwidth is None):
            raise ValueError("without a control, threshold and bandwidth are needed")
        self.asked = (threshold is None, bandwidth is None)
        """Whether threshold and bandwidth are to be found in the data."""
        self._known: tuple[tuple[int, int], float] = ((0, 0), 0.0)
        self.register_buffer("bandwidth", torch.tensor(bandwidth or 1.0, dtype=torch.float64))
        self.log_threshold = nn.Parameter(torch.full((width,), math.log(threshold or 1.0)))

    def rule(self) -> Rule:
        """One threshold a latent."""
        return Rule("jumprelu", threshold=self.log_threshold.detach().exp())

    @torch.no_grad()
    def times(self, factors: Tensor) -> None:
        """Multiply the thresholds."""
        self.log_threshold.add_(factors.log())

    @torch.no_grad()
    def shift(self, model: Autoencoder, amount: Tensor) -> None:
        """Raise all thresholds by an amount; they stay positive."""
        threshold = self.log_threshold.exp()
        # At most by a factor of two: one step must not take a small threshold to zero.
        raised = (threshold + amount).clamp(0.5 * threshold, 2.0 * threshold)
        self.log_threshold.copy_(raised.log())

    @property
    def width_of_kernel(self) -> float:
        """``bandwidth`` as a number, read from the device only when it was changed."""
        version = (id(self.bandwidth), self.bandwidth._version)
        if self._known[0] != version:
            self._known = (version, float(self.bandwidth))
        return self._known[1]

    def _code(self, h: Preactivations, keep: Preactivations | None) -> Code:
        # Only derivatives need it, and to read it stops a trace.
        bandwidth = self.width_of_kernel if torch.is_grad_enabled() else 0.0
        # Entries up to half a bandwidth below their threshold are zero but train it.
        near = 0.5 * bandwidth if self.training and torch.is_grad_enabled() else 0.0
        below_all = torch.finfo(self.log_threshold.dtype).min
        entries = h.above(self.log_threshold.exp() - near, fill=below_all)
        if entries is None:
            u = h.dense()
            z = JumpReLU.apply(u, self.log_threshold, bandwidth)  # type: ignore[no-untyped-call]
            return ThresholdCode(z, keep, gates=(u, self.log_threshold))
        u, indices = entries
        log_threshold = take_at(self.log_threshold, indices)
        z = JumpReLU.apply(u, log_threshold, bandwidth)  # type: ignore[no-untyped-call]
        return SparseCode(z, indices, h.width, keep, gates=(u, log_threshold))

    @torch.no_grad()
    def restart(self, latents: Tensor, living: Tensor, own: Tensor) -> None:
        """The threshold becomes that of the living, or half of ``own`` where that is lower."""
        least = torch.finfo(own.dtype).tiny
        usual = self.log_threshold[living].mean()
        self.log_threshold[latents] = torch.minimum(usual, (0.5 * own).clamp_min(least).log())

    def _begin(
        self, control: Control, start: Start, encoder: DictionaryEncoder, dictionary: Dictionary
    ) -> None:
        active = torch.where(start.u > start.cutoffs, start.u, 0.0).clamp_min(0.0)
        gain = start.gain(active, dictionary.weight)
        encoder.weight.mul_(gain)
        encoder.bias.mul_(gain)
        spread = gain * start.spread
        own_threshold, own_bandwidth = self.asked
        least = 1e-3 * spread
        if own_threshold:
            self.log_threshold.copy_((gain * start.cutoffs).clamp_min(least).log())
        if own_bandwidth:
            self.bandwidth.fill_(BANDWIDTH * spread)
        # Switching off a latent of size t costs about t^2.
        height = max(gain * start.height, least)
        control.begin(EARLY * self.price * height**2, spread)
