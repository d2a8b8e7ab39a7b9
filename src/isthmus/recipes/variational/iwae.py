"""The importance weighted autoencoder."""

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Bernoulli, Output, Signal, Term
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.corruptions import Binarise
from isthmus.errors import IsthmusError
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives.divergence import gaussian
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


def log_weights(model: Autoencoder, out: Output) -> Tensor:
    """``log p(x, z_k) - log q(z_k | x)`` of each draw, in nats, ``(samples, rows)``.

    The prior is the model's own where it has a ``log_prob``, else N(0, I).
    """
    code = gaussian(out)
    likelihood = model.likelihood.log_prob(out.need_params(), out.target)
    z = code.z
    if code.samples is None:
        z, likelihood = z.unsqueeze(0), likelihood.unsqueeze(0)
    own: Callable[[Tensor], Tensor] | None = getattr(model.prior, "log_prob", None)
    zero = torch.zeros_like(code.mean)
    prior = _log_normal(z, zero, zero) if own is None else own(z)
    return likelihood + prior - _log_normal(z, code.mean, code.logvar)


def _log_normal(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    terms = logvar + (z - mean).square() * (-logvar).exp() + math.log(2 * math.pi)
    return -0.5 * terms.flatten(2).sum(2)


class ImportanceWeightedBound(Term):
    """``-log (1/K) sum_k w_k``, ``w_k = p(x, z_k) / q(z_k | x)`` over the K draws of a code.

    Minus the bound L_K of Burda et al. (2015), equation 8. Its gradient is minus
    ``sum_k (w_k / sum_j w_j) grad log w_k`` (section 3).
    """

    name = "iwae"
    unit = "nats"

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        weights = log_weights(model, out)
        return math.log(len(weights)) - weights.logsumexp(0)


class AveragedBound(Term):
    """``-(1/K) sum_k log w_k``: the ELBO with K draws, which only lowers its variance.

    The paper's control (its VAE with k samples, table 1): what the importance weights do, more
    draws alone do not.
    """

    name = "elbo"
    unit = "nats"

    def __call__(self, model: Autoencoder, out: Output) -> Tensor:
        return -log_weights(model, out).mean(0)


class DataMean(nn.Module):
    """A decoder plus a fixed offset, so that the decoder's zero gives the data's mean.

    The authors' code starts the output bias there, which comes to the same.
    """

    offset: Tensor

    def __init__(self, signal: Signal, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.register_buffer("offset", torch.zeros(signal.shape))

    def prepare(self, model: Autoencoder, x: Tensor) -> None:
        """Set the offset from a sample of the data, ``(rows, *shape)`` in the model's units."""
        mean = x.mean(0)
        if isinstance(model.likelihood, Bernoulli):
            mean = mean.clamp(*_MEAN_RANGE).logit()
        self.offset.copy_(mean)

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(z) + self.offset


def _glorot(network: nn.Module) -> nn.Module:
    """Glorot and Bengio's uniform initialisation (2010), biases zero."""
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


@recipe(
    "iwae",
    family="variational",
    catalogue=103,
    paper="Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2015, arXiv:1509.00519",
    formula="L = -E[log (1/K) sum_k p(x, z_k) / q(z_k|x)],  z_1..z_K ~ q(z|x)",
    claim="More samples tighten the bound, giving better likelihood and more active latents than a "
    "VAE with the same networks.",
    training={
        "epochs": 3280,
        "lr": 1e-3,
        "batch_size": 20,
        "lr_schedule": "burda",
        "optimiser_options": {"eps": 1e-4},
    },
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
    binarise: Annotated[
        bool | None,
        Field(
            description="draw binary data from the given means at each step; none: exactly where "
            "the likelihood is bernoulli"
        ),
    ] = None,
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
    of each draw's log-weight, weighted by its share of the weight.

    Published: 50 latents, two layers of 200 tanh units each way (one stochastic layer), Glorot's
    initialisation with the output at the data's mean, binary images drawn afresh at each step
    (after training, ``encode`` reads the means themselves), K of 1, 5 or 50, Adam with epsilon
    1e-4, batches of 20, and 3^i passes at a learning rate of 10^(-3-i/7) for i = 0..7: 3280 passes
    in all. A shorter run keeps the shares. The paper's second model, of two stochastic layers, is
    not this page's.
    """
    observed = likelihood_for(signal, likelihood, sigma)
    binary = isinstance(observed, Bernoulli)
    if binarise and not binary:
        raise IsthmusError(
            "binarise=true draws binary data, which a gaussian likelihood does not describe: set "
            "likelihood=bernoulli"
        )
    if encoder is None:
        encoder = encoder_for(signal, 2 * latent_dim, network, hidden=hidden, activation="tanh")
        _glorot(encoder)
    if decoder is None:
        decoder = decoder_for(signal, latent_dim, network, hidden=hidden, activation="tanh")
        decoder = DataMean(signal, _glorot(decoder))
    return Autoencoder(
        signal,
        corruption=Binarise() if (binary if binarise is None else binarise) else None,
        encoder=encoder,
        bottleneck=GaussianBottleneck(samples),
        decoder=decoder,
        objective=ImportanceWeightedBound() if bound == "importance" else AveragedBound(),
        likelihood=observed,
        prior=StandardNormal(latent_dim),
    )
