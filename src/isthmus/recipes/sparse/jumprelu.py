"""The JumpReLU sparse autoencoder."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Linear, Signal, Watch
from isthmus.bottlenecks import Dictionary, DictionaryEncoder, JumpReLUBottleneck
from isthmus.objectives import L0, AuxK, Coefficient, Held, L0Control, SquaredError, dead_used
from isthmus.recipes.options import (
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Meant,
    NonNegative,
    Positive,
    TargetL0,
)
from isthmus.recipes.registry import recipe

PUBLISHED = 0.001
"""Initial threshold and bandwidth."""


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
        "lr": 8e-4,
        "batch_size": 4096,
        "optimiser_options": {"betas": [0.0, 0.999]},
        "warmup": 1000,
    },
    scaling="norm",
)
def jumprelu(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    l0: TargetL0 = None,
    sparsity: Annotated[
        NonNegative, Field(description="lambda: price of one active latent")
    ] = 1e-3,
    sparsity_steps: Annotated[
        int,
        Field(gt=0, description="steps over which lambda rises (at most 0.8 of the run)"),
        Meant("ramp"),
    ] = 10_000,
    threshold: Annotated[
        Positive | None,
        Field(description="initial threshold (none: 0.001, or where l0 latents are active)"),
    ] = None,
    bandwidth: Annotated[
        Positive | None,
        Field(
            description="width eps of the kernel that estimates gradients (none: 0.001, or with l0 "
            "half the spread of the pre-activations)"
        ),
    ] = None,
    auxk_weight: AuxWeight = 0.0,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: Annotated[
        bool, Field(description="subtract the decoder's bias before encoding")
    ] = True,
    unit: Annotated[bool, Field(description="keep the decoder's rows at norm 1")] = True,
) -> Autoencoder:
    """A dictionary whose latents each learn the threshold below which they are off.

    The L0 penalty itself is trained, not a proxy: a kernel of width eps around the threshold
    estimates how the expected loss changes with it. Gradients of the penalty reach the thresholds
    alone. Inputs are scaled to a mean squared norm of 1 (``scaling=norm``), on which threshold,
    bandwidth and lambda depend; decoder rows keep norm 1, unless ``unit=False`` frees them, as a
    dictionary converted from Llama Scope needs where it is trained further.

    With ``l0`` no lambda has to be chosen: thresholds start where that many latents are active,
    the kernel is as wide as half the spread of the pre-activations, and a control holds L0 at the
    target by lambda and by a common shift of the thresholds.

    Published: threshold and bandwidth 0.001, Adam with beta1 = 0 at 7e-5 after 1000 steps of
    warm-up, lambda rising over 10,000 steps, batches of 4096; lambda is swept. With few steps a
    bandwidth of 0.001 gives the thresholds hardly any gradient: widen it, or ask for an ``l0``.
    Here: 8e-4, because runs of fewer than billions of tokens stop early at the published rate
    (docs/benchmarks.md).
    """
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    control = None if l0 is None else L0Control(l0, latent_dim)
    if control is None:
        threshold, bandwidth = threshold or PUBLISHED, bandwidth or PUBLISHED
        objective = SquaredError() + Linear(0.0, sparsity, sparsity_steps) * L0()
    else:
        objective = SquaredError() + L0() * Held(control) + Watch(Coefficient())
    if auxk_weight:
        objective = objective + auxk_weight * dictionary.bias.numel() * AuxK(dead_used(dictionary))
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=JumpReLUBottleneck(
            latent_dim, threshold, bandwidth, dead_after=dead_after, control=control
        ),
        decoder=dictionary,
        objective=objective,
    )
