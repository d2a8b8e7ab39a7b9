"""The importance weighted bound against the VAE's, on binarised MNIST."""

from typing import Any

import numpy as np

import isthmus
from isthmus import data
from isthmus.evaluation import importance_bound
from isthmus.studies import Check, Figures, Trial, study

STEPS = 1500
BATCH = 20
TEST_ROWS = 200
SAMPLES = 1000
"""Importance samples of the measured likelihood."""

PUBLISHED = {"vae": 86.76, "vae-50": 86.35, "iwae-5": 85.54, "iwae-50": 84.78}
"""Nats, one stochastic layer, dynamic binarisation, 5000 samples (Burda et al. 2015, table 1)."""

SAME: dict[str, Any] = {
    "latent_dim": 50,
    "batch_size": BATCH,
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "progress": False,
}


def _gain(f: Figures, arm: str) -> float:
    """Nats that an arm's likelihood is above the VAE's."""
    return f["vae"]["nll"] - f[arm]["nll"]


@study(
    "iwae",
    family="variational",
    catalogue=103,
    paper="Burda, Grosse, Salakhutdinov 2015, Importance Weighted Autoencoders",
    statement="More samples tighten the bound, giving better likelihood and more active latents "
    "than a VAE with the same networks.",
    headline="MNIST, one stochastic layer, dynamic binarisation, 5000 importance samples: "
    "negative log-likelihood of 86.76, 85.54 and 84.78 nats for K = 1, 5, 50, and 86.35 for the "
    "VAE with 50 samples; 19, 22, 25 and 20 active units (table 1; 9.8 million steps).",
    setting=f"MNIST, dynamic binarisation, the paper's networks and batches of {BATCH}; {STEPS} "
    "steps (half a pass; the paper takes 3280 passes) at a cosine from the published 0.001. "
    f"{TEST_ROWS} test images, binarised once, {SAMPLES} importance samples. Toy: a linear "
    "Gaussian model, whose likelihood is known, with a posterior twice as wide as the true one.",
    arms={
        "vae": "K = 1, which is the VAE",
        "iwae-5": "K = 5",
        "iwae-50": "K = 50",
        "vae-50": "the VAE's bound, averaged over 50 samples",
        "vae-again": "control: the VAE once more, with another seed",
        "toy": "the bound of the linear Gaussian model with K = 1 and 1000",
    },
    recipes=("iwae",),
    needs=("mnist",),
    checks=(
        Check(
            "nats that K = 50 gains on the VAE",
            lambda f: _gain(f, "iwae-50"),
            at_least=0.5,
            control=lambda f: _gain(f, "vae-again"),
        ),
        Check(
            "nats that K = 5 gains on the VAE",
            lambda f: _gain(f, "iwae-5"),
            at_least=0.0,
        ),
        Check(
            "nats that K = 50 gains on K = 5",
            lambda f: f["iwae-5"]["nll"] - f["iwae-50"]["nll"],
            at_least=0.0,
        ),
        Check(
            "share of the gain that averaging the VAE's bound over 50 samples reaches",
            lambda f: _gain(f, "vae-50") / _gain(f, "iwae-50"),
            at_most=0.5,
        ),
        Check(
            "active units that K = 50 has more than the VAE",
            lambda f: f["iwae-50"]["active_units"] - f["vae"]["active_units"],
            at_least=1.0,
            control=lambda f: f["vae-again"]["active_units"] - f["vae"]["active_units"],
        ),
        Check(
            "toy: nats between the bound with 1000 samples and the known likelihood",
            lambda f: f["toy"]["gap_1000"],
            at_most=0.02,
            control=lambda f: f["toy"]["gap_1"],
        ),
        Check(
            "nats between K = 50 here and the published 84.78",
            lambda f: f["iwae-50"]["nll"] - PUBLISHED["iwae-50"],
            at_most=1.0,
            required=False,
        ),
    ),
)
def iwae(trial: Trial) -> dict[str, dict[str, float]]:
    """Five networks at equal steps, one set of test images, and the toy."""
    found = data.load("mnist")
    assert found.test is not None
    rng = np.random.default_rng(trial.seed)
    chosen = found.test[rng.permutation(len(found.test))[:TEST_ROWS]] / 255.0
    test = (rng.random(chosen.shape) < chosen).astype(np.float32)[:, None]
    rows = (found.train / np.float32(255.0))[:, None]
    variants: dict[str, dict[str, Any]] = {
        "vae": {"samples": 1, "seed": trial.seed},
        "iwae-5": {"samples": 5, "seed": trial.seed},
        "iwae-50": {"samples": 50, "seed": trial.seed},
        "vae-50": {"samples": 50, "bound": "elbo", "seed": trial.seed},
        "vae-again": {"samples": 1, "seed": trial.seed + 1000},
    }
    figures = {}
    for arm, options in variants.items():
        model = isthmus.fit("iwae", rows, steps=trial.steps(STEPS), **SAME, **options)
        measured = isthmus.evaluate(model, test, samples=SAMPLES, seed=trial.seed)
        figures[arm] = {
            "nll": -measured["importance_bound"].value,
            "elbo": measured["elbo"].value,
            "active_units": measured["active_units"].value,
        }
        if arm in PUBLISHED:
            figures[arm]["published_nll"] = PUBLISHED[arm]
    return {**figures, "toy": _toy(trial.seed)}


def _toy(seed: int) -> dict[str, float]:
    """What the bound misses of log p(x) where x = W z + noise and q is twice too wide."""
    rng = np.random.default_rng(seed)
    W, rows = rng.standard_normal((5, 2)), 400
    x = rng.standard_normal((rows, 2)) @ W.T + rng.standard_normal((rows, 5))
    covariance = np.linalg.inv(np.eye(2) + W.T @ W)
    wide, middle = 2.0 * covariance, x @ W @ covariance
    known = _log_normal(x, W @ W.T + np.eye(5)).mean()
    noise = rng.standard_normal((SAMPLES, rows, 2)) @ np.linalg.cholesky(wide).T
    z = middle + noise
    weights = _log_normal(z, np.eye(2)) + _log_normal(x - z @ W.T, np.eye(5))
    weights -= _log_normal(noise, wide)
    return {f"gap_{k}": float(known - importance_bound(weights[:k]).value) for k in (1, SAMPLES)}


def _log_normal(x: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """log N(x; 0, covariance) over the last axis, in nats."""
    squares = (x @ np.linalg.inv(covariance) * x).sum(-1)
    return -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])
