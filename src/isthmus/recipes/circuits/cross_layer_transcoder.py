"""The cross-layer transcoder: latents that read one layer and write to all from there on."""

import sys
from typing import Annotated, Literal

from pydantic import Field

from isthmus.anatomy import (
    Autoencoder,
    Concatenated,
    Each,
    Gaussian,
    Linear,
    Objective,
    Only,
    Part,
    Signal,
    Watch,
)
from isthmus.anatomy.each import EachLikelihood
from isthmus.bottlenecks.cross_layer import (
    LayersBatchTopK,
    LayersJumpReLU,
    LayersReLU,
    LayersTopK,
)
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.networks.layer_dictionary import (
    LayerDictionary,
    OnsetLayerDictionary,
    SkipLayerDictionary,
    stacked,
)
from isthmus.objectives import (
    MSE,
    ActiveLatents,
    AuxK,
    Coefficient,
    Held,
    L0Control,
    NormTanh,
    PreActivation,
    SquaredError,
)
from isthmus.recipes.circuits.transcoder import WIDER
from isthmus.recipes.options import (
    AuxKWeight,
    DeadAfter,
    Meant,
    NonNegative,
    Positive,
    check_active,
    check_real_parts,
)
from isthmus.recipes.registry import recipe

THRESHOLD, BANDWIDTH = 0.03, 1.0
"""Of JumpReLU at first (Ameisen et al. 2025, appendix D)."""
PRICE, ELEMENTS = 20.0, 4096
"""Lambda on a summed squared error (Conerly et al. 2025), and for how many elements it is taken."""


@recipe(
    "cross-layer-transcoder",
    family="circuits",
    paper="Ameisen, Lindsey, Pearce, Gurnee, Turner, Chen, Citro et al., Circuit Tracing: "
    "Revealing Computational Graphs in Language Models, Transformer Circuits Thread, 2025; c and "
    "the weight of the pre-activations: Conerly, Cunningham, Templeton, Lindsey, Hosmer, Jermyn, "
    "Dictionary Learning Optimization Techniques, Circuits Updates, January 2025",
    formula="z^l = JumpReLU(W_e^l x^l + b_e^l),  "
    "y^^l = sum_{m <= l} W_d^{m,l} z^m + b_d^l [+ S^l x^l],  "
    "L = sum_l |y^l - y^^l|^2 + lambda sum_{l,i} tanh(c |W_d,i^l| z_i^l) "
    "+ lambda_P sum_{l,i} ReLU(theta_i^l - u_i^l) |W_d,i^l|,  y^l what the module that reads x^l "
    "writes, W_d,i^l all atoms of a latent end to end",
    claim="A latent that writes to all later layers stands for what transcoders of each layer "
    "repeat, so that the model is replaced at less error and by graphs of shorter paths.",
    training={"steps": 100_000, "lr": 8e-4, "batch_size": 4096},
    scaling="global",
    kinds=("collection",),
)
def cross_layer_transcoder(
    signal: Signal,
    *,
    latent_dim: Annotated[
        int | None,
        Field(gt=0, description="number of latents of each layer (none: 32 times its inputs)"),
        Meant("dictionary"),
    ] = None,
    l0: Annotated[
        float | None,
        Field(
            gt=0,
            description="active latents of each layer to aim at, on average; the coefficient is "
            "then found, not chosen",
        ),
    ] = None,
    k: Annotated[
        int | None,
        Field(gt=0, description="active latents of each layer per example, without a penalty"),
    ] = None,
    select: Annotated[
        Literal["row", "layers", "batch", "batch-layers"],
        Field(
            description="with k: of each layer in each row, of all layers together in each row "
            "(k times as many), and both on average over a batch"
        ),
    ] = "batch-layers",
    weigh: Annotated[
        bool,
        Field(
            description="with k: compare latents by values times lengths of their atoms, not by "
            "values alone"
        ),
    ] = True,
    activation: Annotated[
        Literal["relu", "jumprelu"], Field(description="without k: what makes latents zero")
    ] = "jumprelu",
    sparsity: Annotated[
        NonNegative | None,
        Field(description="lambda: price of an active latent (none: 20 for a layer of 4096)"),
    ] = None,
    sparsity_steps: Annotated[
        int | None,
        Field(gt=0, description="steps over which lambda rises (none: the whole run)"),
        Meant("ramp"),
    ] = None,
    tanh_scale: Annotated[
        Positive, Field(description="c: how soon a latent counts as one that is on")
    ] = 4.0,
    preactivation_weight: Annotated[
        NonNegative,
        Field(description="lambda_P: without k, weight of what latents lack; 0 without"),
    ] = 3e-6,
    skip: Annotated[
        bool, Field(description="add a linear map of each layer's input to what it writes")
    ] = False,
    onset: Annotated[
        bool,
        Field(
            description="each latent also writes a constant while it is on, another to each layer; "
            "with skip, the inputs of all layers so far are mapped"
        ),
    ] = False,
    auxk_weight: AuxKWeight = None,
    dead_after: DeadAfter = 10_000_000,
    threshold: Annotated[
        Positive | None,
        Field(description="jumprelu: initial threshold (none: 0.03, or where l0 are active)"),
    ] = None,
    bandwidth: Annotated[
        Positive | None,
        Field(description="jumprelu: width of the kernel (none: 1, or with l0 half the spread)"),
    ] = None,
) -> Autoencoder:
    """Transcoders of all layers at once, each of whose latents writes to every later layer, too.

    There is an encoder for each layer and a decoder from each layer to itself and to all behind it.
    The data are a collection of what goes into and what comes out of a module of every layer,
    such as ``lm:resident@layers.*.mlp:in,layers.*.mlp:out`` or ``{"0:in": A, "0:out": B, "1:in": C,
    "1:out": D}``: names that end in ``:in`` are read and belong to the same name with ``:out`` or
    without an end; without such names every other part is read, and what follows it is written.
    The order is that of the layers. The code has the latents of the first layer first.

    Atoms are of any length, and a latent pays by that of all its atoms end to end, through a tanh
    that counts a latent that is surely on as one. Sparsity is set by ``sparsity``, by a control
    that holds ``l0`` active latents of each layer on average, or by ``k``: then it is BatchTopK or
    TopK by values times lengths, of each layer or of all together (``select``), without a penalty.
    Only a code whose layers are chosen apart, or by thresholds, can be computed while
    the model runs, layer by layer: ``select=layers`` cannot.

    ``onset`` and ``weigh=false`` are those of EleutherAI's clt-training: latents are chosen by
    their values, and to each layer a latent writes as if it were larger by a trained number while
    it is on. Such a constant is no effect of a latent's size, so that graphs of effects refuse it.

    Published: input and output of every layer normalised by themselves, JumpReLU with thresholds of
    0.03 and a kernel of width 1, lambda rising over the whole run, encoders uniform within one over
    the root of the number of latents and decoders within one over the root of layers times width;
    c, lambda = 20 and lambda_P = 3e-6 are those of the January update. Here: lambda goes by the
    elements of a layer, 20 being taken for 4096 of them, and has to be chosen anew, or ``l0``
    given; every layer starts as a transcoder of its own, from the best linear prediction of its
    output, and writes to no later layer; 8e-4, as for JumpReLU, where the update has 2e-4 for
    billions of tokens.
    """
    layers = paired(signal)
    first = next(iter(layers))
    layer_width = WIDER * signal.parts[first].numel if latent_dim is None else latent_dim
    check_active(layer_width, k=k, l0=l0)
    if not weigh and k is None:
        raise IsthmusError(
            "weigh=false says how k latents are chosen, and k is not given: pass k, or leave it out"
        )
    width = layer_width * len(layers)
    encoders: dict[str, DictionaryEncoder] = {}
    written: dict[str, LayerDictionary] = {}
    begin = inputs = 0
    for number, (into, out) in enumerate(layers.items()):
        reads, writes = signal.parts[into], signal.parts[out]
        sizes = (width, layer_width * (number + 1), layer_width, writes.shape)
        inputs += reads.numel
        if onset:
            written[out] = OnsetLayerDictionary(*sizes, inputs if skip else 0, begin)
            begin += writes.numel
        elif skip:
            written[out] = SkipLayerDictionary(*sizes, reads.numel, begin)
            begin += writes.numel
        else:
            written[out] = LayerDictionary(*sizes)
        start = Dictionary(layer_width, reads.shape)
        encoders[into] = DictionaryEncoder(start, subtract_bias=False)
    bottleneck: Part
    if k is not None:
        each = select in ("row", "batch")
        kind = LayersTopK if select in ("row", "layers") else LayersBatchTopK
        bottleneck = kind(width, k, len(layers), dead_after, each=each, weigh=weigh)
        objective = MSE() + Watch(ActiveLatents())
        weight = 1 / 32 if auxk_weight is None else auxk_weight
    else:
        control = None if l0 is None else L0Control(l0 * len(layers), width)
        if activation == "relu":
            bottleneck = LayersReLU(width, dead_after, scale=tanh_scale, control=control)
        else:
            if control is None:
                threshold, bandwidth = threshold or THRESHOLD, bandwidth or BANDWIDTH
            bottleneck = LayersJumpReLU(
                width, dead_after, scale=tanh_scale, threshold=threshold, bandwidth=bandwidth,
                control=control,
            )  # fmt: skip
        if sparsity is None:
            sparsity = PRICE * max(part.bias.numel() for part in written.values()) / ELEMENTS
        objective = _priced(control, NormTanh(tanh_scale), sparsity, sparsity_steps)
        if preactivation_weight:
            objective = objective + preactivation_weight * PreActivation()
        elements = sum(signal.parts[name].numel for name in written)
        weight = (auxk_weight or 0.0) * elements  # AuxK is the error of an element
    if weight:
        most = max(part.bias.numel() // 2 for part in written.values())
        objective = objective + weight * AuxK(max(1, min(layer_width, most)), weigh=True)
    return Autoencoder(
        signal,
        encoder=Each(encoders, merge=stacked),
        bottleneck=bottleneck,
        decoder=Concatenated(written),
        likelihood=EachLikelihood({name: Gaussian() for name in written}),
        objective=objective,
        target=Only(*written),
    )


def _priced(
    control: L0Control | None, price: NormTanh, sparsity: float, steps: int | None
) -> Objective:
    if control is not None:
        objective = SquaredError() + price * Held(control) + Watch(Coefficient())
    else:
        ramp = Linear(0.0, sparsity, steps or sys.maxsize, fit=0.8 if steps else 1.0)
        objective = SquaredError() + price * ramp
    return objective + Watch(ActiveLatents())


def paired(signal: Signal) -> dict[str, str]:
    """What is read and what is written of every layer, by the names of a collection's parts."""
    if signal.kind != "collection" or len(signal.parts) < 4:
        raise IsthmusError(
            "a cross-layer transcoder reads and writes two layers or more: pass what goes into and "
            "what comes out of each by name, or use a transcoder for one"
        )
    check_real_parts(signal, "a cross-layer transcoder")
    names = list(signal.parts)
    reads = [name for name in names if name.endswith(":in")]
    if not reads:
        if len(names) % 2:
            raise IsthmusError(
                f"{len(names)} parts are no pairs ({', '.join(names)}): pass what goes into and "
                "what comes out of each layer, one after the other"
            )
        return dict(zip(names[::2], names[1::2], strict=True))
    pairs = {}
    for name in reads:
        stem = name.removesuffix(":in")
        out = next((one for one in (f"{stem}:out", stem) if one in signal.parts), None)
        if out is None:
            raise IsthmusError(
                f"{name!r} is read, and there is no {stem!r} to be written: pass what comes out of "
                "the same module"
            )
        pairs[name] = out
    for name in names:
        if name not in pairs and name not in pairs.values():
            raise IsthmusError(
                f"{name!r} is written, and there is no input of its module: pass '{name}:in', too"
            )
    return pairs
