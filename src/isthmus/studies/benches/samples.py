"""Small MNIST as a sample of a distribution: likelihoods, and codes against a prior."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus import data
from isthmus.anatomy import Autoencoder, GaussianCode, Prior, Signal
from isthmus.anatomy.randomness import drawing
from isthmus.bottlenecks import StandardNormal
from isthmus.evaluation.sample_quality import frechet_distance
from isthmus.networks import encoder_for
from isthmus.recipes.wasserstein_adversarial.swae import Disk, Ring, directions, sliced_wasserstein
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.benches.images import prepared
from isthmus.studies.benches.own_loss import own_loss
from isthmus.studies.trial import Trial

SAMPLES, TIGHT = 500, 64
"""Importance samples of the likelihood, and of the bound that some papers compare."""

LINES, FEATURES = 500, 64


def images(trial: Trial, rows: int, held: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST at 14 x 14, ``(n, 1, 14, 14)`` in [0, 1]: training and test rows, drawn by the seed."""
    mnist = data.load("mnist")
    assert mnist.test is not None
    rng = np.random.default_rng(trial.seed)
    parts = ((mnist.train, trial.rows(rows)), (mnist.test, trial.rows(held)))
    train, test = (prepared(part[rng.permutation(len(part))[:count]], 14) for part, count in parts)
    return train, test


def binarised(rows: int = 60_000, held: int = 300) -> Bench:
    """A bench of likelihoods: means to draw binary images from, and test images drawn once."""

    def open_ground(trial: Trial) -> Ground:
        train, means = images(trial, rows, held)
        noise = np.random.default_rng([trial.seed, 1]).random(means.shape)
        return Ground(train, (noise < means).astype(np.float32), trial.seed)

    setting = (
        f"MNIST at 14 x 14 pixels, {rows:,} images, dynamic binarisation; {held} test images, "
        f"binarised once, {SAMPLES} importance samples. Nats of 196 pixels are fewer than those "
        "of the published 784."
    )
    return Bench("samples", setting, open_ground, LIKELIHOODS, needs=("mnist",))


def digits(rows: int = 10_000, held: int = 4000) -> Bench:
    """A bench of codes against priors, ``known`` by name: two-dimensional and eight-dimensional."""

    def open_ground(trial: Trial) -> Ground:
        train, test = images(trial, rows, held)
        with drawing(torch.device("cpu"), trial.seed):
            priors: Mapping[str, Prior] = {
                "ring": Ring(2), "disk": Disk(2), "gaussian": StandardNormal(8)
            }  # fmt: skip
            known = {name: prior.sample(len(test)) for name, prior in priors.items()}
            lines = {d: directions(LINES, d, torch.empty(0)) for d in (2, 8)}
        return Ground(train, test, trial.seed, {**known, "lines": lines})

    setting = (
        f"MNIST at 14 x 14 pixels, {rows:,} training and {held:,} test images. Distances are "
        f"squared, between test codes and as many draws of the prior, along {LINES} lines; Fréchet "
        f"distances are of samples and test images, on {FEATURES} features of a fixed random "
        "convolutional network."
    )
    return Bench("samples", setting, open_ground, CODES, needs=("mnist",))


# --- likelihoods -----------------------------------------------------------------------------


def _bounds(subject: Subject, ground: Ground) -> dict[str, float]:
    """Negative log-likelihood and ELBO in nats, what lies between them, and active units."""
    assert isinstance(subject, Autoencoder)
    measures = isthmus.evaluate(subject, ground.held, samples=SAMPLES, seed=ground.seed)
    likelihood, elbo = measures["importance_bound"].value, measures["elbo"].value
    return {
        "nll": -likelihood,
        "elbo": elbo,
        # log p(x) - ELBO = KL(q(z|x) || p(z|x)).
        "posterior_kl": likelihood - elbo,
        "active_units": measures["active_units"].value,
    }


def _tight(subject: Subject, ground: Ground) -> dict[str, float]:
    assert isinstance(subject, Autoencoder)
    measures = isthmus.evaluate(subject, ground.held, samples=TIGHT, seed=ground.seed)
    return {f"iwae_{TIGHT}": measures["importance_bound"].value}


LIKELIHOODS = {"bounds": _bounds, "tight": _tight}


# --- codes against a prior -------------------------------------------------------------------


def moved(z: Tensor, to: Tensor) -> Tensor:
    """``z`` by an affine map with the mean and covariance of ``to``; both ``(rows, dim)``."""
    root, target = (torch.linalg.cholesky(x.T.cov()) for x in (z, to))
    whitened = torch.linalg.solve_triangular(root, (z - z.mean(0)).T, upper=False)
    return (target @ whitened).T + to.mean(0)


def _codes(subject: Subject, ground: Ground) -> Tensor:
    """Codes of the measured rows: of a Gaussian code one draw each."""
    if not isinstance(subject, Autoencoder):
        return torch.as_tensor(np.asarray(subject.encode(ground.held)))
    code = subject.encode(ground.held, code=True)
    if isinstance(code, GaussianCode):
        noise = np.random.default_rng(ground.seed).standard_normal(tuple(code.mean.shape))
        return code.mean + torch.from_numpy(noise).to(code.mean) * (0.5 * code.logvar).exp()
    return code.z


def _distance(prior: str, *, to_moments: bool) -> Callable[[Subject, Ground], float]:
    """Squared sliced distance of codes from the prior, or of codes brought to its moments."""

    def measure(subject: Subject, ground: Ground) -> float:
        z, draws = _codes(subject, ground), ground.known[prior]
        along = ground.known["lines"][z.shape[1]]
        return float(sliced_wasserstein(moved(z, draws) if to_moments else z, draws, along))

    return measure


def _mse(subject: Subject, ground: Ground) -> float:
    return float(np.square(np.asarray(subject.reconstruct(ground.held)) - ground.held).mean())


def _frechet(subject: Subject, ground: Ground) -> float:
    assert isinstance(subject, Autoencoder)
    features = _features(subject.signal)
    samples = torch.as_tensor(np.asarray(subject.sample(len(ground.held), seed=ground.seed)))
    real = torch.from_numpy(ground.held)
    return float(frechet_distance(features(samples), features(real)).value)


def _features(signal: Signal) -> Callable[[Tensor], Tensor]:
    """A random convolutional network, the same for every seed.

    On digits random features serve the comparison of samples as well as trained ones do (Naeem et
    al. 2020, section 4.3).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = encoder_for(signal, FEATURES, "conv").eval()

    def features(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([network(part) for part in rows.split(1000)])

    return features


def _loss(subject: Subject, ground: Ground) -> float:
    assert isinstance(subject, Autoencoder)
    return own_loss(subject, ground.held, ground.seed)


CODES: dict[str, Any] = {
    **{f"sw_{prior}": _distance(prior, to_moments=False) for prior in ("ring", "disk", "gaussian")},
    **{f"sw_{prior}_moved": _distance(prior, to_moments=True)
       for prior in ("ring", "disk", "gaussian")},
    "mse": _mse, "frechet": _frechet, "loss": _loss,
}  # fmt: skip


def draws_of(prior: str) -> Control:
    """Other draws of a prior for codes: as near to it as as many points can be."""

    def make(_: object, ground: Ground, trial: Trial) -> Subject:
        order = np.random.default_rng([trial.seed, 2])
        draws = ground.known[prior]
        with drawing(torch.device("cpu"), int(order.integers(1 << 30))):
            fresh = {"ring": Ring, "disk": Disk, "gaussian": StandardNormal}[prior](draws.shape[1])
            codes = fresh.sample(len(draws)).numpy()
        empty = np.zeros_like(ground.held)
        return Coded(lambda _rows: codes, lambda _z: empty)

    return Control(f"positive control: other draws of the {prior} for codes", make)


__all__ = ["CODES", "LIKELIHOODS", "binarised", "digits", "draws_of", "images", "moved"]
