"""How many latents an ARD-VAE finds, on data of known dimension and on digits."""

from collections.abc import Callable
from typing import Any

import numpy as np

from isthmus import data
from isthmus.anatomy import Autoencoder
from isthmus.evaluation import active_units
from isthmus.recipes.variational.ard_vae import relevance, relevant_axes
from isthmus.studies import (
    Figures,
    Premise,
    Primary,
    Quantity,
    Secondary,
    Trial,
    Tuning,
    experiment,
    quantity,
)

# A seed: twelve fits of 5000 steps at 1.2 ms and two on digits, about 1.6 CPU minutes with the
# derivatives.

LATENTS, TRUTHS = (16, 64), (4, 8)
CELLS = tuple((truth, latents) for truth in TRUTHS for latents in LATENTS)
ON_DIGITS = (32, 64)
ROWS, HELD = 6144, 2048
WIDTH, UNITS = 64, 128
BEND = 0.5
"""Standard deviation of what the embedding's tanh units read: how far it is from linear."""

NOISE, BETA = 0.5, 0.5
"""The published weight for MNIST. A squared error with this weight is a Gaussian of variance 1/4,
which is that of the noise."""

DIGITS_BETA = 0.05
JACOBIANS = 300
"""Rows that relevance is measured on."""

SAME: dict[str, Any] = {
    "network": "mlp", "hidden": (64,), "batch_size": 64, "lr_schedule": "cosine", "steps": 5000,
}  # fmt: skip
GAUSSIAN = {"likelihood": "gaussian", "sigma": (BETA / 2.0) ** 0.5, "capacity": None}
FITS: dict[str, dict[str, Any]] = {
    "ard-vae": {"recipe": "ard-vae", "beta": BETA},
    "vae": {"recipe": "beta-vae", "beta": 1.0, **GAUSSIAN},
    "unpenalised": {"recipe": "beta-vae", "beta": 1e-4, **GAUSSIAN},
}


def _mean(of: Callable[[Figures, int, int], float]) -> Callable[[Figures], float]:
    return lambda f: float(np.mean([of(f, truth, latents) for truth, latents in CELLS]))


def nearer(arm: str) -> Quantity:
    """Whether the count of axes is the data's, or goes with the number of latents."""

    def of(f: Figures, truth: int, latents: int) -> float:
        axes = np.log2(f[arm][f"axes_{truth}_{latents}"])
        return float(abs(axes - np.log2(truth)) - abs(axes - np.log2(latents)))

    return quantity(
        f"axes that {arm} finds, in octaves: distance from the true dimension, less distance from "
        "the number of latents, mean",
        _mean(of),
    )


def _relative(measure: str, to: str) -> Quantity:
    return quantity(
        f"{measure} of ard-vae divided by {to}, mean",
        _mean(lambda f, t, n: f["ard-vae"][f"{measure}_{t}_{n}"] / f[to][f"mse_{t}_{n}"]),
        null=1.0,
    )


def _off(f: Figures, arm: str, measure: str) -> float:
    return float(np.mean([abs(f[arm][f"{measure}_{t}_{n}"] - t) for t, n in CELLS]))


@experiment(
    "ard-vae",
    family="variational",
    catalogue=214,
    paper="Saha, Joshi, Whitaker 2025, ARD-VAE: A Statistical Formulation to Find the Relevant "
    "Latent Dimensions of Variational Autoencoders",
    statement="Letting the prior variances follow the data reveals the latent dimensions that the "
    "data need, whatever their number was set to.",
    headline="Relevant dimensions of MNIST, CIFAR-10, CelebA, dSprites and others by one setting, "
    "where the size of the latent space is otherwise found by trial and error (abstract; tables).",
    setting=f"{TRUTHS[0]} and {TRUTHS[1]} normal factors embedded in {WIDTH} dimensions by a layer "
    f"of {UNITS} tanh units, noise of {NOISE:g} on elements of unit variance, {ROWS} rows; and the "
    "8 x 8 digits. MLPs of 64 units, 16 and 64 latents (digits: 32 and 64), 5000 steps of 64 at a "
    f"cosine; all arms have the squared error in common, the ARD-VAE and the VAE the weight of the "
    f"KL ({BETA:g}; digits {DIGITS_BETA:g}). Axes: the fewest latents with 99 % of the relevance. "
    "Errors on held-out rows.",
    arms={
        "ard-vae": "prior variances that follow the codes",
        "vae": "positive control: the prior N(0, I) with the true noise, which is known to prune",
        "unpenalised": "control: a ten-thousandth of the KL, so that no latent costs anything",
        "digits": "the ARD-VAE on digits",
    },
    recipes=("ard-vae",),
    tuning=Tuning((7.5e-4, 3e-3, 1.2e-2), "mse", ("ard-vae", "vae", "unpenalised")),
    primary=Primary(
        nearer("ard-vae"), below=0.0, positive=nearer("vae"), negative=nearer("unpenalised")
    ),
    premises=(
        Premise(_relative("mse", "vae"), below=1.1,
                why="a model that rebuilds worse than the VAE has lost what it should find"),
    ),
    secondary=(
        Secondary(
            quantity("distance of the axes from the true dimension, less that of the VAE's active "
                     "units, mean", lambda f: _off(f, "ard-vae", "axes") - _off(f, "vae", "units")),
            below=0.0,
        ),
        Secondary(
            quantity("distance of the axes from the true dimension, mean",
                     lambda f: _off(f, "ard-vae", "axes")),
            below=2.0, source="ours",
        ),
        Secondary(_relative("mse", "vae"), below=1.03, source="ours"),
        Secondary(
            quantity("digits: variance that the axes found explain, relative to that of all, mean "
                     "of 32 and 64 latents",
                     lambda f: (f["digits"]["kept_32"] + f["digits"]["kept_64"]) / 2.0),
            above=0.98, source="ours",
        ),
        Secondary(
            quantity("digits: axes of 64 latents to those of 32, in octaves",
                     lambda f: float(np.log2(f["digits"]["axes_64"] / f["digits"]["axes_32"]))),
            below=0.5, source="ours",
        ),
    ),
)  # fmt: skip
def ard_vae(trial: Trial) -> dict[str, dict[str, float]]:
    """Three models for each true dimension and number of latents, and the ARD-VAE on digits."""
    figures: dict[str, dict[str, float]] = {arm: {} for arm in FITS}
    for truth, latents in CELLS:
        rows = embedded(truth, ROWS + HELD, trial.seed)
        for arm, options in FITS.items():
            model = trial.fit(X=rows[HELD:], latent_dim=latents, lr=trial.rate(arm, 3e-3),
                              **options, **SAME)  # fmt: skip
            measures = _measured(model, rows[:HELD])
            figures[arm] |= {f"{name}_{truth}_{latents}": x for name, x in measures.items()}
    for measures in figures.values():
        measures["mse"] = float(np.mean([measures[f"mse_{t}_{n}"] for t, n in CELLS]))
    return {**figures, "digits": _on_digits(trial)}


def _on_digits(trial: Trial) -> dict[str, float]:
    digits = data.load("digits").train
    flat = digits.reshape(len(digits), -1)
    flat = flat[np.random.default_rng(trial.seed).permutation(len(flat))]
    held = len(flat) // 5
    figures: dict[str, float] = {}
    for latents in ON_DIGITS:
        model = trial.fit("ard-vae", flat[held:], latent_dim=latents, beta=DIGITS_BETA,
                          lr=trial.rate("ard-vae", 3e-3), **SAME)  # fmt: skip
        measures = _measured(model, flat[:held])
        figures |= {f"{name}_{latents}": measures[name] for name in ("axes", "kept", "mse")}
    return figures


def embedded(dimension: int, rows: int, seed: int) -> np.ndarray:
    """Normal factors through a random layer of tanh units, with noise, ``(rows, 64)`` float32.

    Every element has unit variance before the noise is added.
    """
    rng = np.random.default_rng([seed, dimension])
    factors = rng.standard_normal((rows, dimension))
    inward = rng.standard_normal((dimension, UNITS)) * BEND / dimension**0.5
    smooth = np.tanh(factors @ inward) @ rng.standard_normal((UNITS, WIDTH))
    smooth = (smooth - smooth.mean(0)) / smooth.std(0)
    return (smooth + NOISE * rng.standard_normal(smooth.shape)).astype(np.float32)


def _measured(model: Autoencoder, test: np.ndarray) -> dict[str, float]:
    """Axes, active units, error, and the variance that the axes alone explain relative to all."""
    axes = relevant_axes(relevance(model, test, rows=JACOBIANS)).numpy()
    codes = np.asarray(model.encode(test))
    cut = np.zeros_like(codes)
    cut[:, axes] = codes[:, axes]
    whole, kept = (float(np.square(model.decode(z) - test).mean()) for z in (codes, cut))
    variance = float(test.var(0).mean())
    return {
        "axes": len(axes),
        "units": active_units(codes).value,
        "mse": whole,
        "kept": (variance - kept) / (variance - whole),
    }
