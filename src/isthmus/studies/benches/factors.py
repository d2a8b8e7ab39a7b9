"""Sprites with known factors, and how codes relate to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import isthmus
from isthmus.anatomy import Autoencoder, DiscreteCode, GaussianCode
from isthmus.data import Sprites
from isthmus.evaluation.disentanglement import infomec, mig, mig_from_posterior
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.benches.own_loss import own_loss
from isthmus.studies.trial import Trial

SIDE = 16
"""Pixels of a side."""

FINER = 4
"""Each pixel is the mean of 4 x 4 finer ones, so that neighbouring levels look different."""

BY_PIXELS = 1.0 / FINER**2
"""What published weights of a KL divergence are multiplied by. The cross-entropy of a grey pixel is
a sixteenth of that of its 16 binary ones under one probability, so that a loss with this weight is
a sixteenth of the published one on the 64 x 64 pixels, with a coarser decoder."""

NAMES = ("shape", "scale", "turn", "x", "y")
DRAWS = 2000
"""Of q(z), for information from posteriors."""

Measure = Callable[[Subject, Ground], float | Mapping[str, float]]

STEADY = -16.0
"""Log-variance of codes that have none."""


def factors(
    shapes: Sequence[int] = (0, 1, 2), scales: int = 6, turns: int = 1, places: int = 16,
    held: int = 0,
) -> Bench:  # fmt: skip
    """A bench of all combinations of some levels of the sprites' factors, in a seed's order.

    ``held`` of them are measured on and not fitted to; 0 fits to and measures on all, where the
    grid is the whole of the data. ``known`` has ``factors``, the levels of the measured rows that
    vary, ``(rows, factors)`` as integers, and ``names``.
    """
    sizes = (len(shapes), scales, turns, places, places)

    def open_ground(trial: Trial) -> Ground:
        images, levels = grid(shapes, scales, turns, places)
        order = np.random.default_rng(trial.seed).permutation(len(images))
        order = order[: trial.rows(len(order), least=min(len(order), 4096))]
        images, levels = images[order], levels[order]
        names = tuple(name for name, size in zip(NAMES, sizes, strict=True) if size > 1)
        part = min(held, len(images) // 4) if held else 0
        rows, seen = (images[part:], images[:part]) if part else (images, images)
        known = {"factors": levels[: part or None], "names": names}
        return Ground(rows, seen, trial.seed, known)

    count = " x ".join(f"{size}" for size in sizes if size > 1)
    what = ", ".join(name for name, size in zip(NAMES, sizes, strict=True) if size > 1)
    setting = (
        f"Sprites of {SIDE} x {SIDE} grey pixels (means of 4 x 4 of the usual 64 x 64; weights of "
        f"the KL go with the number of pixels), every combination of {count} levels of {what}"
        + (f"; {held} are held out." if held else ", all fitted to and measured on.")
    )
    return Bench("factors", setting, open_ground, MEASURES)


def grid(
    shapes: Sequence[int], scales: int, turns: int, places: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(n, 1, 16, 16)`` in [0, 1] and the levels that vary ``(n, factors)``.

    Levels are taken evenly; turns leave out the full one, which looks like none.
    """
    source = Sprites(FINER * SIDE)
    sizes = source.factor_sizes
    at = [torch.tensor(shapes)] + [
        torch.linspace(0, full - 1, count + (full == sizes[2])).round().long()[:count]
        for full, count in zip(sizes[1:], (scales, turns, places, places), strict=True)
    ]
    levels = torch.cartesian_prod(*at)
    parts = source.index(levels).split(2048)
    images = torch.cat([F.avg_pool2d(source.rows(part), FINER) for part in parts])
    varies = [i for i, one in enumerate(at) if len(one) > 1]
    return images.numpy(), levels[:, varies].numpy()


# --- measures --------------------------------------------------------------------------------


def posterior(subject: Subject, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and log-variances of the codes, float64; codes without a spread get a tiny one."""
    code: Any = subject.encode(rows)
    if isinstance(subject, Autoencoder):
        code = subject.encode(rows, code=True)
        if isinstance(code, GaussianCode):
            return code.mean.double().numpy(), code.logvar.double().numpy()
        code = code.z
    means = np.asarray(code, np.float64)
    return means, np.full_like(means, STEADY)


def drawn(subject: Subject, rows: np.ndarray, seed: int) -> np.ndarray:
    """One draw of each row's code."""
    mean, logvar = posterior(subject, rows)
    noise = np.random.default_rng(seed).standard_normal(mean.shape)
    sample: np.ndarray = mean + noise * np.exp(0.5 * logvar)
    return sample


def explained(codes: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Share of each factor's variance that is linear in the codes, ``(factors,)``."""
    truth = levels.astype(np.float64)
    inputs = np.concatenate([codes, np.ones((len(codes), 1))], axis=1)
    rest = truth - inputs @ np.linalg.lstsq(inputs, truth)[0]
    share: np.ndarray = 1.0 - np.square(rest).mean(0) / truth.var(0)
    return share


def _mig(subject: Subject, ground: Ground) -> float:
    return float(mig(np.asarray(subject.encode(ground.held)), ground.known["factors"]).value)


def _mig_posterior(subject: Subject, ground: Ground) -> float:
    """MIG as published, by draws of the posteriors."""
    mean, logvar = posterior(subject, ground.held)
    draws = min(DRAWS, len(mean))
    gap = mig_from_posterior(
        mean, logvar, ground.known["factors"], n_samples=draws, seed=ground.seed
    )
    return float(gap.value)


def _infomec(subject: Subject, ground: Ground) -> dict[str, float]:
    codes: Any = subject.encode(ground.held)
    discrete = None
    if isinstance(subject, Autoencoder):
        code = subject.encode(ground.held, code=True)
        discrete = isinstance(code, DiscreteCode)
        codes = code.indices if isinstance(code, DiscreteCode) else code.z
    scores = infomec(np.asarray(codes), ground.known["factors"], discrete_codes=discrete)
    return {
        "info_m": scores.modularity.value,
        "info_e": scores.explicitness.value,
        "info_c": scores.compactness.value,
    }


def _bounds(subject: Subject, ground: Ground) -> dict[str, float]:
    """ELBO, cross-entropy and KL in nats per image of 64 x 64 pixels, and active units."""
    assert isinstance(subject, Autoencoder)
    measures = isthmus.evaluate(subject, ground.held, samples=1, seed=ground.seed)
    kl, units = measures["kl"].value, measures["active_units"].value
    bce = (-measures["elbo"].value - kl) / BY_PIXELS
    return {"elbo": -bce - kl, "bce": bce, "kl": kl, "active_units": units}


def _cross_entropy(subject: Subject, ground: Ground) -> float:
    """Nats per pixel of the deterministic reconstruction."""
    rebuilt = torch.as_tensor(np.asarray(subject.reconstruct(ground.held)))
    return float(F.binary_cross_entropy(rebuilt, _tensor(ground.held)))


def _mse(subject: Subject, ground: Ground) -> float:
    return float(np.square(np.asarray(subject.reconstruct(ground.held)) - ground.held).mean())


def _explained(subject: Subject, ground: Ground) -> dict[str, float]:
    """Of each factor, the share of its variance that is linear in one draw of the code."""
    share = explained(drawn(subject, ground.held, ground.seed), ground.known["factors"])
    return {f"r2_{n}": float(s) for n, s in zip(ground.known["names"], share, strict=True)}


def _loss(subject: Subject, ground: Ground) -> float:
    assert isinstance(subject, Autoencoder)
    return own_loss(subject, ground.held, ground.seed)


def _tensor(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows))


MEASURES: dict[str, Measure] = {
    "mig": _mig, "mig_posterior": _mig_posterior, "infomec": _infomec, "bounds": _bounds,
    "cross_entropy": _cross_entropy, "mse": _mse, "explained": _explained, "loss": _loss,
}  # fmt: skip


# --- controls --------------------------------------------------------------------------------


def true_factors() -> Control:
    """The factors themselves for a code; it is measured on the bench's own rows alone."""

    def make(_: object, ground: Ground, trial: Trial) -> Subject:
        levels = ground.known["factors"].astype(np.float64)
        return Coded(lambda _rows: levels, lambda z: np.broadcast_to(ground.held.mean(0),
                     (len(z), *ground.held.shape[1:])))  # fmt: skip

    return Control("positive control: the true factors for a code", make)


__all__ = [
    "BY_PIXELS",
    "MEASURES",
    "drawn",
    "explained",
    "factors",
    "grid",
    "posterior",
    "true_factors",
]
