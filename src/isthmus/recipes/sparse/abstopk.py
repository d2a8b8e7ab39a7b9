"""The AbsTopK sparse autoencoder, whose latents have two signs."""

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import TopK
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.objectives.dead_latents import with_help
from isthmus.recipes.options import (
    ActiveLatents,
    AuxLatents,
    AuxWeight,
    DeadAfter,
    DictionaryDim,
    Revive,
    SubtractBias,
    UnitRows,
    check_active,
)
from isthmus.recipes.registry import recipe
from isthmus.recipes.sparse.topk import TRAINING


@recipe(
    "abstopk",
    family="sparse",
    catalogue=231,
    paper="Zhu, Khalili, Zhu, AbsTopK: Rethinking Sparse Autoencoders For Bidirectional Features, "
    "2025, arXiv:2510.00404",
    formula="z = the k entries of u = W_e (x - b) + b_e with the largest |u_i|, sign kept, others "
    "0,  x^ = W_d z + b,  L = |x - x^|^2 / d + (1/32) |e - e^|^2 / d",
    claim="With signed codes one latent carries both poles of a concept, for which non-negative "
    "dictionaries spend two; the error at equal k is lower.",
    training=TRAINING,
    scaling="global",
)
def abstopk(
    signal: Signal,
    *,
    latent_dim: DictionaryDim = 4096,
    k: ActiveLatents = 32,
    revive: Revive = "auto",
    k_aux: AuxLatents = None,
    auxk_weight: AuxWeight = 1 / 32,
    dead_after: DeadAfter = 10_000_000,
    subtract_bias: SubtractBias = True,
    unit: UnitRows = True,
) -> Autoencoder:
    """A wide dictionary of which each example uses exactly k atoms, forwards or backwards.

    It is the proximal step of the constraint ``|z|_0 <= k`` without ``z >= 0``, from which TopK
    follows with it. AuxK is signed, too: the dead latents largest by absolute value explain the
    residual. A latent has fired where its value is not zero, whatever its sign.

    Published: unit decoder rows and the usual means against dead latents, without figures for
    them. Here: the figures, the initialisation and the scaling of TopK (Gao et al. 2024), the
    encoder moreover scaled so that the first reconstruction is best, and its rate of 1.6e-3.
    """
    check_active(latent_dim, k=k)
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    objective = MSE() * 1.0
    objective, parts = with_help(objective, dictionary, revive, auxk_weight, k_aux, magnitude=True)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=TopK(latent_dim, k, dead_after, magnitude=True, fit_scale=True),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
