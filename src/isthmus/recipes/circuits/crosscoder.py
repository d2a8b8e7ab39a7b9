"""The crosscoder: one sparse code of several layers, or of one layer of several models."""

import sys
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Each,
    Gaussian,
    Linear,
    LinearDecoder,
    LinearEncoder,
    Look,
    Part,
    Signal,
    View,
    Watch,
    dictionaries,
    norms,
)
from isthmus.anatomy.each import EachLikelihood
from isthmus.bottlenecks import BatchTopK, ReLU, TopK
from isthmus.bottlenecks.dictionary_start import (
    EARLY,
    best_scale,
    cutoffs_for,
    reading_weights,
    sample_of,
    start_at_median,
)
from isthmus.errors import IsthmusError, unknown
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary
from isthmus.objectives import (
    MSE,
    ActiveLatents,
    AuxK,
    Coefficient,
    Held,
    L0Control,
    NormL1,
    SquaredError,
    dead_used,
)
from isthmus.recipes.options import (
    AuxKWeight,
    DeadAfter,
    DictionaryDim,
    NonNegative,
    Positive,
    Select,
    TargetL0,
    check_active,
    check_real_parts,
)
from isthmus.recipes.registry import recipe

NORM, NORM_WITH_K = 0.08, 1.0
"""Length of the atoms at first, in each layer: with a penalty, and with k."""
WARMUP = 0.05
"""Share of the run over which the price rises from zero."""
_ELEMENTS = 1 << 22
"""Pre-activations that are looked at: it bounds the memory."""


class Reader(LinearEncoder, Part):
    """What latents read of one layer, ``W x``: the readers of all layers add up.

    ``weight`` ``(width, d)`` starts as the transpose of the layer's dictionary.
    """

    def __init__(self, dictionary: Dictionary) -> None:
        super().__init__()
        self.weight = nn.Parameter(dictionary.weight.detach().clone())

    def read_rows(self, model: Autoencoder) -> tuple[Tensor, Tensor]:
        """``W``, and no bias."""
        return self.weight, self.weight.new_zeros(len(self.weight))

    def row_weights(self) -> list[tuple[nn.Parameter, bool]]:
        """Weights whose gradients come row by row, and whether their rows have norm 1."""
        return [(self.weight, False)]

    def forward(self, x: Tensor, *, model: Autoencoder) -> Preactivations:
        return Preactivations(x.flatten(1), *self.read_rows(model), None)


class Together(nn.Module):
    """The sum of what all readers read, and one bias: a merge of :class:`Each`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, found: Mapping[str, Preactivations]) -> Preactivations:
        return Preactivations.added(list(found.values()), self.bias)


class CrosscoderReLU(ReLU):
    """The rectifier, whose cutoffs are the one bias of all readers."""

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Start at the control's target, if there is a control."""
        if self.control is None:
            return
        start_at_median(model, look.x)
        bias, parts = _bias_of(model), dictionaries(model)
        most = max(64, _ELEMENTS // len(bias))
        some = {name: sample_of(look.x[name], most) for name in parts}
        u = model.encode_view(View(some)).dense()
        cutoffs, spread, height = cutoffs_for(u, self.control.first)
        active = torch.relu(u - cutoffs)
        rebuilt = torch.cat([active @ part.atoms() for part in parts.values()], 1)
        inner = [some[name].flatten(1) - part.offset for name, part in parts.items()]
        gain = best_scale(rebuilt, torch.cat(inner, 1))
        gain = gain if gain > 0.0 else 1.0
        bias.sub_(cutoffs).mul_(gain)
        for weight in reading_weights(model):
            weight.mul_(gain)
        # A latent at its cutoff t gains 2 t a unit, and costs the lengths of its atoms.
        length = float(norms(model).mean())
        self.control.begin(EARLY * self.price * abs(height) / length, gain * spread)

    @torch.no_grad()
    def shift(self, model: Autoencoder, amount: Tensor) -> None:
        """Raise the cutoff of every latent by an amount."""
        _bias_of(model).sub_(amount)


def _bias_of(model: Autoencoder) -> nn.Parameter:
    return model.encoder.get_parameter("merge.bias")


@recipe(
    "crosscoder",
    family="circuits",
    paper="Lindsey, Templeton, Marcus, Conerly, Batson, Olah, Sparse Crosscoders for Cross-Layer "
    "Features and Model Diffing, Transformer Circuits Thread, 2024; with k: Minder, Dumas, Juang, "
    "Chughtai, Nanda, Overcoming Sparsity Artifacts in Crosscoders to Interpret Chat-Tuning, 2025, "
    "arXiv:2504.02922",
    formula="z = ReLU(sum_l W_e^l x^l + b_e),  x^^l = W_d^l z + b_d^l,  "
    "L = sum_l |x^l - x^^l|^2 + lambda sum_i z_i sum_l |W_d,i^l|;  with k: z = BatchTopK by "
    "z_i sum_l |W_d,i^l|,  L = |x - x^|^2 / d + (1/32) |e - e^|^2 / d",
    claim="One code of several layers says with fewer latents what a dictionary of each layer "
    "repeats, and the lengths of a latent's atoms say which layers, or which of two models, have "
    "it.",
    training={
        "steps": 100_000,
        "lr": 5e-5,
        "batch_size": 4096,
        "clip": 1.0,
    },
    scaling="global",
    kinds=("collection",),
)
def crosscoder(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 16_384,
    sparsity: Annotated[NonNegative, Field(description="lambda: price of a unit of length")] = 2.0,
    l0: TargetL0 = None,
    k: Annotated[
        int | None, Field(gt=0, description="active latents per example, without a penalty")
    ] = None,
    select: Select = "batch",
    auxk_weight: AuxKWeight = None,
    dead_after: DeadAfter = 10_000_000,
    norm: Annotated[
        Positive | None,
        Field(description="length of the atoms at first (none: 1 with k, else 0.08)"),
    ] = None,
) -> Autoencoder:
    """A dictionary of several layers at once: one code, and an atom of every latent in each layer.

    It reads and writes all parts of a collection, such as ``{"layers.0": A, "layers.1": B}``,
    ``lm:resident@layers.0,layers.1,layers.2``, points of a store, or one point of two models. A
    latent that several layers share is one latent; what only one has gets atoms of no length
    elsewhere. :func:`relative_norms` says which.

    The penalty weighs a latent by the lengths of its atoms, which are free. Sparsity is set by
    ``sparsity``, by a control that holds ``l0``, or by ``k``: then no penalty shrinks atoms, which
    made latents look like those of one model only that both had (Minder et al. 2025), and the k
    are chosen by the same product.

    Published: the report gives the losses and no settings. Those of its open replication on two
    models (Kissane, Krzyzanowski, Conmy, Nanda 2024, crosscoder-model-diff-replication) are taken:
    2^14 latents, Adam at 5e-5, batches of 4096, 400 million tokens, lambda 2 after a linear rise
    over the first 5 % of the run, gradients clipped at 1, atoms of length 0.08 at first with the
    encoder their transpose, every layer divided by its mean norm over the root of its width. There
    the rate falls to zero over the last fifth. With k, those of Minder et al. 2025 (their
    dictionary_learning): BatchTopK by the product, atoms of length 1 at first, biases at the
    geometric median, AuxK of half as many latents as a layer has elements with weight 1/32. There
    the rate is 2e-4 over the root of the width in 2^14, k is 100, and the width 32 times that of a
    layer.

    Here: every layer is divided by its root mean square (``scaling=global``); the rate stays as it
    is unless ``lr_schedule`` says otherwise; with ``l0`` and with k biases start at the median and
    the encoder is scaled so that the first reconstruction is best; with k the error is squared,
    where theirs is its root, as in the other recipes, and the threshold is the average of the last
    100 batches or so. Where the gradient is not clipped (``clip=none``) it is taken row by row.
    """
    if signal.kind != "collection" or len(signal.parts) < 2:
        raise IsthmusError(
            "a crosscoder reads several layers, and the data have one: pass two or more by name, "
            "or use a recipe for one (relu-l1, batchtopk)"
        )
    check_real_parts(signal, "a crosscoder")
    check_active(latent_dim, k=k, l0=l0)
    length = norm if norm is not None else (NORM if k is None else NORM_WITH_K)
    written = {n: _dictionary(latent_dim, part, length) for n, part in signal.parts.items()}
    bottleneck: ReLU | TopK | BatchTopK
    if k is not None:
        weight = 1 / 32 if auxk_weight is None else auxk_weight
        objective = MSE() + Watch(ActiveLatents())
        if select == "batch":
            bottleneck = BatchTopK(latent_dim, k, dead_after, weigh=True)
        else:
            bottleneck = TopK(latent_dim, k, dead_after, weigh=True, fit_scale=True)
    else:
        weight = auxk_weight or 0.0
        control = None if l0 is None else L0Control(l0, latent_dim)
        bottleneck = CrosscoderReLU(latent_dim, dead_after, control=control)
        watched = Watch(ActiveLatents())
        if control is None:
            price = Linear(0.0, sparsity, sys.maxsize, fit=WARMUP)
            objective = SquaredError() + NormL1() * price + watched
        else:
            objective = SquaredError() + NormL1() * Held(control) + watched + Watch(Coefficient())
        weight *= signal.numel  # AuxK is the error of an element
    if weight:
        most = max(dead_used(part) for part in written.values())
        objective = objective + weight * AuxK(most, weigh=True)
    return Autoencoder(
        signal,
        encoder=Each({n: Reader(part) for n, part in written.items()}, merge=Together(latent_dim)),
        bottleneck=bottleneck,
        decoder=Each(written),
        likelihood=EachLikelihood({name: Gaussian() for name in written}),
        objective=objective,
    )


def _dictionary(width: int, part: Signal, length: float) -> Dictionary:
    dictionary = Dictionary(width, part.shape, unit=False)
    with torch.no_grad():
        dictionary.weight.mul_(length)
    return dictionary


@torch.no_grad()
def relative_norms(model: Autoencoder, first: str, second: str) -> Tensor:
    """``|W_second| / (|W_first| + |W_second|)`` of every latent's atoms, ``(width,)``, in [0, 1].

    0 is a latent of ``first`` alone, 1 of ``second`` alone, 1/2 of both alike (Lindsey et al. 2024,
    "Model diffing"); of layers, models or any two parts that a crosscoder writes. Lengths are those
    of the model's units, in which all parts are of one size. NaN where neither has an atom.
    """
    one, other = (_written(model, name).atoms().norm(dim=1) for name in (first, second))
    return other / (one + other)


@torch.no_grad()
def atom_cosines(model: Autoencoder, first: str, second: str) -> Tensor:
    """The cosine of every latent's two atoms, ``(width,)``: whether it is one direction in both.

    It is for parts of one width, as two models of one architecture have. 0 where one is zero.
    """
    one, other = (_written(model, name).atoms() for name in (first, second))
    if one.shape != other.shape:
        raise IsthmusError(
            f"atoms of {one.shape[1]} and of {other.shape[1]} elements have no cosine: name parts "
            "of one width"
        )
    return nn.functional.cosine_similarity(one, other)


def _written(model: Autoencoder, name: str) -> LinearDecoder:
    decoders = dictionaries(model)
    if name not in decoders:
        raise unknown("part that the model writes", name, decoders)
    return decoders[name]
