"""BiGAN's encoder against an autoencoder's, a latent regressor's and a random one."""

# About 200 CPU seconds a seed: three fits of 4,000 steps.

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Code, Output, Signal, Term, View
from isthmus.evaluation import Result
from isthmus.evaluation.probing import knn_probe
from isthmus.recipes.wasserstein_adversarial.bigan import BiganEncoder, BiganGenerator, UnitBox
from isthmus.studies import Primary, Published, Secondary, Trial, experiment, less, ratio, value
from isthmus.studies.benches.images import images

LATENT = 50
HIDDEN = (256, 256)
LABELLED = 20_000
STEPS = 4000
SETTLING = 50
TRAINING: dict[str, Any] = {
    "batch_size": 128,
    "lr": 5e-4,
    "optimiser_options": {"betas": (0.5, 0.999)},
    "weight_decay": 2.5e-5,
    "lr_schedule": "half-exponential",
}


@experiment(
    "bigan",
    family="wasserstein-adversarial",
    catalogue=151,
    paper="Donahue, Krähenbühl, Darrell 2017, Adversarial Feature Learning",
    statement="An encoder that learns only to make the pairs (x, E(x)) and (G(z), z) look alike "
    "inverts the generator without a reconstruction loss, with features that rival an "
    "autoencoder's.",
    headline="MNIST, 1-NN on features: 97.39 % (97.35 % in the authors' log after 400 epochs), "
    "autoencoder 97.58 %, latent regressor 97.44 % (table 1; layers of 1024, 60,000 images).",
    setting=f"MNIST, 60,000 images, the published {LATENT} uniform latents, two hidden layers of "
    f"{HIDDEN[0]}, {STEPS:,} steps of 128 (8 passes) for every arm; 1-NN on the encoder's last "
    f"hidden layer among {LABELLED:,} images, accuracy in percent of the 10,000 test images; "
    "distances are Euclidean, mean over test images. relative is the authors' own measure: the "
    "distance of an image from G(E(x)), divided by that from another image's G(E(x)). In their log "
    "the features pass those of the untrained network after 25 passes only.",
    arms={
        "bigan": "BiGAN",
        "autoencoder": "positive control: the same encoder and generator, trained by the squared "
        "error",
        "dealt": "control: BiGAN's G(E(x)), dealt out to other images",
        "regressor": "the same encoder, trained to find z from what BiGAN's generator made of it",
        "untrained": "the same encoder before its first step, with BiGAN's generator",
    },
    recipes=("bigan", "plain"),
    needs=("mnist",),
    primary=Primary(
        value("relative", "bigan", null=1.0), below=1.0, positive="autoencoder",
        negative="dealt",
        published=Published(0.77, "the authors' log at epoch 25: EGr / EGr_b"),
    ),
    secondary=(
        Secondary(less("relative", "bigan", than="untrained"), below=0.0),
        Secondary(ratio("rebuilt", "bigan", to="regressor"), below=1.0),
        Secondary(less("accuracy", "bigan", than="autoencoder"), above=-1.0, source="ours"),
        Secondary(less("accuracy", "bigan", than="untrained"), above=0.0),
    ),
)  # fmt: skip
def bigan(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """Four encoders of one shape; all but the autoencoder's are measured through one generator."""
    ground = images("mnist", labelled=LABELLED).open(trial)
    rows, test, labels = ground.rows, ground.held, ground.known["labels"]
    model = trial.fit(
        "bigan", rows, latent_dim=LATENT, hidden=HIDDEN, steps=STEPS, **TRAINING
    )  # fmt: skip
    plain = _plain(rows, model.signal, trial, STEPS, **TRAINING)
    # Nothing is learnt at this rate, but the batch statistics settle.
    untrained = _plain(rows, model.signal, trial, SETTLING, **{**TRAINING, "lr": 1e-12})
    regressor = trial.fit(_regressor(model, trial.seed), rows, steps=STEPS, **TRAINING)
    arms = {
        "bigan": model,
        "autoencoder": plain,
        "regressor": _with_encoder(model, regressor.encoder),
        "untrained": _with_encoder(model, untrained.encoder),
    }
    figures: dict[str, dict[str, float | Result]] = {}
    rng = np.random.default_rng(trial.seed)
    for arm, one in arms.items():
        accuracy = knn_probe(
            _features(one, rows[: len(labels)]), labels, _features(one, test),
            ground.known["truth"], ks=(1,), seeds=trial.seed,
        )  # fmt: skip
        recon = np.asarray(one.reconstruct(test))
        rebuilt, shuffled = (_distance(test, r) for r in (recon, rng.permutation(recon)))
        figures[arm] = {
            "accuracy": 100.0 * accuracy.value,
            "rebuilt": rebuilt,
            "shuffled": shuffled,
            "relative": rebuilt / shuffled,
        }
        if arm == "bigan":
            dealt = _distance(test, rng.permutation(recon))
            figures["dealt"] = {"rebuilt": dealt, "relative": dealt / shuffled}
    return figures


def _plain(
    rows: np.ndarray, signal: Signal, trial: Trial, steps: int, **training: Any
) -> Autoencoder:
    """The autoencoder of BiGAN's encoder and generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        encoder = BiganEncoder(signal.numel, LATENT, HIDDEN)
        decoder = BiganGenerator(signal.shape, LATENT, HIDDEN)
    return trial.fit(
        "plain", rows, steps=steps, latent_dim=LATENT, encoder=encoder, decoder=decoder, **training
    )


def _with_encoder(model: Autoencoder, encoder: nn.Module) -> Autoencoder:
    """The same generator behind another encoder."""
    other = copy.deepcopy(model)
    other.encoder = encoder
    return other


# --- the latent regressor --------------------------------------------------------------------


class _Generated(nn.Module):
    """In place of the batch, what the generator makes of fresh draws z, which are the target."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self._model = (model,)  # not owned, hence neither trained nor switched to training

    @torch.no_grad()
    def forward(self, x: Tensor) -> View:
        model = self._model[0].eval()
        assert model.prior is not None
        z = model.prior.sample(len(x)).to(x)
        return View(model.likelihood.mean(model.decode_code(Code(z))), target=z)


class _LatentError(Term):
    """Squared error of the code, averaged over the latents."""

    name = "latent_error"
    unit = "squared latent units"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return (out.code.z - out.target).square().mean(1)


def _regressor(model: Autoencoder, seed: int) -> Autoencoder:
    """An encoder that is to find z from G(z)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = BiganEncoder(model.signal.numel, LATENT, HIDDEN)
    return Autoencoder(
        model.signal,
        encoder=encoder,
        bottleneck=UnitBox(),
        decoder=None,
        objective=_LatentError(),
        corruption=_Generated(model),
    )


# --- measures --------------------------------------------------------------------------------


def _features(model: Autoencoder, images: np.ndarray) -> np.ndarray:
    """The encoder's last hidden layer, ``(rows, features)``."""
    encoder = model.eval().encoder
    assert isinstance(encoder, nn.Sequential)
    hidden = nn.Sequential(*list(encoder)[:-1])
    with torch.no_grad():
        parts = [hidden(model.scaler(b.x)) for b in model.batches(images, 1000)]
    return torch.cat(parts).numpy()


def _distance(images: np.ndarray, recon: np.ndarray) -> float:
    """Mean Euclidean distance of images and reconstructions, both in [0, 1]."""
    return float(np.linalg.norm((images - recon).reshape(len(images), -1), axis=1).mean())
