"""The TopK sparse autoencoder with AuxK."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Dictionary, DictionaryEncoder, TopK
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE, AuxK
from isthmus.recipes.options import ActiveLatents, LatentDim, NonNegative
from isthmus.recipes.registry import recipe


@recipe(
    "topk",
    family="sparse",
    catalogue=30,
    paper="Gao, Dupre la Tour, Tillman, Goh, Troll, Radford, Sutskever, Leike, Wu, Scaling and "
    "evaluating sparse autoencoders, 2024, arXiv:2406.04093",
    formula="z = TopK(W_e (x - b) + b_e),  x^ = W_d z + b,  "
    "L = |x - x^|^2 / d + (1/32) |e - e^|^2 / d",
    claim="TopK rebuilds better than ReLU with an L1 penalty at equal L0 and scales as a power law "
    "in width and k; tied initialisation and AuxK keep nearly all latents alive.",
    training={
        "steps": 10_000,
        "lr": 4e-4,
        "batch_size": 4096,
        "optimiser_options": {"eps": 6.25e-10},
        "clip": 1.0,
        "average": 0.999,
        "warmup": 100,
    },
    scaling="global",
)
def topk(
    signal: Signal,
    *,
    latent_dim: LatentDim = 4096,
    k: ActiveLatents = 32,
    k_aux: Annotated[int, Field(gt=0, description="dead latents that AuxK uses per example")] = 512,
    auxk_weight: Annotated[NonNegative, Field(description="weight of AuxK")] = 1 / 32,
    dead_after: Annotated[
        int,
        Field(
            gt=0,
            description="silent rows after which a latent is dead (at most a tenth of the run)",
        ),
    ] = 10_000_000,
) -> Autoencoder:
    """A wide dictionary of which each example uses exactly k atoms.

    The encoder starts as the transpose of the decoder, whose rows keep norm 1 and whose bias
    starts at the geometric median of the data. AuxK lets dead latents explain the residual, which
    brings them back. Sparsity is chosen, not tuned, and values are not shrunk.

    Published: 131,072 tokens a batch, a learning rate near 1e-4 that falls with the square root of
    the width, Adam with eps 6.25e-10, weight average 0.999, gradients clipped at 1, AuxK with 512
    latents and weight 1/32, latents dead after 10 million tokens. Here: batches of 4096 so that a
    laptop holds them, and 4e-4, which that rule gives at width 4096. Both losses are normalised
    by the data's mean square (``scaling=global``) rather than by each batch's variance, so that
    they are per example.
    """
    if k > latent_dim:
        raise IsthmusError(f"k={k} is more than latent_dim={latent_dim}: choose a smaller k")
    dictionary = Dictionary(latent_dim, signal.shape)
    return Autoencoder(
        signal,
        encoder=DictionaryEncoder(dictionary),
        bottleneck=TopK(latent_dim, k, dead_after),
        decoder=dictionary,
        objective=MSE() + auxk_weight * AuxK(min(k_aux, latent_dim)),
    )
