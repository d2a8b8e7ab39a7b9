"""The gradient origin network."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import (
    Autoencoder,
    Gaussian,
    GaussianCode,
    Objective,
    Output,
    Part,
    Signal,
    View,
    evaluating,
)
from isthmus.bottlenecks import GaussianBottleneck, Identity, StandardNormal
from isthmus.errors import IsthmusError
from isthmus.networks import decoder_for, network_name
from isthmus.networks.conv import strides
from isthmus.networks.layers import image_shape
from isthmus.objectives import KL, NegativeLogLikelihood
from isthmus.recipes.options import Hidden, LatentDim, OwnModule, Sigma, likelihood_for
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float

Norm = Literal["batch", "none"]
"""Normalisation between the layers of a decoder."""


class GradientOrigin(Part):
    """The code as one gradient step from the origin: ``z = -grad_{z0} L(x, F(z0))`` at z0 = 0.

    L is the model's own objective, whose terms must all be per example, so that a row's code does
    not depend on the other rows. While gradients are recorded the code is differentiable in the
    decoder's parameters, which takes second derivatives of the decoder; its activations should
    have them (ELU, not ReLU).

    The origin is decoded in evaluation mode always. Batch normalisation there reads its running
    statistics: those of the origin itself, which all rows share, have no variance and would tie
    each row's code to the rest of the batch.
    """

    passes = 3.0  # the origin is decoded, and its gradient taken

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def forward(
        self, x: Float[Tensor, "rows *shape"], *, view: View, model: Autoencoder
    ) -> Float[Tensor, "rows latent"]:
        recorded = torch.is_grad_enabled()
        with torch.enable_grad(), evaluating(model.decoder, gradients=True):
            origin = x.new_zeros(len(x), self.latent_dim).requires_grad_()
            code = model.bottleneck(origin, sample=self.training)
            target = x if model.target is None else model.target(x)
            params = model.decode_code(code)
            out = Output(x, target, [view], [code], params, model.likelihood)
            # The objective averages over the rows; each row's gradient is wanted.
            loss = len(x) * model.objective(model, out).total
            (gradient,) = torch.autograd.grad(loss, origin, create_graph=recorded)
        return -gradient


class LinearPosterior(nn.Module):
    """Mean and log-variance as linear functions of the gradient ``(rows, latent)``."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_dim, 2 * latent_dim)
        self.posterior = GaussianBottleneck()

    def forward(self, h: Float[Tensor, "rows latent"], *, sample: bool = False) -> GaussianCode:
        code: GaussianCode = self.posterior(self.linear(h), sample=sample)
        return code


class TransposedConvolutions(nn.Module):
    """The authors' decoder, ``(rows, latent_dim)`` to ``(rows, C, H, W)``, for any image size.

    From one pixel of ``latent_dim`` channels to 4 x 4 (for 32 x 32 pixels) with ``4 width``
    channels, then doubled three times, down to ``width`` and the image's channels; batch
    normalisation (``norm="none"``: none) and ELU between. A side below 4 pixels is not halved
    further.
    """

    def __init__(
        self, signal: Signal, latent_dim: int, width: int, final: str, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        channels, height, breadth = image_shape(signal, "convolutional")
        rows, columns = strides(height, 3, 4), strides(breadth, 3, 4)
        widths = (4 * width, 2 * width, width, channels)
        top = (rows[-1].after, columns[-1].after)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, widths[0], top)]
        for i, (row, column) in enumerate(zip(reversed(rows), reversed(columns), strict=True)):
            layers += [
                *([nn.BatchNorm2d(widths[i])] if norm == "batch" else []),
                nn.ELU(),
                nn.ConvTranspose2d(
                    widths[i],
                    widths[i + 1],
                    (row.kernel, column.kernel),
                    (row.step, column.step),
                    (row.padding, column.padding),
                    (row.output_padding, column.output_padding),
                ),
            ]
        self.layers = nn.Sequential(*layers, *([nn.Sigmoid()] if final == "sigmoid" else []))

    def forward(
        self, z: Float[Tensor, "rows latent"]
    ) -> Float[Tensor, "rows channels height width"]:
        return self.layers(z[:, :, None, None])


@recipe(
    "gon",
    family="implicit",
    catalogue=66,
    paper="Bond-Taylor, Willcocks, Gradient Origin Networks, ICLR 2021, arXiv:2007.02798",
    formula="z = -grad_{z0} L(x, F(z0)) at z0 = 0;  minimise L(x, F(z)) over F",
    claim="One gradient step from the origin replaces the encoder: fewer parameters, faster "
    "convergence and lower error than an AE with the same decoder.",
    training={"steps": 1000, "lr": 1e-4, "batch_size": 64},
)
def gon(
    signal: Signal,
    *,
    latent_dim: LatentDim = 32,
    variational: Annotated[
        bool, Field(description="a Gaussian posterior, linear in the gradient, and the ELBO")
    ] = False,
    network: Annotated[
        Literal["auto", "mlp", "conv"],
        Field(description="kind of decoder; auto is conv for images, mlp otherwise"),
    ] = "auto",
    width: Annotated[
        int, Field(gt=0, description="channels of the convolutional decoder's last hidden layer")
    ] = 16,
    norm: Annotated[
        Norm,
        Field(
            description="normalisation of the convolutional decoder; with none a row's training, "
            "too, does not depend on the others"
        ),
    ] = "batch",
    hidden: Hidden = None,
    likelihood: Annotated[
        Literal["auto", "bernoulli", "gaussian"],
        Field(
            description="observation model; auto is, as published, bernoulli for images in [0, 1] "
            "with variational, else gaussian"
        ),
    ] = "auto",
    sigma: Sigma = 1.0,
    decoder: OwnModule = None,
) -> Autoencoder:
    """No encoder: the code is the gradient of the log-likelihood at the origin of latent space.

    One step of gradient ascent from a latent of zeros says how the decoder would have to move to
    explain the example; the decoder is trained, through that step, to make it a good code. So half
    of an autoencoder's parameters do.

    L is the negative log-likelihood in nats, summed over the elements: with ``sigma=1`` half the
    squared error. The authors' code averages it over pixels and batch instead, which makes the
    scale of a code depend on the batch, and normalises the decoding of the origin by the batch's
    own statistics, which ties codes of different rows together; here a row's code depends on
    that row alone (see :class:`GradientOrigin`). With ``norm=none`` that holds of both forms, and
    they differ in the scale of a code alone. ``variational=true`` adds mean and log-variance,
    linear in the gradient, and takes the ELBO both inside and outside; ``encode`` then gives the
    mean.

    Published: 32 latents, transposed convolutions of 64, 32 and 16 channels with batch
    normalisation and ELU, a sigmoid at the end where the data lie in [0, 1], Adam at 1e-4, batches
    of 64 and 1000 steps; 48 latents and ``width=32`` for 300 epochs with ``variational=true``. For
    signals other than images the decoder is an MLP with ELU. A decoder of your own must be twice
    differentiable. The implicit form, on coordinates, is not this page's.
    """
    convolutional = network_name(signal, network) == "conv"
    if convolutional and hidden is not None:
        raise IsthmusError(
            "hidden is for network=mlp, and this decoder is convolutional: set width or network=mlp"
        )
    unit_image = signal.kind == "image" and signal.is_unit
    name = likelihood
    if name == "auto":
        name = "bernoulli" if variational and unit_image else "gaussian"
    observed = likelihood_for(signal, name, sigma)
    final = "sigmoid" if signal.is_unit and isinstance(observed, Gaussian) else "identity"
    if decoder is None and convolutional:
        decoder = TransposedConvolutions(signal, latent_dim, width, final, norm)
    elif decoder is None:
        decoder = decoder_for(
            signal, latent_dim, "mlp", hidden=hidden, activation="elu", final=final
        )
    likely = NegativeLogLikelihood()
    objective: Objective = likely + KL() if variational else likely * 1.0
    return Autoencoder(
        signal,
        encoder=GradientOrigin(latent_dim),
        bottleneck=LinearPosterior(latent_dim) if variational else Identity(),
        decoder=decoder,
        objective=objective,
        likelihood=observed,
        prior=StandardNormal(latent_dim) if variational else None,
    )
