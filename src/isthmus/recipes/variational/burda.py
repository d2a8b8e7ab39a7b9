"""The one-layer autoencoder of Burda et al. (2015), which several recipes train differently."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Bernoulli, Look, Objective, Part, Signal, Term
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.corruptions import Binarise
from isthmus.errors import IsthmusError
from isthmus.likelihoods import ContinuousBernoulli
from isthmus.networks import decoder_for, encoder_for
from isthmus.recipes.options import LikelihoodName, likelihood_for

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
