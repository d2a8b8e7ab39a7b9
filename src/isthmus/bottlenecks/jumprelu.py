"""Learnt thresholds with the pseudo-derivatives that train them."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from isthmus.anatomy import Autoencoder, Code, SparseCode, ThresholdCode
from isthmus.bottlenecks.relu import EARLY
from isthmus.bottlenecks.sparse import Dictionary, DictionaryEncoder, FiringCounter
from isthmus.bottlenecks.start import Control, start_for
from isthmus.kernels import Preactivations, take_at

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


class Step(Function):
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


class ThresholdShift:
    """Raises all thresholds ``exp(log_threshold)`` by an amount; they stay positive."""

    def __init__(self, log_threshold: nn.Parameter) -> None:
        self.log_threshold = log_threshold

    @torch.no_grad()
    def __call__(self, amount: float) -> None:
        threshold = self.log_threshold.exp()
        # At most by a factor of two: one step must not take a small threshold to zero.
        raised = (threshold + amount).clamp(0.5 * threshold, 2.0 * threshold)
        self.log_threshold.copy_(raised.log())


@dataclass(eq=False)
class JumpReLUCode(ThresholdCode):
    """A dense code with the pre-activations ``u`` ``(rows, width)`` that its thresholds cut."""

    u: Tensor | None = None

    @property
    def gates(self) -> tuple[Tensor, Tensor] | None:
        if self.u is None or self.log_threshold is None:
            return None
        return self.u, self.log_threshold

    def tensors(self) -> dict[str, Tensor]:
        return {"z": self.z}


class JumpReLUBottleneck(nn.Module):
    """One learned, positive threshold per latent; below it a latent is exactly zero.

    With a ``control`` the thresholds start where the control's target of latents is active, and
    ``threshold`` and ``bandwidth`` may be None: the bandwidth is then ``BANDWIDTH`` standard
    deviations of the pre-activations. It is saved with the model.
    """

    bandwidth: Tensor

    def __init__(
        self,
        width: int,
        threshold: float | None,
        bandwidth: float | None,
        *,
        dead_after: int = 10_000_000,
        control: Control | None = None,
    ) -> None:
        super().__init__()
        if control is None and (threshold is None or bandwidth is None):
            raise ValueError("without a control, threshold and bandwidth are needed")
        self._starts = (threshold is None, bandwidth is None)
        self.register_buffer("bandwidth", torch.tensor(bandwidth or 1.0, dtype=torch.float64))
        self.log_threshold = nn.Parameter(torch.full((width,), math.log(threshold or 1.0)))
        self.counter = FiringCounter(width, dead_after)
        self.control = control
        if control is not None:
            control.shift = ThresholdShift(self.log_threshold)

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        code = self._code(h, h if sample else None)
        if sample and self.training:
            self.counter.count(code)
            if self.control is not None:
                self.control.measure(code)
        return code

    def _code(self, h: Preactivations, keep: Preactivations | None) -> Code:
        bandwidth = float(self.bandwidth)
        # Entries up to half a bandwidth below their threshold are zero but train it.
        near = 0.5 * bandwidth if self.training and torch.is_grad_enabled() else 0.0
        found = h.above(self.log_threshold.exp() - near)
        if found is None:
            u = h.dense()
            z = JumpReLU.apply(u, self.log_threshold, bandwidth)  # type: ignore[no-untyped-call]
            return JumpReLUCode(z, keep, self.log_threshold, u)
        u, indices, counts = found
        real = torch.arange(u.shape[1], device=u.device) < counts[:, None]
        u = torch.where(real, u, torch.finfo(u.dtype).min)
        log_threshold = take_at(self.log_threshold, indices)
        z = JumpReLU.apply(u, log_threshold, bandwidth)  # type: ignore[no-untyped-call]
        return SparseCode(z, indices, h.width, keep, gates=(u, log_threshold))

    @torch.no_grad()
    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Start at the control's target."""
        if self.control is None:
            return
        encoder, dictionary = model.encoder, model.decoder
        assert isinstance(encoder, DictionaryEncoder)
        assert isinstance(dictionary, Dictionary)
        start = start_for(model, x, self.control.target)
        active = torch.where(start.u > start.cutoffs, start.u, 0.0).clamp_min(0.0)
        gain = start.gain(active, dictionary.weight)
        encoder.weight.mul_(gain)
        spread = gain * start.spread
        own_threshold, own_bandwidth = self._starts
        least = 1e-3 * spread
        if own_threshold:
            self.log_threshold.copy_((gain * start.cutoffs).clamp_min(least).log())
        if own_bandwidth:
            self.bandwidth.fill_(BANDWIDTH * spread)
        # Switching off a latent of size t costs about t^2.
        self.control.begin(EARLY * max(gain * start.height, least) ** 2, spread)
