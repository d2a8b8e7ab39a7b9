"""What a tighter bound does to gradients, on a Gaussian model, and to training, on MNIST."""

import math
from typing import Any

import numpy as np

from isthmus.objectives.importance import Importance
from isthmus.studies import (
    Premise,
    Primary,
    Published,
    Quantity,
    Secondary,
    Trial,
    Tuning,
    experiment,
    less,
    quantity,
)
from isthmus.studies.benches.samples import binarised
from isthmus.studies.variational.gradient_noise import GaussianToy, Ratios

# A seed: the Gaussian model 0.2 and three fits of 5000 steps at 8 ms, about 2.2 CPU minutes.

DRAWS = (1, 3, 10, 32, 100, 320)
"""Draws K of the Gaussian model; the last, with fewer repeats, is for mu's slope alone."""

SETTLED = 32
"""Draws from which the bias of the bound is small beside the gradient by mu."""

GROUPS, GROUP = (1, 4, 16), 4
REPEATS, FEWER = 150, 40
BENCH = binarised(rows=20_000)
FITS: dict[str, dict[str, Any]] = {
    "iwae": {"samples": 64},
    "miwae": {"bounds": 8, "samples": 8},
    "piwae": {"bounds": 8, "samples": 8},
}
SAME: dict[str, Any] = {
    "latent_dim": 20, "hidden": (100, 100), "batch_size": 20, "lr_schedule": "cosine",
    "steps": 5000,
}  # fmt: skip


def _nearer(measure: str, slope: float, text: str) -> Quantity:
    """Distance of a slope from the theorem's, less its distance from that of no dependence, 0."""
    return quantity(
        f"{text}: distance of its slope from {slope:g}, less its distance from 0",
        lambda f: abs(f["toy"][measure] - slope) - abs(f["toy"][measure]),
    )


@experiment(
    "tighter-bounds",
    family="variational",
    catalogue=109,
    paper="Rainforth, Kosiorek, Le, Maddison, Igl, Wood, Teh 2018, Tighter Variational Bounds are "
    "Not Necessarily Better",
    statement="The signal-to-noise ratio of the encoder's gradient falls with the draws K of the "
    "bound, as K^-1/2, so that a tighter bound is detrimental to learning the encoder.",
    headline="Slopes of 1/2 and -1/2 by theorem 1. MNIST, 64 draws: IWAE-64 of -84.52 for the "
    "IWAE, -84.97 for MIWAE (8, 8) and -84.46 for PIWAE (8, 8) (table 1; 3280 passes).",
    setting="Gaussian model: p(z) = N(mu, I), p(x|z) = N(z, I), q = N(Ax + b, 2/3 I) in 20 "
    f"dimensions, 1024 rows, offset 0.01, {REPEATS} repeats ({FEWER} at K = {DRAWS[-1]}); slopes "
    f"of logarithms over K = 1 to {DRAWS[-2]}. {BENCH.setting} 20 latents, two layers of 100 tanh "
    "units, 5000 steps of 20 at a cosine from the chosen rate, 64 draws in every arm.",
    arms={
        "toy": "slopes of the ratios' logarithms on the Gaussian model",
        "iwae": "one bound of 64 draws",
        "miwae": "8 bounds of 8 draws",
        "piwae": "decoder by 64 draws, encoder by 8 bounds of 8",
    },
    recipes=("iwae", "miwae", "piwae"),
    needs=BENCH.needs,
    tuning=Tuning((2.5e-4, 1e-3, 4e-3), "nll", tuple(FITS)),
    primary=Primary(
        _nearer("b_slope", -0.5, "b, encoder, over K"),
        below=0.0,
        positive=_nearer("b_slope_groups", 0.5, "b over M averaged bounds"),
        negative=_nearer("b_doubly_slope", -0.5, "b, doubly reparameterised, over K"),
        published=Published(-0.5, "theorem 1: a slope of -1/2"),
    ),
    premises=(
        Premise(
            quantity("least ratio of b over K, relative to what noise alone leaves",
                     lambda f: f["toy"][f"b_{DRAWS[-2]}"] / f["toy"]["floor"]),
            above=1.2, why="a ratio at the floor of the repeats no longer falls",
        ),
    ),
    secondary=(
        Secondary(_nearer("mu_slope", 0.5, f"mu, decoder, over K from {SETTLED}"), below=0.0,
                  published=Published(-0.5, "theorem 1: a slope of 1/2")),
        Secondary(less("iwae_64", "piwae", than="iwae"), above=0.0,
                  published=Published(0.06, "table 1: -84.46 against -84.52, of 784 pixels")),
        Secondary(less("posterior_kl", "piwae", than="iwae"), below=0.0),
        Secondary(less("posterior_kl", "miwae", than="iwae"), below=0.0),
    ),
)  # fmt: skip
def tighter_bounds(trial: Trial) -> dict[str, dict[str, float]]:
    """The Gaussian model, then three networks with the same draws and steps."""
    ground = BENCH.open(trial)
    figures = {"toy": _toy(trial)}
    for arm, options in FITS.items():
        model = trial.fit(arm, ground.rows, lr=trial.rate(arm, 1e-3), **SAME, **options)
        figures[arm] = BENCH.measured(model, ground, ("bounds", "tight"))
    return figures


def _toy(trial: Trial) -> dict[str, float]:
    """Signal-to-noise ratios over K and over M, and their slopes in logarithms."""
    toy = GaussianToy(trial.seed)
    repeats, fewer = (max(2, trial.steps(n)) for n in (REPEATS, FEWER))
    over_draws = {
        k: toy.ratios(Importance(), k, fewer if k == DRAWS[-1] else repeats) for k in DRAWS
    }
    over_groups = {m: toy.ratios(Importance(m), m * GROUP, repeats) for m in GROUPS}
    figures: dict[str, float] = {"floor": math.sqrt(2.0 / math.pi / repeats)}
    for k, ratios in over_draws.items():
        figures |= {f"mu_{k}": ratios.mu, f"b_{k}": ratios.b, f"b_doubly_{k}": ratios.b_doubly}
    return figures | {
        "b_slope": slope(over_draws, "b", 1, DRAWS[-2]),
        "b_doubly_slope": slope(over_draws, "b_doubly", 1, DRAWS[-2]),
        "mu_slope": slope(over_draws, "mu", SETTLED, DRAWS[-1]),
        "b_slope_groups": slope(over_groups, "b", 1, GROUPS[-1]),
    }


def slope(ratios: dict[int, Ratios], name: str, least: int, most: int) -> float:
    """Slope of the logarithm of a ratio by that of its key, by least squares."""
    kept = [key for key in ratios if least <= key <= most]
    logs = [math.log(getattr(ratios[key], name)) for key in kept]
    return float(np.polyfit(np.log(kept), logs, 1)[0])
