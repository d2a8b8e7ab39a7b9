"""The TopK sparse autoencoder with AuxK, and with Multi-TopK."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Autoencoder, Look, Objective, Output, Signal, Term
from isthmus.bottlenecks import GroupMax, ThresholdTopK, TopK
from isthmus.bottlenecks.dictionary_start import start_at_median
from isthmus.bottlenecks.topk import WideSparseCode
from isthmus.errors import IsthmusError
from isthmus.networks import ArchetypalDictionary, Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.objectives.nested_errors import BudgetedError, budgets_of
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


class ArchetypalEncoder(DictionaryEncoder):
    """The encoder before an archetypal dictionary, whose candidates it draws.

    They are drawn before anything looks at codes, from the rows that a model is set up from, less
    the decoder's first bias; the encoder starts at the atoms that come of them.
    """

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Draw the candidates, and start at the atoms."""
        start_at_median(model, look.x)
        dictionary = model.part_as("decoder", ArchetypalDictionary, self)
        dictionary.choose(look.tensor.flatten(1), dictionary.bias)
        self.weight.copy_(torch.nn.functional.normalize(dictionary.atoms(), dim=1))


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
    budgets: Annotated[
        int,
        Field(
            ge=0,
            description="numbers of latents up to k, evenly spaced, with which rows have to be "
            "rebuilt as well (0: k alone; k: HierarchicalTopK's)",
        ),
    ] = 0,
    archetypal: Annotated[
        NonNegative | None,
        Field(
            description="atoms are convex combinations of rows, but for a rest of this length in "
            "the model's units (0: none; published 1); none: atoms are free"
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        Field(gt=1, description="with archetypal: rows to combine (none: as many as latents)"),
    ] = None,
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

    ``budgets`` has the strongest latents of a row rebuild it at several numbers of them, not at k
    alone: HierarchicalTopK (Balagansky et al. 2025, arXiv:2505.24473), which is good at any smaller
    k, to be set as ``model.bottleneck.k`` (no file keeps it). The paper takes all of 1 to k
    (``budgets=k``); eight of them are nearly as good and make a step twice as long. (``msae`` does
    the same from k upwards.)

    ``archetypal`` keeps atoms among the data (Fel et al. 2025, arXiv:2502.12892): each is a convex
    combination of rows, plus a vector of bounded length where that is above 0 (relaxed archetypal),
    times one number for all. Two runs then find more of the same atoms. Rows are taken less the
    decoder's first bias, as many as there are latents, at random; the paper combines 32,000 means
    of clusters. ``unit`` has no effect. A step also multiplies the mixing with the candidates,
    which takes several times TopK's own time where both are thousands.

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
    if budgets and (multi_weight or k_start is not None):
        raise IsthmusError(
            "budgets are numbers of latents up to k: leave out multi_weight and k_start"
        )
    if budgets > k:
        raise IsthmusError(f"budgets={budgets} is more than k={k} numbers of latents: choose {k}")
    if archetypal is not None and not math.isfinite(archetypal):
        raise IsthmusError(
            f"archetypal={archetypal} bounds nothing: leave it out for atoms that are free"
        )
    if candidates is not None and archetypal is None:
        raise IsthmusError("candidates are what archetypal atoms are made of: set archetypal, too")
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    kind = ThresholdTopK if threshold else TopK
    if archetypal is not None:
        dictionary = ArchetypalDictionary(
            latent_dim, signal.shape, candidates or latent_dim, archetypal
        )
    encoder = DictionaryEncoder if archetypal is None else ArchetypalEncoder
    wide = min(MULTI * k, latent_dim) if multi_weight else None
    objective: Objective = MSE() * 1.0
    if budgets:
        objective = BudgetedError(budgets_of(k, budgets)) * 1.0
    if multi_weight:
        objective = objective + multi_weight * MultiTopK()
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=encoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=GroupMax(latent_dim, k, dead_after)
        if grouped
        else kind(latent_dim, k, dead_after, wide=wide, start=k_start, fit_scale=True),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
