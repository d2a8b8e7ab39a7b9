"""SWAE against codes that nothing shapes, and against other ways to shape them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

import isthmus
from isthmus import data
from isthmus.anatomy import Autoencoder, Bernoulli, GaussianCode, Objective, Signal
from isthmus.bottlenecks import Identity, StandardNormal
from isthmus.evaluation import Result, error_per_element
from isthmus.evaluation.sample_quality import frechet_distance
from isthmus.networks import decoder_for, encoder_for
from isthmus.recipes.wasserstein_adversarial.swae import (
    AbsoluteError,
    CrossEntropy,
    Disk,
    Ring,
    Rising,
    directions,
    sliced_wasserstein,
)
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.wasserstein_adversarial.matching import (
    CRITIC,
    CodeCritic,
    FooledCritic,
    KernelDiscrepancy,
    code_critic,
)

ROWS = 10_000
HELD = 5_000
STEPS = 600
WIDE = 8
HIDDEN = (256,)
LINES = 500
COMPONENTS = 10
FEATURES = 64
TRAINING: dict[str, Any] = {
    "batch_size": 256,
    "lr": 1e-3,
    "optimiser": "rmsprop",
    "optimiser_options": {"alpha": 0.9, "eps": 1e-7},
    "progress": False,
}
PAIRS = (("ring", "ae-2"), ("disk", "ae-2"), ("gaussian", "ae-8"))
"""A prior, and the plain autoencoder with as many latents."""


def _worst(figures: Figures, measure: str) -> float:
    """The largest ratio of SWAE to plain autoencoder over the three priors."""
    return max(
        figures[f"swae-{prior}"][measure.format(prior)] / figures[plain][measure.format(prior)]
        for prior, plain in PAIRS
    )


def _ring(figures: Figures, arm: str) -> float:
    """Distance from the ring, relative to the plain codes brought to the ring's moments."""
    return figures[arm]["sw_ring"] / figures["ae-2"]["sw_ring_moved"]


@study(
    "swae",
    family="wasserstein-adversarial",
    catalogue=137,
    paper="Kolouri, Pope, Martin, Rohde 2018, Sliced-Wasserstein Autoencoder",
    statement="Sliced-Wasserstein latent matching shapes the latent into any samplable prior with "
    "quality like VAE/WAE but no adversary or closed form.",
    headline="Pictures of codes on a ring and of MNIST samples; no number. Elsewhere, with "
    "convolutional networks and Inception features: FID on MNIST 30.94 (SWAE), 28.71 (WAE-MMD), "
    "24.22 (CWAE; gmum/cwae-pytorch).",
    setting=f"MNIST, {ROWS:,} training and {HELD:,} test images, one hidden layer of {HIDDEN[0]}, "
    f"{STEPS} steps of 256 with the authors' optimiser. All arms but the VAE have SWAE's cost and "
    "its rising weight. Distances are squared, between test codes (the VAE's: draws of its "
    f"posteriors) and as many draws of the prior, along {LINES} lines; Fréchet distances are of "
    f"samples and test images, on {FEATURES} features of a fixed random convolutional network.",
    arms={
        "swae-ring": "SWAE, two latents on a ring",
        "swae-disk": "SWAE, two latents in a disk",
        "swae-gaussian": f"SWAE, {WIDE} normal latents",
        "ae-2": "weight 0: a plain autoencoder with two latents",
        "ae-8": f"weight 0: a plain autoencoder with {WIDE} latents, sampled from the normal prior",
        "vae": f"VAE, {WIDE} latents",
        "wae-mmd": f"{WIDE} latents, a kernel discrepancy instead of the sliced distance",
        "wae-gan": f"{WIDE} latents, an adversary instead of the sliced distance",
        "mixture": f"samples of ae-8 from {COMPONENTS} Gaussians fitted to its codes",
        "untrained": "control: the ring model before its first step",
        "real": "training images in place of samples",
    },
    recipes=("swae", "beta-vae"),
    needs=("mnist",),
    checks=(
        Check(
            "sliced distance of codes from prior, divided by the plain autoencoder's: worst of "
            "ring, disk and Gaussian",
            lambda f: _worst(f, "sw_{}"),
            at_most=0.25,
        ),
        Check(
            "the same for the ring, with the plain codes first brought to its mean and covariance",
            lambda f: _ring(f, "swae-ring"),
            at_most=0.25,
            control=lambda f: _ring(f, "swae-disk"),
        ),
        Check(
            "squared error, divided by the plain autoencoder's: worst of the three priors",
            lambda f: _worst(f, "mse"),
            at_most=1.1,
            control=lambda f: f["untrained"]["mse"] / f["ae-2"]["mse"],
        ),
        Check(
            "Fréchet distance of samples, divided by the VAE's",
            lambda f: f["swae-gaussian"]["frechet"] / f["vae"]["frechet"],
            at_most=1.2,
            control=lambda f: f["ae-8"]["frechet"] / f["vae"]["frechet"],
        ),
        Check(
            "Fréchet distance of samples, divided by that of WAE-MMD",
            lambda f: f["swae-gaussian"]["frechet"] / f["wae-mmd"]["frechet"],
            at_most=1.2,
            control=lambda f: f["ae-8"]["frechet"] / f["wae-mmd"]["frechet"],
        ),
    ),
)
def swae(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """Three priors, and on the Gaussian one what else leads there."""
    mnist = data.load("mnist")
    assert mnist.test is not None
    drawn = np.random.default_rng(trial.seed).permutation(len(mnist.train))
    rows, more = mnist.train[drawn[:ROWS]], mnist.train[drawn[ROWS : ROWS + HELD]]
    test = mnist.test[:HELD]
    models = _models(rows, trial)
    figures: dict[str, dict[str, float | Result]] = {arm: {} for arm in models}
    pixels = test[:, None] / np.float32(255)
    for arm, model in models.items():
        recon = np.asarray(model.reconstruct(test))
        figures[arm]["mse"] = error_per_element(pixels, recon.reshape(pixels.shape))
    _distances(models, test, figures, trial.seed)

    samples = {
        arm: models[arm].sample(HELD, seed=trial.seed)
        for arm in ("swae-gaussian", "ae-8", "vae", "wae-mmd", "wae-gan")
    }
    codes = models["ae-8"].encode(rows)
    fitted = GaussianMixture(COMPONENTS, random_state=trial.seed).fit(codes)
    samples["mixture"] = torch.as_tensor(models["ae-8"].decode(fitted.sample(HELD)[0]))
    samples["real"] = torch.from_numpy(more[:, None] / np.float32(255))
    features = _features(models["vae"].signal)
    truth = features(torch.from_numpy(pixels))
    for arm, made in samples.items():
        figures.setdefault(arm, {})["frechet"] = frechet_distance(features(made), truth)
    return figures


def _models(rows: np.ndarray, trial: Trial) -> dict[str, Autoencoder]:
    """Every arm that is trained, by name."""
    steps = trial.steps(STEPS)
    network: dict[str, Any] = {"network": "mlp", "hidden": HIDDEN}
    recipes: dict[str, dict[str, Any]] = {
        "swae-ring": {"recipe": "swae", "latent_dim": 2, "prior": "ring"},
        "swae-disk": {"recipe": "swae", "latent_dim": 2, "prior": "disk"},
        "swae-gaussian": {"recipe": "swae", "latent_dim": WIDE, "prior": "gaussian"},
        "ae-2": {"recipe": "swae", "latent_dim": 2, "weight": 0.0},
        "ae-8": {"recipe": "swae", "latent_dim": WIDE, "prior": "gaussian", "weight": 0.0},
        "vae": {"recipe": "beta-vae", "latent_dim": WIDE, "capacity": None, "beta": 1.0},
    }
    shared = {**TRAINING, **network, "seed": trial.seed}
    models = isthmus.fit_many(recipes, rows, steps=steps, **shared)
    signal = models["vae"].signal
    rising = Rising(10.0, 1.1)
    objectives: dict[str, Objective] = {
        "wae-mmd": KernelDiscrepancy() * rising,
        "wae-gan": FooledCritic() * rising + CodeCritic(),
    }
    for arm, objective in objectives.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)
            own = _matched(signal, objective)
        models[arm] = isthmus.fit(own, rows, steps=steps, seed=trial.seed, **TRAINING)
    models["untrained"] = isthmus.fit(
        "swae", rows, latent_dim=2, steps=1, **{**shared, "lr": 1e-12}
    )
    return models


def _matched(signal: Signal, objective: Objective) -> Autoencoder:
    """SWAE's networks and cost with another match of codes and prior."""
    needed = CRITIC in objective.players
    return Autoencoder(
        signal,
        encoder=encoder_for(signal, WIDE, "mlp", hidden=HIDDEN),
        bottleneck=Identity(),
        decoder=decoder_for(signal, WIDE, "mlp", hidden=HIDDEN),
        objective=CrossEntropy() + 1.0 * AbsoluteError() + objective,
        critics={CRITIC: code_critic(WIDE, HIDDEN[0])} if needed else None,
        likelihood=Bernoulli(),
        prior=StandardNormal(WIDE),
    )


# --- measures --------------------------------------------------------------------------------


def _distances(
    models: Mapping[str, Autoencoder],
    test: np.ndarray,
    figures: dict[str, dict[str, float | Result]],
    seed: int,
) -> None:
    """Add each arm's distance from the priors with as many dimensions as it has latents."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        two = {"ring": Ring(2)(HELD), "disk": Disk(2)(HELD)}
        normal = {"gaussian": StandardNormal(WIDE)(HELD)}
        lines = {dim: directions(LINES, dim, torch.empty(0)) for dim in (2, WIDE)}
        for arm, model in models.items():
            code = model.encode(test, code=True)
            z = code.draw(1).z[0] if isinstance(code, GaussianCode) else code.z
            along = lines[z.shape[1]]
            for prior, draws in (two if z.shape[1] == 2 else normal).items():
                figures[arm][f"sw_{prior}"] = float(sliced_wasserstein(z, draws, along))
                moved = sliced_wasserstein(_moved(z, draws), draws, along)
                figures[arm][f"sw_{prior}_moved"] = float(moved)


def _moved(z: Tensor, to: Tensor) -> Tensor:
    """``z`` by an affine map with the mean and covariance of ``to``."""
    root, wanted = (torch.linalg.cholesky(x.T.cov()) for x in (z, to))
    whitened = torch.linalg.solve_triangular(root, (z - z.mean(0)).T, upper=False)
    return (wanted @ whitened).T + to.mean(0)


def _features(signal: Signal) -> Callable[[Tensor], Tensor]:
    """A random convolutional network, the same for every seed.

    On digits random features serve the comparison of samples as well as trained ones do (Naeem et
    al. 2020, section 4.3).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = encoder_for(signal, FEATURES, "conv").eval()

    def features(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([network(part) for part in images.split(1000)])

    return features
