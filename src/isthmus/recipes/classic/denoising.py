"""The denoising autoencoder."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.corruptions import GaussianNoise, MaskingNoise, SaltAndPepper
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import NegativeLogLikelihood
from isthmus.recipes.options import (
    Hidden,
    LatentDim,
    LikelihoodName,
    Network,
    OwnModule,
    Sigma,
    likelihood_for,
)
from isthmus.recipes.registry import recipe

_NOISES: dict[str, type[nn.Module]] = {
    "masking": MaskingNoise,
    "gaussian": GaussianNoise,
    "salt-and-pepper": SaltAndPepper,
}


@recipe(
    "denoising",
    family="classic",
    paper="Vincent, Larochelle, Lajoie, Bengio, Manzagol, Stacked Denoising Autoencoders, "
    "JMLR 2010, www.jmlr.org/papers/v11/vincent10a.html",
    formula="L = -log p(x | g(f(x~))),  x~ ~ q(x~ | x)",
    claim="Rebuilding the clean input from a corrupted one gives better features than rebuilding "
    "it from itself, even when the code is wider than the input.",
    training={"epochs": 20, "lr": 1e-3, "batch_size": 128},
)
def denoising(
    signal: Signal,
    *,
    latent_dim: LatentDim = 32,
    noise: Annotated[
        Literal["masking", "gaussian", "salt-and-pepper"], Field(description="kind of corruption")
    ] = "masking",
    strength: Annotated[
        float,
        Field(
            gt=0,
            description="share of elements hit, or standard deviation of gaussian noise in the "
            "model's units",
        ),
    ] = 0.25,
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: LikelihoodName = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """Corrupt the input, and rebuild what it was before.

    The code has to hold what predicts the missing part, so it cannot be the identity. The paper's
    corruptions are masking noise (a quarter of the elements set to zero is its most used
    setting), additive Gaussian noise and salt-and-pepper noise, its losses the cross-entropy for
    values in [0, 1] and the squared error otherwise. Training is by Adam, not by the paper's
    stacked SGD.
    """
    observed = likelihood_for(signal, likelihood, sigma)
    return Autoencoder(
        signal,
        corruption=_NOISES[noise](strength),
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden),
        bottleneck=Identity(),
        decoder=decoder
        or decoder_for(signal, latent_dim, network, hidden=hidden, numbers=observed.numbers),
        objective=NegativeLogLikelihood(),
        likelihood=observed,
    )
