"""BYOL: bootstrap your own latent."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from isthmus.anatomy import EMA, Autoencoder, Cosine, Signal, View
from isthmus.bottlenecks import Projection
from isthmus.corruptions import TwoViews, two_views
from isthmus.networks import Projector, encoder_for
from isthmus.objectives import CrossPrediction
from isthmus.recipes.options import Crop, Erase, Hidden, LatentDim, Meant, Network, Noise, OwnModule
from isthmus.recipes.registry import recipe


class TaughtViews(nn.Module):
    """Two views of each row for the encoder, then the same two for the part ``teacher``."""

    def __init__(self, views: TwoViews) -> None:
        super().__init__()
        self.views = views

    def forward(self, x: Tensor) -> list[View]:
        views = self.views(x)
        return [*views, *(replace(view, by="teacher") for view in views)]


@recipe(
    "byol",
    family="self-supervised",
    paper="Grill, Strub, Altche, Tallec, Richemond, Buchatskaya, Doersch, Avila Pires, Guo, "
    "Gheshlaghi Azar, Piot, Kavukcuoglu, Munos, Valko, Bootstrap Your Own Latent: A New Approach "
    "to Self-Supervised Learning, NeurIPS 2020, arXiv:2006.07733",
    formula="L = 2 - 2 cos(q(z1), sg(t2)) + 2 - 2 cos(q(z2), sg(t1)),  z of the online network, t "
    "of the teacher;  teacher <- tau teacher + (1 - tau) online,  tau = 1 - (1 - tau_0) "
    "(cos(pi k / K) + 1) / 2",
    claim="Predicting what a moving average of the network makes of another view learns features "
    "as good as contrastive ones without negative pairs, and suffers less from small batches.",
    training={
        "epochs": 1000,
        "batch_size": 4096,
        "lr": 0.2,
        "lr_batch": 256,
        "optimiser": "lars",
        "weight_decay": 1.5e-6,
        "lr_schedule": "cosine",
        "warmup": 3127,
    },
)
def byol(
    signal: Signal,
    *,
    latent_dim: LatentDim = 128,
    projector: Annotated[
        int,
        Field(gt=0, description="width of the hidden layer of projector and predictor"),
        Meant("head"),
    ] = 4096,
    embedding: Annotated[
        int,
        Field(gt=0, description="width of the embedding that is predicted"),
        Meant("head"),
    ] = 256,
    decay: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="tau, the share of the teacher that an update leaves: at the start, from "
            "where it rises to 1; 0 stays 0",
        ),
    ] = 0.996,
    crop: Crop = 0.3,
    noise: Noise = 0.1,
    erase: Erase = 0.5,
    network: Network = "auto",
    hidden: Hidden = None,
    encoder: OwnModule = None,
) -> Autoencoder:
    """Predict, from one view, the embedding that a slowly following teacher gives another.

    Both views pass through the encoder and projector that are trained (the online network) and
    through a teacher, an exponential moving average of these. A predictor maps the online
    embedding of each view to the teacher's of the other; no gradient reaches the teacher. Nothing
    pushes rows apart, and a constant embedding would have no loss: that training does not end
    there is owed to the predictor and the stopped gradient. The code is what the online encoder
    returns; projector, predictor and teacher serve training alone. There is no decoder.

    Published, and the defaults here: projector and predictor with one hidden layer of 4096 and
    batch normalisation, embeddings of 256; tau from 0.996 to 1 along half a cosine, after each
    step; LARS at 0.2 times batch / 256, batches of 4096, decay 1.5e-6 but for biases and
    normalisation, a cosine over 1000 epochs after 10 of warm-up (3127 steps on ImageNet; cut to a
    tenth of a shorter run). ``decay=0`` keeps the teacher equal to the online network throughout,
    as in the paper's ablation; ``simsiam`` needs no teacher for that. Other than published: the
    encoder is the library's own for the signal, with batch normalisation, instead of a ResNet-50
    (own encoders return ``(rows, latent_dim)``); both views are drawn alike, and as in
    ``barlow-twins``, where the paper crops, flips, blurs, solarises and changes colours with other
    odds for each; the teacher starts as a copy, in the authors' code at random, which they found to
    make no difference; the cosine of the rate spans the warm-up too; running statistics follow the
    first view.
    """
    predictor = Projector(embedding, (projector,), embedding)
    teacher = EMA(("encoder", "bottleneck"), decay=Cosine(decay, 1.0) if decay else 0.0)
    return Autoencoder(
        signal,
        corruption=TaughtViews(two_views(signal, crop, noise, erase)),
        encoder=encoder or encoder_for(signal, latent_dim, network, hidden=hidden, norm="batch"),
        bottleneck=Projection(Projector(latent_dim, (projector,), embedding)),
        decoder=None,
        objective=CrossPrediction(),
        parts={"predictor": predictor, "teacher": teacher},
    )
