"""The plain autoencoder."""

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import MSE
from isthmus.recipes.options import Hidden, LatentDim, Network, OwnModule
from isthmus.recipes.registry import recipe


@recipe(
    "plain",
    family="classic",
    paper="Hinton, Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, "
    "Science 2006, doi:10.1126/science.1127647",
    formula="L = |x - g(f(x))|^2 / n_elements",
    claim="A nonlinear autoencoder rebuilds images better than PCA with as many components.",
    training={"epochs": 20, "lr": 1e-3, "batch_size": 128},
)
def plain(
    signal: Signal,
    *,
    latent_dim: LatentDim = 32,
    network: Network = "auto",
    hidden: Hidden = None,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """Encode to few numbers, decode, and minimise the squared error.

    The base of everything else. With ``network=mlp hidden=()`` encoder and decoder are linear and
    the optimum spans the principal subspace (Baldi, Hornik 1989), which the tests check. The paper
    pretrained layer by layer with Boltzmann machines, which Adam and rectifiers have made
    unnecessary; its training settings are therefore not taken over.
    """
    return Autoencoder(
        signal,
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden),
        bottleneck=Identity(),
        decoder=decoder or decoder_for(signal, latent_dim, network, hidden=hidden),
        objective=MSE(),
    )
