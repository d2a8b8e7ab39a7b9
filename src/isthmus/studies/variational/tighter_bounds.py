"""What a tighter bound does to gradients, on a Gaussian model, and to training, on MNIST."""

import math
from typing import Any

import numpy as np

import isthmus
from isthmus import data
from isthmus.objectives.importance import Importance
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.variational.gradient_noise import GaussianToy, Ratios

DRAWS = (1, 3, 10, 32, 100, 320)
"""Draws K of the toy; the last with fewer repeats, since its ratios are far from the floor."""

SETTLED = 32
"""Draws from which the bias of the bound is small beside the gradient by mu."""

GROUPS, GROUP = (1, 4, 16), 4
REPEATS, FEWER = 150, 40
STEPS = 800
SAMPLES = 1000
TEST_ROWS = 300
TRAIN_ROWS = 10_000

MIXED = ("miwae", "piwae")

SAME: dict[str, Any] = {
    "latent_dim": 20,
    "hidden": (100, 100),
    "batch_size": 20,
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "progress": False,
}


def _from(measure: str, slope: float) -> Any:
    """Distance of a measured slope of the toy from the one of the theorem."""
    return lambda f: abs(f["toy"][measure] - slope)


def _tightness(f: Figures, arm: str) -> float:
    """Nats of the bound with 64 draws above the IWAE's."""
    return f[arm]["iwae_64"] - f["iwae"]["iwae_64"]


def _gap_saved(f: Figures, arm: str) -> float:
    """Share of the IWAE's KL(q(z|x) || p(z|x)) that an arm is spared."""
    return 1.0 - f[arm]["posterior_kl"] / f["iwae"]["posterior_kl"]


@study(
    "tighter-bounds",
    family="variational",
    catalogue=109,
    paper="Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh 2018, Tighter Variational Bounds are "
    "Not Necessarily Better",
    statement="The signal-to-noise ratio of the encoder's gradient falls with K as K^-1/2, so that "
    "mixed bounds train better than the IWAE, even by its own bound of 64 draws.",
    headline="Slopes of 1/2 and -1/2 by theorem 1. MNIST, 64 draws: IWAE-64 of -84.52 for the "
    "IWAE, -84.97 for MIWAE (8, 8), -84.57 for CIWAE (0.05) and -84.46 for PIWAE (8, 8) (table 1; "
    "3280 passes).",
    setting="Toy: p(z) = N(mu, I), p(x|z) = N(z, I), q = N(Ax + b, 2/3 I) in 20 dimensions, 1024 "
    f"rows, offset 0.01, {REPEATS} repeats ({FEWER} at K = {DRAWS[-1]}). MNIST: {TRAIN_ROWS} "
    "images as means of 2 x 2 pixels (14 x 14), dynamic binarisation, 20 latents, two layers of "
    f"100 tanh units, {STEPS} steps of 20 at a cosine from 0.001, 64 draws in every arm. "
    f"{TEST_ROWS} test images, binarised once; log p(x) by {SAMPLES} importance samples. Nats of "
    "196 pixels do not compare with the published ones of 784.",
    arms={
        "toy": "slopes of the ratios' logarithms on the Gaussian model",
        "vae": "the ELBO averaged over 64 draws",
        "iwae": "one bound of 64 draws",
        "miwae": "8 bounds of 8 draws",
        "ciwae": "half the ELBO, half the bound of 64 draws",
        "piwae": "decoder by 64 draws, encoder by 8 bounds of 8",
        "iwae-again": "control: the IWAE once more, with another seed",
    },
    recipes=("iwae", "miwae", "ciwae", "piwae"),
    needs=("mnist",),
    checks=(
        Check(
            f"toy: distance of b's slope over K = 1 to {DRAWS[-2]} from -1/2",
            _from("b_slope", -0.5),
            at_most=0.15,
            control=_from("b_doubly_slope", -0.5),
        ),
        Check(
            f"toy: distance of mu's slope over K = {SETTLED} to {DRAWS[-1]} from 1/2",
            _from("mu_slope", 0.5),
            at_most=0.15,
            control=_from("b_slope", 0.5),
        ),
        Check(
            "toy: distance of mu's slope over M from 1/2",
            _from("mu_slope_groups", 0.5),
            at_most=0.15,
            control=_from("b_slope", 0.5),
        ),
        Check(
            "toy: distance of b's slope over M from 1/2",
            _from("b_slope_groups", 0.5),
            at_most=0.15,
            control=_from("b_slope", 0.5),
        ),
        Check(
            "nats of IWAE-64 that the worse of MIWAE and PIWAE has more than the IWAE",
            lambda f: min(_tightness(f, arm) for arm in MIXED),
            at_least=-0.2,
        ),
        Check(
            "nats of IWAE-64 that PIWAE has more than the IWAE",
            lambda f: _tightness(f, "piwae"),
            at_least=0.1,
            control=lambda f: _tightness(f, "iwae-again"),
        ),
        Check(
            "share of the IWAE's KL(q || p) that both MIWAE and PIWAE are spared",
            lambda f: min(_gap_saved(f, arm) for arm in MIXED),
            at_least=0.1,
            control=lambda f: _gap_saved(f, "iwae-again"),
        ),
        Check(
            "toy: distance of mu's slope over K = 10 to 100 from 1/2, where its bias still shows",
            _from("mu_slope_early", 0.5),
            at_most=0.15,
            required=False,
        ),
    ),
)
def tighter_bounds(trial: Trial) -> dict[str, dict[str, float]]:
    """The toy, then six networks with the same draws and steps."""
    found = data.load("mnist")
    assert found.test is not None
    rng = np.random.default_rng(trial.seed)
    rows = _coarse(found.train[rng.permutation(len(found.train))[:TRAIN_ROWS]])
    chosen = _coarse(found.test[rng.permutation(len(found.test))[:TEST_ROWS]])
    test = (rng.random(chosen.shape) < chosen).astype(np.float32)
    variants: dict[str, dict[str, Any]] = {
        "vae": {"recipe": "iwae", "samples": 64, "bound": "elbo"},
        "iwae": {"recipe": "iwae", "samples": 64},
        "miwae": {"recipe": "miwae", "bounds": 8, "samples": 8},
        "ciwae": {"recipe": "ciwae", "samples": 64, "beta": 0.5},
        "piwae": {"recipe": "piwae", "bounds": 8, "samples": 8},
        "iwae-again": {"recipe": "iwae", "samples": 64},
    }
    figures = {"toy": _toy(trial)}
    for arm, options in variants.items():
        seed = trial.seed + (1000 if arm == "iwae-again" else 0)
        model = isthmus.fit(X=rows, steps=trial.steps(STEPS), seed=seed, **SAME, **options)
        figures[arm] = _measured(model, test, trial.seed)
    return figures


def _coarse(images: np.ndarray) -> np.ndarray:
    """Bytes ``(n, 28, 28)`` to means of 2 x 2 pixels in [0, 1], ``(n, 1, 14, 14)``."""
    blocks = images.reshape(-1, 1, 14, 2, 14, 2)
    return (blocks.mean((3, 5)) / 255.0).astype(np.float32)


def _measured(model: isthmus.Autoencoder, test: np.ndarray, seed: int) -> dict[str, float]:
    tight = isthmus.evaluate(model, test, samples=SAMPLES, seed=seed)
    likelihood, elbo = tight["importance_bound"].value, tight["elbo"].value
    return {
        "iwae_64": isthmus.evaluate(model, test, samples=64, seed=seed)["importance_bound"].value,
        "nll": -likelihood,
        "elbo": elbo,
        # log p(x) - ELBO = KL(q(z|x) || p(z|x)).
        "posterior_kl": likelihood - elbo,
        "active_units": tight["active_units"].value,
    }


def _toy(trial: Trial) -> dict[str, float]:
    """Signal-to-noise ratios over K and over M, and their slopes in logarithms."""
    toy = GaussianToy(trial.seed)
    repeats, fewer = (max(2, trial.steps(n)) for n in (REPEATS, FEWER))
    over_draws = {
        k: toy.ratios(Importance(), k, fewer if k == DRAWS[-1] else repeats) for k in DRAWS
    }
    over_groups = {m: toy.ratios(Importance(m), m * GROUP, repeats) for m in GROUPS}
    figures: dict[str, float] = {}
    for k, ratios in over_draws.items():
        figures |= {f"mu_{k}": ratios.mu, f"b_{k}": ratios.b, f"b_doubly_{k}": ratios.b_doubly}
    return figures | {
        "b_slope": _slope(over_draws, "b", 1, DRAWS[-2]),
        "b_doubly_slope": _slope(over_draws, "b_doubly", 1, DRAWS[-2]),
        "mu_slope": _slope(over_draws, "mu", SETTLED, DRAWS[-1]),
        "mu_slope_early": _slope(over_draws, "mu", 10, 100),
        "mu_slope_groups": _slope(over_groups, "mu", 1, GROUPS[-1]),
        "b_slope_groups": _slope(over_groups, "b", 1, GROUPS[-1]),
    }


def _slope(ratios: dict[int, Ratios], name: str, least: int, most: int) -> float:
    """Slope of the logarithm of a ratio by that of its key, by least squares."""
    kept = [key for key in ratios if least <= key <= most]
    logs = [math.log(getattr(ratios[key], name)) for key in kept]
    return float(np.polyfit(np.log(kept), logs, 1)[0])
