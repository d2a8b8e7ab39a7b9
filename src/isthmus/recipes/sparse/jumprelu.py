"""The JumpReLU sparse autoencoder, and trained TopK dictionaries as such."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Array, Autoencoder, Linear, Signal, Source, View, Watch
from isthmus.bottlenecks import JumpReLUBottleneck, TopK
from isthmus.errors import IsthmusError
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import (
    L0,
    ActiveLatents,
    Coefficient,
    Held,
    L0Control,
    NormTanh,
    PreActivation,
    SquaredError,
)
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Meant,
    NonNegative,
    Positive,
    Revive,
    StartL0,
    SubtractBias,
    TargetL0,
    UnitRows,
)
from isthmus.recipes.other_recipe import as_other
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
    l0_start: StartL0 = None,
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
    penalty: Annotated[
        Literal["l0", "tanh"],
        Field(description="price of the number of active latents, or of tanh(c z |W|)"),
    ] = "l0",
    tanh_scale: Annotated[
        Positive, Field(description="c: how soon a latent counts as one that is on")
    ] = 4.0,
    preactivation_weight: Annotated[
        NonNegative, Field(description="weight of what latents lack to be on; 0 is without")
    ] = 0.0,
    revive: Revive = "auto",
    auxk_weight: AuxWeight = 0.0,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A dictionary whose latents each learn the threshold below which they are off.

    The L0 penalty itself is trained, not a proxy: a kernel of width eps around the threshold
    estimates how the expected loss changes with it. Gradients of the penalty reach the thresholds
    alone. Inputs are scaled to a mean squared norm of 1 (``scaling=norm``), on which threshold,
    bandwidth and lambda depend; decoder rows keep norm 1, unless ``unit=False`` frees them, as a
    dictionary converted from Llama Scope needs where it is trained further.

    ``penalty=tanh`` pays for latents by a tanh of their size times the length of their atom, which
    reaches encoder and atoms too, and ``preactivation_weight`` pulls on those that are off (Conerly
    et al. 2025, "Dictionary Learning Optimization Techniques": c = 4, weight 3e-6, ``unit=False``,
    lambda = 20 rising over the whole run, on rows whose mean squared element is 1).

    With ``l0`` no lambda has to be chosen: thresholds start where that many latents are active,
    the kernel is as wide as half the spread of the pre-activations, and a control holds L0 at the
    target by lambda and by a common shift of the thresholds. Without it the decoder's bias starts
    at the geometric median of the data, and the encoder is scaled so that the first reconstruction
    is best with the thresholds as they are.

    Published: threshold and bandwidth 0.001, Adam with beta1 = 0 at 7e-5 after 1000 steps of
    warm-up, lambda rising over 10,000 steps, batches of 4096; lambda is swept. With few steps a
    bandwidth of 0.001 gives the thresholds hardly any gradient: widen it, or ask for an ``l0``.
    Here: 8e-4, because runs of fewer than billions of tokens stop early at the published rate
    (docs/benchmarks.md).
    """
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    control = None if l0 is None else L0Control(l0, latent_dim, l0_start)
    price = L0() if penalty == "l0" else NormTanh(tanh_scale)
    if control is None:
        threshold, bandwidth = threshold or PUBLISHED, bandwidth or PUBLISHED
        objective = SquaredError() + Linear(0.0, sparsity, sparsity_steps) * price
    else:
        objective = SquaredError() + price * Held(control) + Watch(Coefficient())
    if penalty == "tanh":
        objective = objective + Watch(ActiveLatents())
    if preactivation_weight:
        objective = objective + preactivation_weight * PreActivation()
    objective, parts = with_help(objective, dictionary, revive, auxk_weight)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=JumpReLUBottleneck(
            latent_dim, threshold, bandwidth, dead_after=dead_after, control=control
        ),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )


@torch.no_grad()
def to_jumprelu(model: Autoencoder, X: Array | Source, *, batch_size: int = 1024) -> Autoencoder:
    """The model with thresholds in the place of k (He et al. 2024, Llama Scope, section 3).

    One threshold theta for all is where k latents exceed it on average over the rows of ``X``: the
    k-th largest of all ``h_i |d_i|`` pooled, per row. Latent i is then on where ``h_i`` exceeds
    ``theta / |d_i|`` (``theta`` where k was chosen without regard to the norms). ``X`` is in the
    user's units; some ten thousand rows are plenty, and ``k`` numbers are held for each of them.

    The result is a model of the recipe ``jumprelu``, in evaluation mode, that can be saved. Its
    latents and atoms are the model's own, and where it is trained further decoder rows keep norm 1
    only if they did so before. Anything but a trained TopK dictionary with non-negative codes is an
    :class:`IsthmusError`.
    """
    bottleneck, encoder = model.bottleneck, model.encoder
    if (
        not isinstance(bottleneck, TopK)
        or bottleneck.rule().activation != "topk"
        or not isinstance(encoder, DictionaryEncoder)
    ):
        raise IsthmusError(
            "only a TopK dictionary with non-negative codes becomes JumpReLU: fit topk or "
            "llama-scope"
        )
    decoder = model.part_as("decoder", Dictionary, "the conversion to JumpReLU")
    norms = torch.ones_like(encoder.bias)
    if bottleneck.weigh:
        norms = decoder.weight.norm(dim=1)
    theta = _pooled(model, X, bottleneck.k, norms, batch_size)
    options = {
        "latent_dim": bottleneck.width,
        "threshold": theta,
        "subtract_bias": encoder.subtract_bias,
        "unit": decoder.unit,
        "scaling": model.scaler.mode.removesuffix("-norm"),
    }
    parts = {part: getattr(model, part) for part in ("encoder", "decoder", "scaler")}
    jumprelu_model = as_other(
        "jumprelu", model.signal, options, parts, model.device, model.config.get("data")
    )
    thresholds = jumprelu_model.part_as(
        "bottleneck", JumpReLUBottleneck, "the conversion to JumpReLU"
    )
    least = torch.finfo(norms.dtype).tiny
    thresholds.log_threshold.copy_((theta / norms.double().clamp_min(least)).log())
    jumprelu_model.reference_rows = model.reference_rows
    return jumprelu_model


def _pooled(model: Autoencoder, X: Array | Source, k: int, norms: Tensor, batch_size: int) -> float:
    """A number that exactly ``k`` weighed pre-activations a row exceed, on average over ``X``.

    It lies halfway to the next smaller one; where fewer are positive, all of these exceed it.
    """
    total = k * len(X)
    largest = torch.empty(0, device=model.device)
    for batch in model.batches(X, batch_size):
        h: Preactivations = model.encode_view(View(model.scaler(batch.x)))
        weighed = (h.dense() * norms).flatten()
        floor = largest.min() if len(largest) > total else 0.0
        largest = torch.cat([largest, weighed[weighed > floor]])
        largest = largest.topk(min(len(largest), total + 1), sorted=False).values
    if len(largest) == 0:
        raise IsthmusError("no latent is positive on these rows: pass rows like the training data")
    ordered = largest.double().sort(descending=True).values
    if len(ordered) <= total:
        return float(ordered[-1] / 2)
    return float(ordered[total - 1] + ordered[total]) / 2
