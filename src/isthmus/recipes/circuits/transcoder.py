"""The transcoder: a sparse dictionary from a module's input to its output."""

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from isthmus.anatomy import (
    Autoencoder,
    Constant,
    Each,
    Linear,
    Objective,
    Only,
    Output,
    Signal,
    Term,
    Watch,
    single,
)
from isthmus.bottlenecks.penalised import Penalised
from isthmus.bottlenecks.transcoder import (
    TranscoderBatchTopK,
    TranscoderJumpReLU,
    TranscoderReLU,
    TranscoderTopK,
)
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.networks.skip_dictionary import SkipDictionary
from isthmus.objectives import (
    L0,
    L1,
    MSE,
    ActiveLatents,
    AuxK,
    Coefficient,
    Held,
    L0Control,
    NormL1,
    dead_used,
)
from isthmus.recipes.options import (
    AuxKWeight,
    DeadAfter,
    Meant,
    NonNegative,
    Positive,
    Select,
    TargetL0,
    UnitRows,
    check_active,
)
from isthmus.recipes.registry import REAL, recipe

WIDER = 32
"""Latents for each element of the input, where nothing is said."""
ACTIVE = 32
"""Active latents with L1, where neither a number nor a price is said; a quarter of fewer than 128.
The published price, 1.4e-4, is for activations as GPT-2 has them and means nothing elsewhere."""
PRICE = 1e-3
"""Lambda of JumpReLU where it is not said (Gemma Scope sweeps it)."""
RAMPS = {"relu": 0, "jumprelu": 10_000}
"""Steps over which lambda rises, as in the papers."""
JUMP = 0.001
"""Threshold and bandwidth at first of JumpReLU on rows of norm 1 (Lieberum et al. 2024)."""
LEAST = 1e-3
"""The least root mean square of a target that an error is divided by, in the model's units."""


class NormWeightedMSE(Term):
    """``|y - y^|^2 / d / (|y| / sqrt(d))``: the error of each row over that row's own size.

    The authors' code divides by ``|y|`` alone; with the root of the number of elements d it is as
    large as the mean squared error where a row's mean squared element is 1, whatever d. A target
    smaller than :data:`LEAST` counts as one at that.
    """

    name = "norm_weighted_mse"
    unit = "squared error per element over the target's root mean square, in the model's units"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        size = out.target.flatten(1).square().mean(1).sqrt()
        return out.squared_error() / out.elements() / size.clamp_min(LEAST)


@recipe(
    "transcoder",
    family="circuits",
    catalogue=61,
    paper="Dunefsky, Chlenski, Nanda, Transcoders Find Interpretable LLM Feature Circuits, 2024, "
    "arXiv:2406.11944; with a skip: Paulo, Shabalin, Belrose, Transcoders Beat Sparse Autoencoders "
    "for Interpretability, 2025, arXiv:2501.18823; with JumpReLU: Lieberum, Rajamanoharan, "
    "Conmy, Smith, Sonnerat, Varma, Kramar, Dragan, Shah, Nanda, Gemma Scope, 2024, "
    "arXiv:2408.05147",
    formula="z = ReLU(W_e x + b_e),  y^ = W_d z + b_d [+ S x],  "
    "L = |y - y^|^2 / (d |y| / sqrt(d)) + lambda |z|_1,  y the output of the module that reads x;  "
    "with k: z = TopK or BatchTopK, L = |y - y^|^2 / d;  with jumprelu: z = u H(u - theta),  "
    "L = |y - y^|^2 / d + lambda sum_i H(u_i - theta_i)",
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
        Field(gt=0, description="active latents per example, without a penalty"),
    ] = None,
    select: Select = "row",
    activation: Annotated[
        Literal["relu", "jumprelu"],
        Field(description="without k: relu with an L1 penalty, or jumprelu with an L0 penalty"),
    ] = "relu",
    sparsity: Annotated[
        NonNegative | None,
        Field(
            description="lambda: price of the L1 norm or of a latent, where there is no l0 (none: "
            "with relu as for an l0 of 32, at most a quarter of the latents, with jumprelu 1e-3)"
        ),
    ] = None,
    sparsity_steps: Annotated[
        int | None,
        Field(ge=0, description="steps over which lambda rises (none: 0, or 10,000 with jumprelu)"),
        Meant("ramp"),
    ] = None,
    skip: Annotated[
        bool, Field(description="add a linear map of the input to what is written")
    ] = False,
    threshold: Annotated[
        Positive | None,
        Field(description="jumprelu: initial threshold (none: 0.001 sqrt(inputs), or by l0)"),
    ] = None,
    bandwidth: Annotated[
        Positive | None,
        Field(description="jumprelu: width of the kernel (none: 0.001 sqrt(inputs), or by l0)"),
    ] = None,
    weighting: Annotated[
        Literal["auto", "rows", "none"],
        Field(
            description="rows: each row's error over the size of its target; none: as it is; auto: "
            "rows with relu and its L1 penalty"
        ),
    ] = "auto",
    auxk_weight: AuxKWeight = None,
    dead_after: DeadAfter = 10_000_000,
    unit: UnitRows = True,
) -> Autoencoder:
    """A dictionary that reads what goes into a module and writes what comes out of it.

    It takes a module's place: unlike a dictionary on the output, its latents are computed from the
    input alone, so that one latent's effect on another, in a later transcoder, is a product of
    weights (:mod:`isthmus.interpretation.attribution`). The data are a collection of two parts,
    such as ``{"in": A, "out": B}``, ``lm:resident@layers.1.mlp:in,layers.1.mlp:out`` or
    ``store.pair(a, b)``: the first is read, the second is the target, and all errors are those of
    the target. Data of a single part are their own target.

    Both points are scaled to a mean squared element of 1, each by its own factor. The penalty
    sets the sparsity, by ``sparsity`` or by a control that holds ``l0``, 32 where nothing is said
    (a quarter of fewer than 128 latents); ``k`` takes the k largest
    latents of each row instead, or with ``select=batch`` k of a row on average, and at inference
    those above one threshold (BatchTopK). ``activation=jumprelu`` learns a threshold for each
    latent and pays for the number of active ones.

    The paper's loss is the squared error; its authors' code divides each row's by the norm of its
    target, so that rows of large outputs do not decide alone. That is the default where the rest
    is theirs, ReLU with the L1 penalty, and ``weighting`` chooses.

    ``skip`` adds a linear map of the input: what is linear in the module needs no latents then. The
    code carries what is added, so that ``decode`` wants the whole code and not the latents alone.
    With ``unit=False`` atoms have any length, by which an L1 penalty is weighed.

    Published: the hook behind the second normalisation, width 32 times that of the input, Adam at
    4e-4 with a warm-up of 5000 steps, lambda 1.4e-4, batches of 4096, 60 million tokens, the
    decoder's bias at the mean of the output, a bias taken from the input, ghost gradients,
    activations unscaled. With a skip: TopK of 32, the
    skip at zero and the decoder's bias at the mean of the output at first, signum at a rate that
    falls with the root of the width. With JumpReLU, as Gemma Scope's: input and output divided so
    that the mean squared norm of a row is 1, threshold and bandwidth 0.001, lambda rising over
    10,000 steps. Here: lambda is a price on scaled activations, on which 1.4e-4 means nothing, and
    is found for an ``l0``; atoms keep norm 1; the encoder starts from the best linear prediction of
    the target, where the authors start at random; the skip starts at zero, and is trained as all
    else is; thresholds are those of rows that are as much longer as ``scaling=global`` makes them.
    """
    reads, writes = _ends(signal)
    width = WIDER * reads.numel if latent_dim is None else latent_dim
    check_active(width, k=k, l0=l0)
    if k is not None and activation == "jumprelu":
        raise IsthmusError(
            f"k={k} chooses by rank and jumprelu by thresholds: leave one out (l0 holds a number "
            "of active latents with thresholds, select=batch ends in one threshold)"
        )
    if k is None and l0 is None and sparsity is None and activation == "relu":
        l0 = min(float(ACTIVE), width / 4)
    by_rows = weighting == "rows" or (
        weighting == "auto" and k is None and activation == "relu" and not skip
    )
    error = NormWeightedMSE() if by_rows else MSE()
    if skip:
        dictionary: Dictionary = SkipDictionary(width, writes.shape, reads.numel, unit=unit)
    else:
        dictionary = Dictionary(width, writes.shape, unit=unit)
    encoder = DictionaryEncoder(dictionary, subtract_bias=False, inputs=reads.numel)
    bottleneck: TranscoderTopK | TranscoderBatchTopK | Penalised
    if k is not None:
        kind = TranscoderTopK if select == "row" else TranscoderBatchTopK
        bottleneck = kind(width, k, dead_after)
        objective = error * 1.0
    else:
        control = None if l0 is None else L0Control(l0, width)
        if activation == "relu":
            price = 2.0 / writes.numel
            bottleneck = TranscoderReLU(width, dead_after, control=control, price=price)
        else:
            if control is None:
                longer = math.sqrt(reads.numel)
                threshold, bandwidth = threshold or JUMP * longer, bandwidth or JUMP * longer
            bottleneck = TranscoderJumpReLU(
                width, threshold, bandwidth, dead_after=dead_after, control=control,
                price=1.0 / writes.numel,
            )  # fmt: skip
        sparsity = PRICE if sparsity is None else sparsity
        steps = RAMPS[activation] if sparsity_steps is None else sparsity_steps
        objective = _priced(error, bottleneck, sparsity, steps, unit)
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


def _priced(
    error: Term, bottleneck: Penalised, sparsity: float, steps: int, unit: bool
) -> Objective:
    """The error and the price of active latents, the one given or the one that is found."""
    jumps, control = isinstance(bottleneck, TranscoderJumpReLU), bottleneck.control
    price = L0() if jumps else L1() if unit else NormL1()
    if not isinstance(control, L0Control):
        weight = Linear(0.0, sparsity, steps) if steps else Constant(sparsity)
        objective = error + price * weight
    else:
        objective = error + price * Held(control) + Watch(Coefficient())
    return objective if jumps else objective + Watch(ActiveLatents())


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
