"""The importance weighted autoencoder."""

from typing import Annotated, Literal

from pydantic import Field

from isthmus.anatomy import Autoencoder, Signal, Term
from isthmus.bottlenecks import GaussianBottleneck
from isthmus.objectives.importance import (
    Average,
    AveragedBound,
    Importance,
    ImportanceWeightedBound,
    RoutedBound,
)
from isthmus.recipes.options import Hidden, LatentDim, LikelihoodName, Network, OwnModule, Sigma
from isthmus.recipes.registry import recipe
from isthmus.recipes.variational.burda import TRAINING, Binarised, Doubly, burda_autoencoder


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
