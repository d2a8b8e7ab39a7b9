"""The JumpReLU sparse autoencoder."""

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd import Function

from isthmus.anatomy import Autoencoder, Linear, Output, Signal, Term, ThresholdCode
from isthmus.bottlenecks import Dictionary, DictionaryEncoder, FiringCounter
from isthmus.objectives import SquaredError
from isthmus.recipes.options import LatentDim, NonNegative, Positive
from isthmus.recipes.registry import recipe


def rectangle(t: Tensor) -> Tensor:
    """The kernel K(t) = 1 where abs(t) < 1/2, else 0."""
    return (t.abs() < 0.5).to(t.dtype)


class JumpReLU(Function):
    """``u H(u - theta)`` with the straight-through derivative for the threshold.

    ``d/du = H(u - theta)`` and ``d/dtheta = -(theta / eps) K((u - theta) / eps)`` (equation 11),
    carried on to ``log theta``. ``u`` is ``(rows, width)``, ``log_threshold`` ``(width,)``.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, log_threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(u, log_threshold)
        ctx.bandwidth = bandwidth
        return u * (u > log_threshold.exp())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        u, log_threshold = ctx.saved_tensors
        threshold, eps = log_threshold.exp(), ctx.bandwidth
        near = rectangle((u - threshold) / eps)
        to_threshold = -(threshold / eps) * (near * gradients[0]).sum(0)
        return gradients[0] * (u > threshold), to_threshold * threshold, None


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
        return None, -(threshold / eps) * (near * gradients[0]).sum(0), None


class JumpReLUBottleneck(nn.Module):
    """One learned, positive threshold per latent; below it a latent is exactly zero."""

    def __init__(self, width: int, threshold: float, bandwidth: float) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.log_threshold = nn.Parameter(torch.full((width,), math.log(threshold)))
        self.counter = FiringCounter(width, dead_after=10_000_000)

    def forward(self, h: Tensor, *, sample: bool = False) -> ThresholdCode:
        z = JumpReLU.apply(h, self.log_threshold, self.bandwidth)  # type: ignore[no-untyped-call]
        code = ThresholdCode(z, h, self.log_threshold)
        if sample and self.training:
            self.counter.count(code)
        return code


class L0(Term):
    """The number of active latents, with a gradient to the thresholds only."""

    name = "l0"
    unit = "active latents"

    def __init__(self, bandwidth: float) -> None:
        self.bandwidth = bandwidth

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code
        assert isinstance(code, ThresholdCode)
        active: Tensor = Step.apply(  # type: ignore[no-untyped-call]
            code.preactivations, code.log_threshold, self.bandwidth
        )
        return active.sum(1)


@recipe(
    "jumprelu",
    family="sparse",
    catalogue=163,
    paper="Rajamanoharan, Lieberum, Sonnerat, Conmy, Varma, Kramar, Nanda, Jumping Ahead: "
    "Improving Reconstruction Fidelity with JumpReLU Sparse Autoencoders, 2024, arXiv:2407.14435",
    formula="z = u H(u - theta),  u = W_e x + b_e,  x^ = W_d z + b_d,  "
    "L = |x - x^|^2 + lambda sum_i H(u_i - theta_i)",
    claim="At equal L0, JumpReLU rebuilds as well as or better than Gated and TopK dictionaries, "
    "with no loss of interpretability.",
    training={
        "steps": 100_000,
        "lr": 7e-5,
        "batch_size": 4096,
        "optimiser_options": {"betas": [0.0, 0.999]},
        "warmup": 1000,
    },
    scaling="norm",
)
def jumprelu(
    signal: Signal,
    *,
    latent_dim: LatentDim = 4096,
    sparsity: Annotated[
        NonNegative, Field(description="lambda: price of one active latent")
    ] = 1e-3,
    sparsity_steps: Annotated[
        int, Field(gt=0, description="steps over which lambda rises (at most 0.8 of the run)")
    ] = 10_000,
    threshold: Annotated[Positive, Field(description="initial threshold")] = 0.001,
    bandwidth: Annotated[
        Positive, Field(description="width eps of the kernel that estimates gradients")
    ] = 0.001,
    subtract_bias: Annotated[
        bool, Field(description="subtract the decoder's bias before encoding")
    ] = True,
) -> Autoencoder:
    """A dictionary whose latents each learn the threshold below which they are off.

    The L0 penalty itself is trained, not a proxy: a kernel of width eps around the threshold
    estimates how the expected loss changes with it. Gradients of the penalty reach the thresholds
    alone. Inputs are scaled to a mean squared norm of 1 (``scaling=norm``), on which threshold,
    bandwidth and lambda depend; decoder rows keep norm 1.

    Published: threshold and bandwidth 0.001, Adam with beta1 = 0 at 7e-5 after 1000 steps of
    warm-up, lambda rising over 10,000 steps, batches of 4096; lambda is swept. With few steps a
    bandwidth of 0.001 gives the thresholds hardly any gradient: widen it.
    """
    dictionary = Dictionary(latent_dim, signal.shape)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=JumpReLUBottleneck(latent_dim, threshold, bandwidth),
        decoder=dictionary,
        objective=SquaredError() + Linear(0.0, sparsity, sparsity_steps) * L0(bandwidth),
    )
