"""Three bounds between the VAE's and the IWAE's: MIWAE, CIWAE and PIWAE."""

from typing import Annotated

from pydantic import Field

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import GaussianBottleneck
from isthmus.objectives.importance import Combination, Importance, RoutedBound
from isthmus.recipes.options import Hidden, LatentDim, LikelihoodName, Network, OwnModule, Sigma
from isthmus.recipes.registry import recipe
from isthmus.recipes.variational.iwae import TRAINING, Binarised, Doubly, burda_autoencoder

PAPER = (
    "Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh, Tighter Variational Bounds are Not "
    "Necessarily Better, ICML 2018, arXiv:1802.04537"
)

Bounds = Annotated[int, Field(gt=0, description="groups M of draws whose bounds are averaged")]
GroupSize = Annotated[int, Field(gt=0, description="draws K of the code in each group")]


@recipe(
    "miwae",
    family="variational",
    catalogue=109,
    paper=PAPER,
    formula="L = -E[(1/M) sum_m log (1/K) sum_k p(x, z_mk) / q(z_mk|x)],  z_mk ~ q(z|x)",
    claim="The signal-to-noise ratio of the encoder's gradient falls with K as K^-1/2 and rises "
    "with M as M^1/2, so that M K draws in groups train better than one group, even by the IWAE's "
    "own bound.",
    training=TRAINING,
)
def miwae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 50,
    bounds: Bounds = 8,
    samples: GroupSize = 8,
    doubly: Doubly = False,
    binarise: Binarised = None,
    network: Network = "mlp",
    hidden: Hidden = (200, 200),
    likelihood: LikelihoodName = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """The mean of M importance-weighted bounds with K draws each.

    A larger K tightens the bound, which helps the decoder, but the expected gradient of the
    encoder shrinks faster than its noise: the tighter the bound, the less it depends on q. Drawing
    M groups lowers the noise and leaves the bound of K draws. One group is the IWAE, groups of one
    draw the VAE.

    Published: the networks, data, optimiser and schedule of the IWAE (Burda et al. 2015, see the
    page of ``iwae``), 64 draws in all, M = K = 8 among the settings. One step decodes all 64
    draws: on a laptop choose fewer passes (a shorter run keeps the shares of the schedule) or
    larger batches. ``doubly`` takes another way out, gradients without the score of q (Tucker et
    al. 2018, arXiv:1810.04152).
    """
    return burda_autoencoder(
        signal,
        RoutedBound(Importance(bounds), doubly=doubly),
        GaussianBottleneck(bounds * samples),
        latent_dim=latent_dim,
        binarise=binarise,
        network=network,
        hidden=hidden,
        likelihood=likelihood,
        sigma=sigma,
        encoder=encoder,
        decoder=decoder,
    )


@recipe(
    "ciwae",
    family="variational",
    catalogue=109,
    paper=PAPER,
    formula="L = -beta ELBO - (1 - beta) E[log (1/K) sum_k w_k],  ELBO = E[(1/K) sum_k log w_k],  "
    "w_k = p(x, z_k) / q(z_k|x)",
    claim="A little of the VAE's bound keeps the encoder's gradient from drowning in noise, so "
    "that the combination trains better than the IWAE, even by the IWAE's own bound.",
    training=TRAINING,
)
def ciwae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 50,
    samples: Annotated[int, Field(gt=0, description="draws K of the code per example")] = 64,
    beta: Annotated[
        float, Field(gt=0, lt=1, description="weight of the ELBO, its first value if learnt")
    ] = 0.5,
    learn_beta: Annotated[
        bool, Field(description="raise the bound by beta too, which then falls towards 0")
    ] = False,
    doubly: Doubly = False,
    binarise: Binarised = None,
    network: Network = "mlp",
    hidden: Hidden = (200, 200),
    likelihood: LikelihoodName = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """A weighted mean of the VAE's bound and the IWAE's, from the same K draws.

    The ELBO's part of the encoder's gradient keeps its signal however many draws there are; the
    importance-weighted part tightens the bound. The combination is itself a lower bound on
    log p(x). A learnt beta is the sigmoid of one parameter: since the IWAE's bound is the higher
    of the two, beta can only fall, and the run goes from the VAE to the IWAE by itself.

    Published: the networks, data, optimiser and schedule of the IWAE (Burda et al. 2015, see the
    page of ``iwae``), 64 draws, beta of 0.5 and of 0.05. One step decodes all 64 draws: on a
    laptop choose fewer passes or larger batches. ``doubly`` takes another way out, gradients
    without the score of q (Tucker et al. 2018, arXiv:1810.04152).
    """
    return burda_autoencoder(
        signal,
        RoutedBound(Combination(beta, learnt=learn_beta), doubly=doubly),
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


@recipe(
    "piwae",
    family="variational",
    catalogue=109,
    paper=PAPER,
    formula="decoder: L = -E[log (1/MK) sum_mk w_mk];  encoder: L = -E[(1/M) sum_m log (1/K) "
    "sum_k w_mk],  w_mk = p(x, z_mk) / q(z_mk|x)",
    claim="The decoder gains from a tighter bound and the encoder from a looser one, so that "
    "giving each its own improves both over the IWAE.",
    training=TRAINING,
)
def piwae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 50,
    bounds: Bounds = 8,
    samples: GroupSize = 8,
    doubly: Doubly = False,
    binarise: Binarised = None,
    network: Network = "mlp",
    hidden: Hidden = (200, 200),
    likelihood: LikelihoodName = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """The decoder climbs the IWAE's bound of M K draws, the encoder the MIWAE's of M groups of K.

    Both gradients come from the same draws in one step: the decoder's weighs each draw by its
    share of the weight of all, the encoder's by its share of its group's. The loss that is logged,
    and that validation watches, is the decoder's, the tighter one.

    Published: the networks, data, optimiser and schedule of the IWAE (Burda et al. 2015, see the
    page of ``iwae``), 64 draws in all, M = K = 8 among the settings. One step decodes all 64
    draws: on a laptop choose fewer passes (a shorter run keeps the shares of the schedule) or
    larger batches. ``doubly`` replaces the encoder's gradient by one without the score of q
    (Tucker et al. 2018, arXiv:1810.04152).
    """
    return burda_autoencoder(
        signal,
        RoutedBound(Importance(), Importance(bounds), doubly=doubly),
        GaussianBottleneck(bounds * samples),
        latent_dim=latent_dim,
        binarise=binarise,
        network=network,
        hidden=hidden,
        likelihood=likelihood,
        sigma=sigma,
        encoder=encoder,
        decoder=decoder,
    )
