"""The TopK sparse autoencoder with AuxK, and with Multi-TopK."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Autoencoder, Output, Signal, Term
from isthmus.bottlenecks import GroupMax, ThresholdTopK, TopK
from isthmus.bottlenecks.topk import WideSparseCode
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    ActiveLatents,
    AuxLatents,
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    NonNegative,
    Revive,
    SubtractBias,
    UnitRows,
    check_active,
)
from isthmus.recipes.registry import recipe

MULTI = 4
"""Multi-TopK also rebuilds from this many times k latents (Gao et al. 2024, section 4.4)."""
TRAINING = {
    "steps": 10_000,
    "lr": 1.6e-3,
    "batch_size": 4096,
    "optimiser_options": {"eps": 6.25e-10},
    "clip": 1.0,
    "average": 0.999,
    "warmup": 100,
}
"""How dictionaries of k latents a row are trained, unless a page says otherwise."""


class MultiTopK(Term):
    """How well four times k latents rebuild, ``|x - x^(4k)|^2 / elements``."""

    name = "multi_topk"
    unit = "squared error per element, in the model's units"
    by_latent = ()
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        recon = model.decode_code(out.code_as(WideSparseCode, self).wide)
        return (recon - out.target).square().flatten(1).mean(1)


@recipe(
    "topk",
    family="sparse",
    catalogue=30,
    paper="Gao, Dupre la Tour, Tillman, Goh, Troll, Radford, Sutskever, Leike, Wu, Scaling and "
    "evaluating sparse autoencoders, 2024, arXiv:2406.04093",
    formula="z = TopK(W_e (x - b) + b_e),  x^ = W_d z + b,  "
    "L = |x - x^|^2 / d + (1/32) |e - e^|^2 / |e|^2 [+ (1/8) |x - x^_4k|^2 / d]",
    claim="TopK rebuilds better than ReLU with an L1 penalty at equal L0 and scales as a power law "
    "in width and k; tied initialisation and AuxK keep nearly all latents alive.",
    training=TRAINING,
    scaling="global",
)
def topk(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
    multi_weight: Annotated[
        NonNegative, Field(description="weight of the error with 4k latents; 0 is without")
    ] = 0.0,
    k_start: Annotated[
        int | None,
        Field(gt=0, description="k at first, falling over a tenth of the run (none: always k)"),
    ] = None,
    grouped: Annotated[
        bool, Field(description="the largest of each of k groups of latents, not the k largest")
    ] = False,
    threshold: Annotated[
        bool,
        Field(
            description="at inference latents above one threshold are on, the smallest value that "
            "training kept on average, not the k largest of a row"
        ),
    ] = False,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A wide dictionary of which each example uses exactly k atoms.

    The encoder starts as the transpose of the decoder, whose rows keep norm 1 and whose bias
    starts at the geometric median of the data; it is multiplied by the number with which the first
    reconstruction is best (the paper's overshoots where atoms overlap). AuxK lets dead latents
    explain the residual, which brings them back. Sparsity is chosen, not tuned, and values are not
    shrunk. Rows are encoded with exactly k latents at inference, whatever the first two options
    below did in training.

    A TopK dictionary is good at its own k only. Multi-TopK (``multi_weight``, published 1/8) adds
    the error with 4k latents, after which other k serve as well. ``k_start`` begins with more
    latents, from which k falls linearly over the first tenth of the run (Llama Scope, catalogue
    64): every latent is used before latents have to compete.

    ``threshold`` leaves that rule to training: at inference a latent is on where it exceeds one
    number, the smallest value that a row kept, averaged over rows and batches (``use_threshold`` of
    dictionary_learning). Rows then have as many latents as they need, k on average, and each latent
    can be computed without the others, as for BatchTopK.

    ``grouped`` is GroupMax, an option of EleutherAI's sparsify without a paper: latents are dealt
    into k groups of neighbours, and each example uses the strongest of each. Two features that
    occur together have to lie in different groups; the loss sees to it.

    Published: 131,072 tokens a batch, a learning rate near 1e-4 that falls with the square root of
    the width, Adam with eps 6.25e-10, weight average 0.999, gradients clipped at 1, AuxK with a
    power of two close to half the elements of a row (``k_aux``) and weight 1/32, divided by what is
    left over, latents dead after 10 million tokens. Here: batches of 4096 so that a
    laptop holds them, and 1.6e-3, four times what that rule gives at width 4096: the rule is for
    billions of tokens, and runs of fewer than a million leave half the gain unused at its rate
    (docs/benchmarks.md). The error is normalised by the data's mean square
    (``scaling=global``), and AuxK by that of what is left over of the batch, in proportion to how
    much of ``k_aux`` is dead (as in sparsify).
    """
    check_active(latent_dim, k=k, k_start=k_start)
    if grouped and (multi_weight or k_start is not None or threshold):
        raise IsthmusError(
            "with grouped=true each group has one latent: leave out multi_weight, k_start and "
            "threshold"
        )
    if threshold and multi_weight:
        raise IsthmusError(
            "with threshold=true there is no code of 4k latents at inference: leave out "
            "multi_weight"
        )
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    kind = ThresholdTopK if threshold else TopK
    wide = min(MULTI * k, latent_dim) if multi_weight else None
    objective = MSE() * 1.0
    if multi_weight:
        objective = objective + multi_weight * MultiTopK()
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=GroupMax(latent_dim, k, dead_after)
        if grouped
        else kind(latent_dim, k, dead_after, wide=wide, start=k_start, fit_scale=True),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
