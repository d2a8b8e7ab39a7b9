"""Barlow Twins."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from isthmus.anatomy import Autoencoder, EmbeddingCode, Output, Signal, Term
from isthmus.bottlenecks import Projection
from isthmus.corruptions import two_views
from isthmus.networks import Projector, encoder_for
from isthmus.recipes.options import (
    Crop,
    Erase,
    Hidden,
    LatentDim,
    Meant,
    Network,
    Noise,
    NonNegative,
    OwnModule,
)
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float

PUBLISHED, PUBLISHED_WIDTH = 0.0051, 8192
"""lambda, and the width of the embedding that it was chosen for."""

EPSILON = 1e-5
"""Added to the variance of each dimension, as batch normalisation does in the authors' code."""


def cross_correlation(
    a: Float[Tensor, "rows width"], b: Float[Tensor, "rows width"]
) -> Float[Tensor, "width width"]:
    """Correlations over the rows between the dimensions of ``a`` and those of ``b``."""
    return _standardised(a).T @ _standardised(b) / len(a)


def _standardised(z: Tensor) -> Tensor:
    return (z - z.mean(0)) / (z.var(0, correction=0) + EPSILON).sqrt()


class CrossCorrelation(Term):
    """``sum_i (1 - C_ii)^2 + redundancy sum_{i != j} C_ij^2`` of the two views' embeddings.

    Zbontar et al. 2021, equation 1: C is their cross-correlation over the batch.
    """

    name = "cross_correlation"
    unit = "squared correlation, summed over pairs of dimensions"
    per_example = False
    estimator = (
        "correlations over the batch: repeating it changes nothing, but n independent rows add "
        "about 1/n to each squared correlation"
    )

    def __init__(self, redundancy: float) -> None:
        self.redundancy = redundancy

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        first, second = (out.code_as(EmbeddingCode, self, view=view) for view in (0, 1))
        c = cross_correlation(first.embedding, second.embedding)
        same = torch.eye(len(c), dtype=torch.bool, device=c.device)
        invariance = (1.0 - c.diagonal()).square().sum()
        return invariance + self.redundancy * c.masked_fill(same, 0.0).square().sum()


@recipe(
    "barlow-twins",
    family="self-supervised",
    catalogue=28,
    paper="Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins: Self-Supervised Learning via "
    "Redundancy Reduction, ICML 2021, arXiv:2103.03230",
    formula="L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2,  C = za^T zb / n, za and zb "
    "standardised over the batch",
    claim="Decorrelating the dimensions of the embedding prevents collapse without asymmetry, "
    "works with small batches and gains from very wide embeddings.",
    training={
        "epochs": 1000,
        "batch_size": 2048,
        "lr": 0.2,
        "lr_batch": 256,
        "optimiser": "lars",
        "weight_decay": 1e-6,
        "groups": ({"ndim": 1, "lr": 0.024},),
        "lr_schedule": "cosine",
        "warmup": 6250,
    },
)
def barlow_twins(
    signal: Signal,
    *,
    latent_dim: LatentDim = 128,
    projector: Annotated[
        int,
        Field(gt=0, description="width of the projector's layers and of the embedding"),
        Meant("head"),
    ] = 512,
    redundancy: Annotated[
        NonNegative | None,
        Field(
            description="lambda, the weight of the off-diagonal correlations (none: the published "
            "one times 8192 / projector)"
        ),
    ] = PUBLISHED,
    crop: Crop = 0.3,
    noise: Noise = 0.1,
    erase: Erase = 0.5,
    network: Network = "auto",
    hidden: Hidden = None,
    encoder: OwnModule = None,
) -> Autoencoder:
    """Make two views agree in each dimension of an embedding, and its dimensions differ.

    The cross-correlation of the two views' embeddings is pulled to the identity matrix: ones on
    the diagonal make the embedding invariant to the corruption, zeros elsewhere keep it from
    collapsing. No negatives, predictor, stop-gradient or moving average is needed. The code is
    what the encoder returns; the projector serves training alone. There is no decoder.

    lambda was chosen for an embedding of 8192 dimensions. Each of them is compared with all others,
    so that in one of 512 the second term weighs 16 times less beside the first; ``redundancy=none``
    makes up for that. The default is the published number all the same: on 8,000 images of MNIST
    and of Fashion-MNIST at widths 64 and 512 (300 steps, three seeds) the scaled lambda changed the
    accuracy of a linear probe by less than its seeds do, and only spread the code over more
    directions.

    Published, and the defaults here: lambda 0.0051; LARS at 0.2 for weights and 0.0048 for biases
    and normalisation, times batch / 256, batches of 2048, decay 1e-6, a cosine over 1000 epochs
    after 10 of warm-up (6250 steps on ImageNet; cut to a tenth of a shorter run). Other than
    published: the projector has three layers of 512 instead of 8192, for a laptop; the encoder is
    the library's own for the signal, with batch normalisation, instead of a ResNet-50 (own
    encoders return ``(rows, latent_dim)``); images are cropped, noised and erased in part, which
    any image allows, where the paper crops, flips, blurs and changes colours; everything else
    gets Gaussian noise and masked elements.
    """
    return Autoencoder(
        signal,
        corruption=two_views(signal, crop, noise, erase),
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden, norm="batch"),
        bottleneck=Projection(Projector(latent_dim, (projector, projector), projector)),
        decoder=None,
        objective=CrossCorrelation(
            PUBLISHED * PUBLISHED_WIDTH / projector if redundancy is None else redundancy
        ),
    )
