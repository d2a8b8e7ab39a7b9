"""Small models of every kind that the trainer treats differently."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Output, Signal, Term
from isthmus.bottlenecks import GaussianBottleneck, Identity
from isthmus.corruptions import GaussianNoise
from isthmus.data import ArraySource
from isthmus.objectives import KL, MSE, NegativeLogLikelihood
from isthmus.recipes import get_recipe
from isthmus.training import Trainer, TrainingOptions

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(160, 3)) @ RNG.normal(size=(3, 6))).astype(np.float32)
SOURCE = ArraySource(X)
HELD = ArraySource((RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 6))).astype(np.float32))


def networks(latent: int = 3, out: int | None = None) -> dict[str, nn.Module]:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1))
    encoder.append(nn.Linear(8, out or latent))
    return {"encoder": encoder, "decoder": nn.Linear(latent, 6)}


class Fool(Term):
    name, unit = "fool", "nats"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return F.softplus(-model.critics["critic"](out.code.z)[:, 0])


class Judge(Term):
    name, unit, player = "judge", "nats", "critic"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        critic = model.critics["critic"]
        drawn = torch.randn_like(out.code.z)
        return F.softplus(-critic(drawn)[:, 0]) + F.softplus(critic(out.code.z.detach())[:, 0])


def deterministic() -> Autoencoder:
    return Autoencoder(Signal("vector", (6,)), bottleneck=Identity(), objective=MSE(), **networks())


def sampled() -> Autoencoder:
    return Autoencoder(
        Signal("vector", (6,)),
        bottleneck=GaussianBottleneck(),
        objective=NegativeLogLikelihood() + 0.5 * KL(),
        corruption=GaussianNoise(0.2),
        **networks(out=6),
    )


def adversarial() -> Autoencoder:
    return Autoencoder(
        Signal("vector", (6,)),
        bottleneck=Identity(),
        objective=MSE() + 0.1 * Fool() + Judge(),
        critics={"critic": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))},
        **networks(),
    )


def recipe(name: str, **options: Any) -> Autoencoder:
    found = get_recipe(name)
    return found.build(SOURCE.signal, found.parse(options)[0])


def sparse() -> Autoencoder:
    return recipe("topk", latent_dim=12, k=2, k_aux=4, dead_after=20)


def thresholded() -> Autoencoder:
    return recipe("jumprelu", latent_dim=12, bandwidth=0.1, threshold=0.1)


MODELS = {
    "deterministic": deterministic,
    "sampled": sampled,
    "adversarial": adversarial,
    "sparse": sparse,
    "thresholded": thresholded,
}


def fresh(kind: str = "deterministic") -> Autoencoder:
    torch.manual_seed(7)
    return MODELS[kind]()


def trainer(model: Autoencoder, folder: Any = None, *, held: bool = False, **options: Any):
    callbacks = options.pop("callbacks", ())
    settings = {"steps": 9, "batch_size": 16, "lr": 1e-2, "device": "cpu", **options}
    return Trainer(
        model,
        SOURCE,
        TrainingOptions(**settings),
        validation=HELD if held else None,
        folder=folder,
        callbacks=callbacks,
        progress=False,
    )
