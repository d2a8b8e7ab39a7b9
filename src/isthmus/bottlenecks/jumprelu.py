"""Learnt thresholds with the pseudo-derivatives that train them."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from isthmus.anatomy import Code, SparseCode, ThresholdCode
from isthmus.bottlenecks.sparse import FiringCounter
from isthmus.kernels import Preactivations, take_at


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


class JumpReLUBottleneck(nn.Module):
    """One learned, positive threshold per latent; below it a latent is exactly zero."""

    def __init__(self, width: int, threshold: float, bandwidth: float) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.log_threshold = nn.Parameter(torch.full((width,), math.log(threshold)))
        self.counter = FiringCounter(width, dead_after=10_000_000)

    def forward(self, h: Preactivations, *, sample: bool = False) -> Code:
        code = self._code(h)
        if sample and self.training:
            self.counter.count(code)
        return code

    def _code(self, h: Preactivations) -> Code:
        # Entries up to half a bandwidth below their threshold are zero but train it.
        near = 0.5 * self.bandwidth if self.training and torch.is_grad_enabled() else 0.0
        found = h.above(self.log_threshold.exp() - near)
        if found is None:
            u = h.dense()
            z = JumpReLU.apply(u, self.log_threshold, self.bandwidth)  # type: ignore[no-untyped-call]
            return ThresholdCode(z, u, self.log_threshold)
        u, indices, counts = found
        real = torch.arange(u.shape[1], device=u.device) < counts[:, None]
        u = torch.where(real, u, torch.finfo(u.dtype).min)
        log_threshold = take_at(self.log_threshold, indices)
        z = JumpReLU.apply(u, log_threshold, self.bandwidth)  # type: ignore[no-untyped-call]
        return SparseCode(z, indices, h.width, gates=(u, log_threshold))
