"""The beta-VAE with controlled capacity."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Autoencoder, Linear, Objective, Output, Schedule, Signal, Term
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import KL, NegativeLogLikelihood, kl_to_standard_normal
from isthmus.objectives.divergence import gaussian
from isthmus.recipes.options import (
    Hidden,
    LatentDim,
    LikelihoodName,
    Meant,
    Network,
    NonNegative,
    OwnModule,
    Sigma,
    likelihood_for,
)
from isthmus.recipes.registry import recipe


class CapacityKL(Term):
    """``|KL - C|``: the KL divergence held at the capacity C, a schedule in nats.

    The distance is taken from the batch's mean KL, as every implementation does, so that single
    examples may use more or less than C.
    """

    name = "capacity_kl"
    unit = "nats"
    per_example = False
    estimator = "distance of the mean KL over the batch from C"

    def __init__(self, capacity: Schedule) -> None:
        self.capacity = capacity

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        kl = kl_to_standard_normal(gaussian(out)).sum(1).mean()
        return (kl - self.capacity(out.clock)).abs()


@recipe(
    "beta-vae",
    family="variational",
    catalogue=145,
    paper="Burgess, Higgins, Pal, Matthey, Watters, Desjardins, Lerchner, Understanding "
    "disentangling in beta-VAE, 2018, arXiv:1804.03599",
    formula="L = -E_q[log p(x|z)] + gamma |KL(q(z|x) || N(0,I)) - C|,  C: 0 -> capacity; "
    "with capacity=none: L = -E_q[log p(x|z)] + beta KL(q(z|x) || N(0,I))",
    claim="Raising capacity during training gives disentangled latents without the beta-VAE's loss "
    "of reconstruction; factors switch on one after another.",
    training={"steps": 300_000, "lr": 5e-4, "batch_size": 64},
)
def beta_vae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 10,
    capacity: Annotated[
        float | None, Field(ge=0, description="final capacity C in nats; none for a fixed beta")
    ] = 25.0,
    gamma: Annotated[NonNegative, Field(description="weight of |KL - C|")] = 1000.0,
    capacity_steps: Annotated[
        int,
        Field(gt=0, description="steps over which C rises (at most 0.8 of the run)"),
        Meant("ramp"),
    ] = 100_000,
    beta: Annotated[NonNegative, Field(description="weight of the KL where capacity=none")] = 4.0,
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: LikelihoodName = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """A variational autoencoder whose information per example is set, and raised slowly.

    The KL term measures, in nats, how much the code tells about the example. Holding it at a
    capacity that grows from zero lets each factor of variation enter when it buys the most
    log-likelihood per nat. ``capacity=none`` gives the beta-VAE of Higgins et al. 2017, and with
    ``beta=1`` the VAE of Kingma, Welling 2013.

    Published: 10 latents, gamma 1000, C from 0 to 25 nats over 100,000 steps, Adam at 5e-4,
    batches of 64, four convolutions of 32 channels and two layers of 256; the length of the run is
    ours, since the paper does not state it. The networks here are the library's own for the
    signal; on 64x64 images ``encoder`` and ``decoder`` take the paper's.
    """
    reconstruction = NegativeLogLikelihood()
    objective: Objective = (
        reconstruction + beta * KL()
        if capacity is None
        else reconstruction + gamma * CapacityKL(Linear(0.0, capacity, capacity_steps))
    )
    observed = likelihood_for(signal, likelihood, sigma)
    return Autoencoder(
        signal,
        encoder=encoder or encoder_for(signal, 2 * latent_dim, network, hidden=hidden),
        bottleneck=GaussianBottleneck(),
        decoder=decoder
        or decoder_for(signal, latent_dim, network, hidden=hidden, numbers=observed.numbers),
        objective=objective,
        likelihood=observed,
        prior=StandardNormal(latent_dim),
    )
