"""The quantised-latent autoencoder, QLAE."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, DiscreteCode, Signal
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import Commit, NegativeLogLikelihood, Quantise
from isthmus.recipes.options import (
    Hidden,
    LatentDim,
    LikelihoodName,
    Network,
    NonNegative,
    OwnModule,
    Sigma,
    likelihood_for,
)
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float, Int


class ScalarCodebooks(nn.Module):
    """Sets each latent to the nearest of its own learned values.

    ``values`` ``(latent, entries)`` starts evenly spaced from -0.5 to 0.5. The code is a
    :class:`DiscreteCode` with one codebook for each position; gradients pass straight through to
    the encoder. A latent half-way between two values takes the first.
    """

    def __init__(self, latent_dim: int, entries: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.linspace(-0.5, 0.5, entries).repeat(latent_dim, 1))

    def forward(self, h: Float[Tensor, "rows latent"], *, sample: bool = False) -> DiscreteCode:
        distances = (h.detach()[:, :, None] - self.values.detach()).abs()
        indices = distances.argmin(2)
        quantised = self.indices_to_codes(indices)
        # h - h is exactly zero, so that z is exactly an entry while its gradient is that of h.
        z = quantised.detach() + (h - h.detach())
        return DiscreteCode(z, indices, quantised, h, self.values.shape[1], per_position=True)

    def indices_to_codes(self, indices: Int[Tensor, "rows latent"]) -> Float[Tensor, "rows latent"]:
        """The latents that these entries stand for."""
        return self.values.gather(1, indices.T).T

    def draw(self, n: int) -> Float[Tensor, "n latent"]:
        """``n`` codes, each latent uniform over its values."""
        latent, entries = self.values.shape
        return self.indices_to_codes(torch.randint(entries, (n, latent)).to(self.values.device))


@recipe(
    "qlae",
    family="quantised",
    catalogue=68,
    paper="Hsu, Dorrell, Whittington, Wu, Finn, Disentanglement via Latent Quantization, 2023, "
    "arXiv:2305.18378",
    formula="L = -log p(x|zq) / n_elements + quantise mean (sg(z) - zq)^2 "
    "+ commit mean (z - sg(zq))^2,  zq_i = nearest of V_i to z_i",
    claim="Scalar quantisation of each latent with strong weight decay raises modularity and "
    "explicitness above an AE, a VAE, a TC-VAE and a VQ-VAE at no cost in reconstruction.",
    training={
        "steps": 200_000,
        "lr": 1e-3,
        "batch_size": 128,
        "optimiser": "adamw",
        "weight_decay": 0.1,
        "clip_value": 1.0,
        "groups": (
            {"match": "bottleneck.*", "weight_decay": 0.0},
            {"match": "*.bias", "weight_decay": 0.0},
        ),
    },
)
def qlae(
    signal: Signal,
    *,
    latent_dim: LatentDim = 12,
    entries: Annotated[int, Field(ge=2, description="values that each latent can take")] = 10,
    quantise: Annotated[
        NonNegative, Field(description="weight of the term that moves values to latents")
    ] = 0.01,
    commit: Annotated[
        NonNegative, Field(description="weight of the term that moves latents to values")
    ] = 0.01,
    network: Network = "auto",
    hidden: Hidden = None,
    likelihood: LikelihoodName = "auto",
    sigma: Sigma = 1.0,
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """Let each latent take only a few values of its own, and decay the weights strongly.

    A latent that can say only ten different things is cheapest to decode if each of them means
    the same wherever it occurs: quantisation makes the code a grid of few values, weight decay
    keeps the networks too simple to give one value several meanings.

    Published: 10 values per latent, evenly spaced on [-0.5, 0.5] at the start and trained; both
    weights 0.01; twice as many latents as there are factors (12 on Shapes3D, the default here);
    AdamW at 1e-3 with decay 0.1 on all weights but the biases and the values, each number of a
    gradient kept within 1, batches of 128, 200,000 steps. As in the authors' code the cross-entropy
    is a mean over the elements and both latent terms are means over the latents, whatever the
    sizes, so the log-likelihood enters with the weight 1 / n_elements. Their decoder (a style
    network that reads each latent at several layers) is not built here: ``decoder`` takes one.
    ``sample`` draws every latent uniformly from its values, as their GAN variant does; nothing in
    training makes that the distribution of the codes.
    """
    bottleneck = ScalarCodebooks(latent_dim, entries)
    observed = likelihood_for(signal, likelihood, sigma)
    return Autoencoder(
        signal,
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden),
        bottleneck=bottleneck,
        decoder=decoder
        or decoder_for(signal, latent_dim, network, hidden=hidden, numbers=observed.numbers),
        objective=(1.0 / signal.numel) * NegativeLogLikelihood()
        + quantise * Quantise()
        + commit * Commit(),
        likelihood=observed,
        prior=bottleneck.draw,
    )
