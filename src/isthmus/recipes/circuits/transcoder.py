"""The transcoder: a sparse dictionary from a module's input to its output."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Each, Only, Signal, Watch, single
from isthmus.bottlenecks.transcoder import TranscoderReLU, TranscoderTopK
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import L1, MSE, ActiveLatents, AuxK, Coefficient, Held, L0Control, dead_used
from isthmus.recipes.options import DeadAfter, Meant, NonNegative, TargetL0, check_active
from isthmus.recipes.registry import REAL, recipe

WIDER = 32
"""Latents for each element of the input, where nothing is said."""


@recipe(
    "transcoder",
    family="circuits",
    catalogue=61,
    paper="Dunefsky, Chlenski, Nanda, Transcoders Find Interpretable LLM Feature Circuits, 2024, "
    "arXiv:2406.11944",
    formula="z = ReLU(W_e x + b_e),  y^ = W_d z + b_d,  L = |y - y^|^2 / d + lambda |z|_1,  "
    "y the output of the module that reads x",
    claim="At equal sparsity a sparse replacement of a feed-forward part is at least as faithful "
    "as an autoencoder on its output, and its weights alone say which features write to which.",
    training={"steps": 15_000, "lr": 4e-4, "batch_size": 4096, "warmup": 5000},
    scaling="global",
    kinds=("collection", *REAL),
)
def transcoder(
    signal: Signal,
    *,
    latent_dim: Annotated[
        int | None,
        Field(gt=0, description="number of latents (none: 32 times the inputs)"),
        Meant("dictionary"),
    ] = None,
    l0: TargetL0 = None,
    k: Annotated[
        int | None,
        Field(gt=0, description="active latents per example by TopK, without a penalty"),
    ] = None,
    sparsity: Annotated[NonNegative, Field(description="lambda: price of the L1 norm")] = 1.4e-4,
    auxk_weight: Annotated[
        NonNegative | None, Field(description="weight of AuxK (none: 1/32 with k, else 0)")
    ] = None,
    dead_after: DeadAfter = 10_000_000,
) -> Autoencoder:
    """A dictionary that reads what goes into a module and writes what comes out of it.

    It takes a module's place: unlike a dictionary on the output, its latents are computed from the
    input alone, so that one latent's effect on another, in a later transcoder, is a product of
    weights (:mod:`isthmus.interpretation.attribution`). The data are a collection of two parts,
    such as ``{"in": A, "out": B}``, ``lm:resident@layers.1.mlp:in,layers.1.mlp:out`` or
    ``store.pair(a, b)``: the first is read, the second is the target, and all errors are those of
    the target. Data of a single part are their own target.

    Both points are scaled to a mean squared element of 1, each by its own factor. The penalty
    sets the sparsity, by ``sparsity`` or by a control that holds ``l0``; ``k`` takes the k largest
    latents instead.

    Published: the hook behind the second normalisation, width 32 times that of the input, Adam at
    4e-4 with a warm-up of 5000 steps, lambda 1.4e-4, batches of 4096, 60 million tokens, the
    decoder's bias at the mean of the output, activations unscaled. Here: lambda is a price on
    scaled activations and has to be chosen anew, or ``l0`` given; atoms keep norm 1; the encoder
    starts from the best linear prediction of the target, where the authors start at random.
    """
    reads, writes = _ends(signal)
    width = WIDER * reads.numel if latent_dim is None else latent_dim
    check_active(width, k=k)
    if k is not None and l0 is not None:
        raise IsthmusError(f"k={k} and l0={l0:g} both say how many are active: choose one")
    dictionary = Dictionary(width, writes.shape)
    encoder = DictionaryEncoder(dictionary, subtract_bias=False, inputs=reads.numel)
    bottleneck: TranscoderTopK | TranscoderReLU
    if k is not None:
        bottleneck = TranscoderTopK(width, k, dead_after)
        objective = MSE() * 1.0
    elif l0 is None:
        bottleneck = TranscoderReLU(width, dead_after)
        objective = MSE() + sparsity * L1() + Watch(ActiveLatents())
    else:
        control = L0Control(l0, width)
        price = 2.0 / dictionary.bias.numel()
        bottleneck = TranscoderReLU(width, dead_after, control=control, price=price)
        watched = Watch(ActiveLatents()) + Watch(Coefficient())
        objective = MSE() + L1() * Held(control) + watched
    weight = (0.0 if k is None else 1 / 32) if auxk_weight is None else auxk_weight
    if weight:
        objective = objective + weight * AuxK(dead_used(dictionary))
    names = list(signal.parts)
    return Autoencoder(
        signal,
        encoder=Each({names[0]: encoder}, merge=single) if names else encoder,
        bottleneck=bottleneck,
        decoder=dictionary,
        objective=objective,
        target=Only(names[1]) if names else None,
    )


def _ends(signal: Signal) -> tuple[Signal, Signal]:
    """What is read and what is written: the two parts, or the same where there is but one."""
    if signal.kind != "collection":
        return signal, signal
    if len(signal.parts) != 2:
        raise IsthmusError(
            f"a transcoder reads one part and writes another, and the data have {len(signal.parts)}"
            f" ({', '.join(signal.parts)}): pass two"
        )
    reads, writes = signal.parts.values()
    return reads, writes
