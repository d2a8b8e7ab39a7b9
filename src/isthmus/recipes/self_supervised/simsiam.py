"""SimSiam: BYOL without the moving average."""

from typing import Annotated

from pydantic import Field
from torch import nn

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Projection
from isthmus.corruptions import two_views
from isthmus.networks import Projector, encoder_for
from isthmus.objectives import CrossPrediction
from isthmus.recipes.options import Crop, Erase, Hidden, LatentDim, Meant, Network, Noise, OwnModule
from isthmus.recipes.registry import recipe


@recipe(
    "simsiam",
    family="self-supervised",
    paper="Chen, He, Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv:2011.10566",
    formula="L = (2 - 2 cos(q(z1), sg(z2)) + 2 - 2 cos(q(z2), sg(z1))) / 4",
    claim="Two views of one network learn features without negatives, large batches or a moving "
    "average; without the stop-gradient they collapse.",
    training={
        "epochs": 100,
        "batch_size": 512,
        "lr": 0.05,
        "lr_batch": 256,
        "optimiser": "sgd",
        "optimiser_options": {"momentum": 0.9},
        "weight_decay": 1e-4,
        "lr_schedule": "cosine",
    },
)
def simsiam(
    signal: Signal,
    *,
    latent_dim: LatentDim = 128,
    projector: Annotated[
        int,
        Field(gt=0, description="width of the projector's layers and of the embedding"),
        Meant("head"),
    ] = 2048,
    predictor: Annotated[
        int,
        Field(gt=0, description="width of the predictor's hidden layer"),
        Meant("head"),
    ] = 512,
    crop: Crop = 0.3,
    noise: Noise = 0.1,
    erase: Erase = 0.5,
    network: Network = "auto",
    hidden: Hidden = None,
    encoder: OwnModule = None,
) -> Autoencoder:
    """Predict, from one view, the embedding of another, which is held fixed.

    One network sees both views. A predictor maps the embedding of each to that of the other, and
    the gradient flows through the predicted side alone. It is ``byol`` with a teacher that equals
    the online network at every step, and so needs none. The code is what the encoder returns;
    projector and predictor serve training alone. There is no decoder.

    Published, and the defaults here: a projector of three layers of 2048, batch normalisation
    (without scale and shift) on its output too; a predictor with a hidden layer a quarter as wide;
    SGD at 0.05 times batch / 256 with momentum 0.9, batches of 512, decay 1e-4, a cosine over 100
    epochs. The loss is the paper's plus 1: nothing is lost at 0. Other than published: the last
    layer of the predictor has no bias; the encoder is the library's own for the signal, with batch
    normalisation, instead of a ResNet-50 (own encoders return ``(rows, latent_dim)``); the views
    are those of ``barlow-twins``.
    """
    projection = nn.Sequential(
        Projector(latent_dim, (projector, projector), projector),
        nn.BatchNorm1d(projector, affine=False),
    )
    return Autoencoder(
        signal,
        corruption=two_views(signal, crop, noise, erase),
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden, norm="batch"),
        bottleneck=Projection(projection),
        decoder=None,
        objective=0.25 * CrossPrediction(),
        parts={"predictor": Projector(projector, (predictor,), projector)},
    )
