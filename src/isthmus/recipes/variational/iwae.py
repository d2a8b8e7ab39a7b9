"""The importance weighted autoencoder, and the one-layer model that its paper trains."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Bernoulli, Look, Objective, Part, Signal, Term
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.corruptions import Binarise
from isthmus.errors import IsthmusError
from isthmus.likelihoods import ContinuousBernoulli
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives.importance import (
    Average,
    AveragedBound,
    Importance,
    ImportanceWeightedBound,
    RoutedBound,
)
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

_MEAN_RANGE = (0.001, 0.999)

TRAINING = {
    "epochs": 3280,
    "lr": 1e-3,
    "batch_size": 20,
    "lr_schedule": "burda",
    "optimiser_options": {"eps": 1e-4},
}
"""The paper's training options."""

Binarised = Annotated[
    bool | None,
    Field(
        description="draw binary data from the given means at each step; none: exactly where "
        "the likelihood is bernoulli"
    ),
]
Doubly = Annotated[
    bool,
    Field(description="doubly reparameterised gradients for the encoder (Tucker et al. 2018)"),
]


@recipe(
    "iwae",
    family="variational",
    catalogue=103,
    paper="Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2015, arXiv:1509.00519",
    formula="L = -E[log (1/K) sum_k p(x, z_k) / q(z_k|x)],  z_1..z_K ~ q(z|x)",
    claim="More samples tighten the bound, giving better likelihood and more active latents than a "
    "VAE with the same networks.",
    training=TRAINING,
)
def iwae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 50,
    samples: Annotated[
        int, Field(gt=0, description="draws K of the code per example; 1 is the VAE")
    ] = 50,
    bound: Annotated[
        Literal["importance", "elbo"],
        Field(description="importance, or the ELBO averaged over the draws (the paper's control)"),
    ] = "importance",
    doubly: Doubly = False,
    binarise: Binarised = None,
    network: Network = "mlp",
    hidden: Hidden = (200, 200),
    likelihood: LikelihoodName = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """A variational autoencoder whose bound takes the log of an average over K codes.

    Averaging the weights p(x, z) / q(z | x) inside the logarithm gives a bound that rises with K
    to log p(x), and so forgives a posterior that is right for some draws only: the model need not
    fit posteriors that the encoder can express, and uses more of its latents. The gradient is that
    of each draw's log-weight, weighted by its share of the weight. With ``doubly`` the encoder's
    leaves out the score of q, whose noise grows with K against its signal (Tucker et al. 2018,
    arXiv:1810.04152).

    Published: 50 latents, two layers of 200 tanh units each way (one stochastic layer), Glorot's
    initialisation with the output at the data's mean, binary images drawn afresh at each step
    (after training, ``encode`` reads the means themselves), K of 1, 5 or 50, Adam with epsilon
    1e-4, batches of 20, and 3^i passes at a learning rate of 10^(-3-i/7) for i = 0..7: 3280 passes
    in all. A shorter run keeps the shares. The paper's second model, of two stochastic layers, is
    not this page's.
    """
    objective: Term
    if doubly:
        objective = RoutedBound(Importance() if bound == "importance" else Average(), doubly=True)
    else:
        objective = ImportanceWeightedBound() if bound == "importance" else AveragedBound()
    return burda_autoencoder(
        signal,
        objective,
        GaussianBottleneck(samples),
        latent_dim=latent_dim,
        binarise=binarise,
        network=network,
        hidden=hidden,
        likelihood=likelihood,
        sigma=sigma,
        encoder=encoder,
        decoder=decoder,
    )


class DataMean(Part):
    """A decoder plus a fixed offset, so that the decoder's zero gives the data's mean.

    The authors' code starts the output bias there, which comes to the same.
    """

    offset: Tensor

    def __init__(self, signal: Signal, decoder: nn.Module, numbers: int = 1) -> None:
        super().__init__()
        self.decoder, self.numbers = decoder, numbers
        last = (numbers,) if numbers > 1 else ()
        self.register_buffer("offset", torch.zeros((*signal.shape, *last)))

    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Set the offset from a sample of the data, ``(rows, *shape)`` in the model's units."""
        mean = look.tensor.mean(0)
        if isinstance(model.likelihood, (Bernoulli, ContinuousBernoulli)):
            mean = mean.clamp(*_MEAN_RANGE)
        first = self.offset if self.numbers == 1 else self.offset[..., 0]
        first.copy_(model.likelihood.link(mean))

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(z) + self.offset


def burda_autoencoder(
    signal: Signal,
    objective: Objective | Term,
    bottleneck: GaussianBottleneck,
    *,
    latent_dim: int,
    binarise: bool | None,
    network: str,
    hidden: Sequence[int] | None,
    likelihood: LikelihoodName,
    sigma: float,
    encoder: nn.Module | None,
    decoder: nn.Module | None,
) -> Autoencoder:
    """Tanh networks initialised after Glorot, binary data drawn afresh, the prior N(0, I)."""
    observed = likelihood_for(signal, likelihood, sigma)
    binary = isinstance(observed, Bernoulli)
    if binarise and not binary:
        raise IsthmusError(
            f"binarise=true draws binary data, which a {observed.name} likelihood does not "
            "describe: set likelihood=bernoulli"
        )
    if encoder is None:
        encoder = encoder_for(signal, 2 * latent_dim, network, hidden=hidden, activation="tanh")
        _glorot(encoder)
    if decoder is None:
        numbers = observed.numbers
        decoder = decoder_for(
            signal, latent_dim, network, hidden=hidden, activation="tanh", numbers=numbers
        )
        decoder = DataMean(signal, _glorot(decoder), numbers)
    return Autoencoder(
        signal,
        corruption=Binarise() if (binary if binarise is None else binarise) else None,
        encoder=encoder,
        bottleneck=bottleneck,
        decoder=decoder,
        objective=objective,
        likelihood=observed,
        prior=StandardNormal(latent_dim),
    )


def _glorot(network: nn.Module) -> nn.Module:
    """Glorot and Bengio's uniform initialisation (2010), biases zero."""
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
