"""The two-layer sign autoencoder against the closed form of its least risk."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import isthmus
from isthmus import data
from isthmus.recipes.theory.sign import optimal_risk, population_risk, weights
from isthmus.studies import Check, Figures, Trial, study

SIDE = 10
D = SIDE * SIDE
RATES = (0.25, 0.5, 1.0, 1.5, 2.0)
ROWS = 100_000
HELD = 20_000
STEPS = 2000


def _name(rate: float) -> str:
    return f"{rate:g}"


def _gap(figures: Figures, arm: str) -> float:
    """The largest distance from the law over the rates."""
    return max(abs(figures[arm][f"risk_{_name(r)}"] - optimal_risk(r)) for r in RATES)


def _overlap(figures: Figures, arm: str) -> float:
    return max(figures[arm][f"overlap_{_name(r)}"] for r in RATES if r <= 1.0)


def _tightness(figures: Figures, arm: str) -> float:
    return max(figures[arm][f"frame_{_name(r)}"] for r in RATES if r > 1.0)


@study(
    "sign",
    family="theory",
    catalogue=8,
    paper="Shevchenko et al. 2023, Fundamental Limits of Two-layer Autoencoders, and Achieving "
    "Them with Gradient Methods",
    statement="Gradient training of a shallow sign autoencoder reaches the closed-form optimum at "
    "every rate on Gaussian data, with orthonormal rows up to one bit per element and a tight "
    "frame above; whitened natural images follow the same law.",
    headline="Least risk per element at r bits: 1 - 2r/pi (r <= 1), 1 - r/(r + pi/2 - 1) (r > 1); "
    "0.841, 0.682, 0.363, 0.276 and 0.222 at r = 0.25, 0.5, 1, 1.5 and 2.",
    setting=f"d = {D}; r = 0.25, 0.5, 1, 1.5, 2; the recipe's {STEPS} steps of 256 on {ROWS:,} "
    f"rows, measured on {HELD:,} others. Natural images: CIFAR-10 in grey, patches of {SIDE} x "
    f"{SIDE} of 2,000 images, ZCA-whitened, measured on those of 500 others (the paper: whole "
    "images of one class, whitened). frame_r is the spectral norm of B^T B - r I over r; exact_r "
    "is the risk of the weights in closed form, for Gaussian data.",
    arms={
        "gaussian": "trained on white Gaussian rows",
        "patches": "trained on whitened patches of natural images",
        "untrained": "control: random unit rows with the best gain for them, on Gaussian rows",
    },
    recipes=("sign",),
    needs=("cifar10_sample",),
    checks=(
        Check(
            "largest distance of the risk on held-out Gaussian rows from the law, over the rates",
            lambda f: _gap(f, "gaussian"),
            at_most=0.02,
            control=lambda f: _gap(f, "untrained"),
        ),
        Check(
            "root mean square of the off-diagonal elements of B B^T at r <= 1, the largest",
            lambda f: _overlap(f, "gaussian"),
            at_most=0.05,
            control=lambda f: _overlap(f, "untrained"),
        ),
        Check(
            "spectral norm of B^T B - r I over r at r > 1, the largest",
            lambda f: _tightness(f, "gaussian"),
            at_most=0.15,
            control=lambda f: _tightness(f, "untrained"),
        ),
        Check(
            "largest distance of the risk on held-out patches from the law, over the rates",
            lambda f: _gap(f, "patches"),
            at_most=0.05,
            control=lambda f: _gap(f, "untrained"),
        ),
    ),
)
def sign(trial: Trial) -> dict[str, dict[str, float]]:
    """All rates from one pass over Gaussian rows, and from one over patches."""
    rng = np.random.default_rng(trial.seed)
    gaussian = [rng.normal(size=(n, D)).astype(np.float32) for n in (ROWS, HELD)]
    cifar = data.load("cifar10_sample")
    assert cifar.test is not None
    patches = whitened(grey_patches(cifar.train, ROWS, rng), grey_patches(cifar.test, HELD, rng))
    steps = trial.steps(STEPS)
    return {
        "gaussian": _fitted(gaussian, trial.seed, steps=steps),
        "patches": _fitted(patches, trial.seed, steps=steps),
        "untrained": _fitted(gaussian, trial.seed, steps=1, lr=1e-12),
    }


def _fitted(data: Sequence[np.ndarray], seed: int, **training: Any) -> dict[str, float]:
    """Each rate's risk on the held-out rows, and the geometry of its B."""
    rows, held = data
    models = isthmus.fit_many(
        {_name(r): {"recipe": "sign", "latent_dim": round(r * D)} for r in RATES},
        rows, scaling="none", seed=seed, progress=False, **training,
    )  # fmt: skip
    found: dict[str, float] = {}
    for rate in RATES:
        model, name = models[_name(rate)], _name(rate)
        a, b = weights(model)
        found[f"risk_{name}"] = float(-np.asarray(model.score(held, kind="error")).mean())
        found[f"exact_{name}"] = population_risk(a, b)
        found[f"law_{name}"] = optimal_risk(rate)
        found |= {f"{what}_{name}": value for what, value in geometry(b).items()}
    return found


def geometry(b: np.ndarray) -> dict[str, float]:
    """How far the rows of ``B`` ``(n, d)`` are from what is best at ``r = n / d``.

    ``overlap`` is the root mean square of the off-diagonal elements of ``B B^T`` (0 for
    orthonormal rows), ``frame`` the spectral norm of ``B^T B - r I`` over r (0 for a tight frame).
    """
    n, d = b.shape
    gram = b @ b.T
    off = gram[~np.eye(n, dtype=bool)]
    rest = b.T @ b - (n / d) * np.eye(d)
    return {
        "overlap": float(np.sqrt((off**2).mean())),
        "frame": float(np.linalg.norm(rest, 2) * d / n),
    }


def grey_patches(images: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Patches of random colour images ``(images, height, width, 3)``, at random places, in grey.

    float32 ``(n, SIDE * SIDE)``.
    """
    grey = images.mean(axis=3, dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (SIDE, SIDE), axis=(1, 2))
    places = tuple(rng.integers(0, size, n) for size in windows.shape[:3])
    return np.asarray(windows[places]).reshape(n, -1)


def whitened(rows: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All turned by the symmetric (ZCA) root that gives ``rows`` mean 0 and covariance I."""
    mean = rows.mean(0, dtype=np.float64)
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    root = (vectors / np.sqrt(values)) @ vectors.T
    return [((part - mean) @ root).astype(np.float32) for part in (rows, *others)]
