"""The sparse autoencoder that uses one latent of each group."""

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import GroupMax
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


@recipe(
    "groupmax",
    family="sparse",
    paper="EleutherAI, sparsify, 2025, github.com/EleutherAI/sparsify: activation=groupmax",
    formula="z_j = max(u_j, 0) where u_j is the largest of its group of width / k latents, else 0, "
    "u = W_e (x - b) + b_e,  x^ = W_d z + b,  L = |x - x^|^2 / d + (1/32) |e - e^|^2 / |e|^2",
    claim="Taking the largest latent of each of k groups needs no search over all latents and "
    "rebuilds nearly as well as TopK.",
    training={
        "steps": 10_000,
        "lr": 1.6e-3,
        "batch_size": 4096,
        "optimiser_options": {"eps": 6.25e-10},
        "clip": 1.0,
        "average": 0.999,
        "warmup": 100,
    },
    scaling="global",
)
def groupmax(
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
    """A wide dictionary of k groups, of each of which an example uses one atom.

    The groups are neighbours: latents 0 to width / k - 1 are the first. Two features that occur
    together have to lie in different groups; the loss sees to it, where there are groups enough.
    Latents are counted, helped and decoded as in ``topk``, of which it is a special case in what a
    code can be: k latents at most, never negative.

    It is an option of EleutherAI's sparsify, without a paper. Here: the figures of ``topk``.
    """
    check_active(latent_dim, k=k)
    dictionary = Dictionary(latent_dim, signal.shape, unit=unit)
    objective, parts = with_help(MSE() * 1.0, dictionary, revive, auxk_weight, k_aux)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary, subtract_bias=subtract_bias),
        bottleneck=GroupMax(latent_dim, k, dead_after),
        decoder=dictionary,
        objective=objective,
        parts=parts,
    )
