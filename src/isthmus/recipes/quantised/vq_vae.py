"""The vector-quantised variational autoencoder, VQ-VAE."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Autoencoder, Gaussian, Look, Output, Signal, Term, Watch
from isthmus.bottlenecks import VectorQuantiser
from isthmus.errors import IsthmusError
from isthmus.networks import (
    GridDecoder,
    GridEncoder,
    decoder_for,
    encoder_for,
    grid_shape,
    network_name,
    numbers_last,
)
from isthmus.objectives import Commit, NegativeLogLikelihood, Perplexity, Quantise
from isthmus.recipes.options import (
    DeadAfter,
    Hidden,
    LikelihoodName,
    Network,
    NonNegative,
    OwnModule,
    likelihood_for,
)
from isthmus.recipes.registry import recipe


class RelativeError(Term):
    """Squared error per element, in variances of the data.

    The variance is that of all elements together, measured on a sample before the first step.
    """

    name = "relative_error"
    unit = "squared error per element, as a share of the data's variance"

    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(()))

    @torch.no_grad()
    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Measure the variance of the data in the model's units."""
        variance = look.tensor.double().var(correction=0)
        if not bool(variance > 0):
            raise IsthmusError("all values of the data are the same: there is nothing to learn")
        self.variance.copy_(variance)

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return out.squared_error() / (out.elements() * self.variance)


@recipe(
    "vq-vae",
    family="quantised",
    paper="van den Oord, Vinyals, Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS "
    "2017, arXiv:1711.00937",
    formula="L = |x - x^(zq)|^2 / (n var x) + commitment mean |z - sg(e_k)|^2  "
    "[+ mean |sg(z) - e_k|^2],  zq = e_k,  k = argmin_j |z - e_j|",
    claim="Discrete latents trained straight through rebuild about as well as a VAE's continuous "
    "ones, and a strong decoder does not make them collapse.",
    training={"steps": 250_000, "lr": 2e-4, "batch_size": 128},
)
def vq_vae(
    signal: Signal,
    *,
    entries: Annotated[int, Field(ge=2, description="vectors in the codebook")] = 512,
    latent_dim: Annotated[int, Field(gt=0, description="numbers in a vector of the codebook")] = 64,
    positions: Annotated[
        int | None,
        Field(
            gt=0,
            description="latents per example; none: the places of the convolutional network's "
            "grid, otherwise one",
        ),
    ] = None,
    commitment: Annotated[
        NonNegative, Field(description="weight of the term that moves latents to their entries")
    ] = 0.25,
    codebook: Annotated[
        Literal["average", "gradient"],
        Field(description="how entries learn: as averages of their latents, or by a loss term"),
    ] = "average",
    decay: Annotated[
        float, Field(ge=0, lt=1, description="decay per step of the averaged codebook")
    ] = 0.99,
    start: Annotated[
        Literal["encodings", "kmeans", "uniform"],
        Field(description="where entries start: random encodings, their k-means, or anywhere"),
    ] = "encodings",
    restart: Annotated[
        bool, Field(description="set entries that are no longer used to encodings of the batch")
    ] = True,
    dead_after: DeadAfter = 25_600,
    network: Network = "auto",
    hidden: Hidden = None,
    channels: Annotated[
        int, Field(ge=2, description="channels of the convolutional network; a quarter in blocks")
    ] = 128,
    halvings: Annotated[
        int, Field(ge=0, description="strided layers between an image and the grid of latents")
    ] = 2,
    likelihood: LikelihoodName = "gaussian",
    encoder: OwnModule = None,
    decoder: OwnModule = None,
) -> Autoencoder:
    """Set each latent to the nearest vector of a learnt codebook, so that the code is discrete.

    An image becomes a grid of positions, any other signal one latent or ``positions`` of them;
    all share one codebook. The gradient passes the quantisation as if it were not there, and a
    small term keeps the latents near the entries they chose. ``encode`` gives the chosen vectors,
    position by position (of a grid row by row), and with ``code=True`` their ``indices``.

    Published: 512 entries; a commitment of 0.25, on which little depends between 0.1 and 2; Adam
    at 2e-4, batches of 128, 250,000 steps; two layers of stride 2, then two residual blocks, and
    the mirror of it. The main text moves the entries by a loss term (``codebook=gradient``),
    appendix A.1 by exponential averages of decay 0.99, the default here as in the authors' code.
    From that code are also the sizes, entries of 64 numbers, 128 channels and 32 within a block
    (the text has 256), and the balance of the terms: all are means over their elements, and the
    squared error is divided by the variance of the data, so that nothing depends on units. Any
    other ``likelihood`` enters as its negative log-likelihood per element.

    Not in the paper: entries start as encodings of the data, and one that no row chose for
    ``dead_after`` rows is set to an encoding of the present batch, as in Jukebox (Dhariwal et al.
    2020, which restarts where the average use falls below 1; Williams et al. 2020 is similar).
    ``start=uniform`` and ``restart=False`` are without.

    ``sample`` draws each position uniformly from the entries, the prior of the paper's training.
    What is drawn so looks like nothing in particular: the codes of data are far from uniform and
    depend on each other. A prior that is learnt on the codes of a fitted model, such as the
    paper's PixelCNN, is a fit of its own and not part of this one.
    """
    conv = network_name(signal, network) == "conv"
    observed = likelihood_for(signal, likelihood, 1.0)
    places = None
    if conv and (encoder is None or decoder is None):
        height, width = grid_shape(signal, halvings)
        places = height * width
        if positions not in (None, places):
            raise IsthmusError(
                f"positions={positions} is not the convolutional network's grid of {height} x "
                f"{width}: leave it out, set halvings, or use network=mlp"
            )
    positions = places or positions or 1
    width_in = positions * latent_dim
    inner = {"channels": channels, "halvings": halvings, "inner": max(1, channels // 4)}
    if encoder is None:
        encoder = (
            GridEncoder(signal, latent_dim, **inner)
            if conv
            else encoder_for(signal, width_in, network, hidden=hidden)
        )
    if decoder is None:
        decoder = (
            numbers_last(
                signal, observed.numbers, lambda wide: GridDecoder(wide, latent_dim, **inner)
            )
            if conv
            else decoder_for(signal, width_in, network, hidden=hidden, numbers=observed.numbers)
        )
    averaged = codebook == "average"
    gaussian = type(observed) is Gaussian
    rebuilt = RelativeError() if gaussian else (1.0 / signal.numel) * NegativeLogLikelihood()
    objective = rebuilt + commitment * Commit() + Watch(Perplexity())
    bottleneck = VectorQuantiser(
        entries,
        latent_dim,
        positions=positions,
        decay=decay if averaged else None,
        start=start,
        restart_after=dead_after if restart else None,
    )
    return Autoencoder(
        signal,
        encoder=encoder,
        bottleneck=bottleneck,
        decoder=decoder,
        objective=objective if averaged else objective + Quantise(),
        likelihood=observed,
        prior=bottleneck.draw,
    )
