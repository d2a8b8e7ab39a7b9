"""How many latents an ARD-VAE finds, on data of known dimension and on digits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import isthmus
from isthmus import data
from isthmus.evaluation import active_units
from isthmus.recipes.variational.ard_vae import relevance, relevant_axes
from isthmus.studies import Check, Figures, Trial, study

STEPS = 2000
LATENTS = (16, 32, 64)
TRUTHS = (4, 8)
ROWS, HELD = 6144, 2048
WIDTH, UNITS = 64, 128
BEND = 0.5
"""Standard deviation of what the embedding's tanh units read: how far it is from linear."""

NOISE = 0.5
BETA = 0.5
"""Published for MNIST. A squared error with this weight is a Gaussian of variance 1/4, which is
that of the noise."""

DIGITS_BETA = 0.05
JACOBIANS = 300
"""Rows that relevance is measured on."""

BASELINES = ("vae", "beta-vae")
WORSE = 0.03
"""By how much an error must be higher to count as worse."""

SAME: dict[str, Any] = {
    "network": "mlp",
    "hidden": (64,),
    "batch_size": 64,
    "lr": 3e-3,
    "lr_schedule": "cosine",
    "progress": False,
}


@dataclass(frozen=True)
class _Set:
    """Rows to fit and to test, the numbers of latents tried on them, and the weight of the KL."""

    name: str
    rows: np.ndarray
    test: np.ndarray
    latents: tuple[int, ...]
    beta: float


def _sizes(name: str) -> tuple[int, ...]:
    return LATENTS[::2] if name == "digits" else LATENTS


def _cells(*names: str) -> Iterator[str]:
    """The keys of all sets and numbers of latents, such as ``4_16``."""
    for name in names or (*map(str, TRUTHS), "digits"):
        yield from (f"{name}_{latents}" for latents in _sizes(name))


def _off(f: Figures, arm: str = "ard-vae", sizes: tuple[int, ...] = LATENTS) -> float:
    """Largest distance of the number of axes found from the true dimension."""
    return max(abs(f[arm][f"axes_{t}_{latents}"] - t) for t in TRUTHS for latents in sizes)


def _spread(f: Figures, arm: str, measure: str, name: str) -> float:
    """Largest less smallest count over the numbers of latents."""
    counts = [f[arm][f"{measure}_{cell}"] for cell in _cells(name)]
    return max(counts) - min(counts)


def _largest_spread(f: Figures, arm: str, measure: str) -> float:
    return max(_spread(f, arm, measure, name) for name in (*map(str, TRUTHS), "digits"))


def _error(f: Figures, arm: str) -> float:
    """Test error relative to the VAE with the same weight of the KL, mean over all cells."""
    return float(np.mean([f[arm][f"mse_{cell}"] / f["vae"][f"mse_{cell}"] for cell in _cells()]))


def _is_beaten(f: Figures, arm: str, measure: str = "units") -> bool:
    """Whether a model's count depends more on the number of latents, or its error is worse."""
    varies = _largest_spread(f, arm, measure) > _largest_spread(f, "ard-vae", "axes")
    return varies or _error(f, arm) > (1.0 + WORSE) * _error(f, "ard-vae")


@study(
    "ard-vae",
    family="variational",
    catalogue=214,
    paper="Saha, Joshi, Whitaker 2025, ARD-VAE: A Statistical Formulation to Find the Relevant "
    "Latent Dimensions of Variational Autoencoders",
    statement="Letting the prior variances follow the data makes the VAE use, and reveal, only the "
    "latents that it needs, whatever their number was set to, without loss of quality.",
    headline="Dimensions found on MNIST, CIFAR-10 and CelebA depend little on 64 to 512 latents; "
    "FID as good as the best of VAE, beta-VAE, DIP-VAE, WAE and RAE (tables).",
    setting=f"{TRUTHS[0]} and {TRUTHS[1]} normal factors embedded in {WIDTH} dimensions by a layer "
    f"of {UNITS} tanh units, noise of {NOISE:g} on elements of unit variance, {ROWS} rows; and the "
    "8 x 8 digits. MLPs of 64 units, 16, 32 and 64 latents (digits: 16 and 64), "
    f"{STEPS} steps of 64 at a cosine from 0.003; all arms have the squared error and the weight "
    f"of the KL in common ({BETA:g}; digits {DIGITS_BETA:g}). Axes: the fewest latents with 99 % "
    "of the relevance. Errors on held-out rows.",
    arms={
        "ard-vae": "prior variances that follow the codes",
        "vae": "the prior N(0, I), the same weight of the KL",
        "beta-vae": "the prior N(0, I), four times the weight",
        "permuted": "control: the ARD-VAE on elements that were permuted independently",
        "random": "control: the ARD-VAE's codes with as many latents kept, drawn at random",
    },
    recipes=("ard-vae", "vae", "beta-vae"),
    checks=(
        Check(
            "largest distance of the axes found from the true dimension",
            _off,
            at_most=2.0,
            control=lambda f: _off(f, "permuted", LATENTS[1:2]),
        ),
        Check(
            "largest difference of the axes found over the numbers of latents",
            lambda f: _largest_spread(f, "ard-vae", "axes"),
            at_most=2.0,
        ),
        Check(
            "error that the axes found add to that of all latents, made data, mean",
            lambda f: _added(f, "ard-vae"),
            at_most=0.03,
            control=lambda f: _added(f, "random"),
        ),
        Check(
            "of VAE and beta-VAE, how many count less steadily or rebuild worse by 3 %",
            lambda f: sum(_is_beaten(f, arm) for arm in BASELINES),
            at_least=2.0,
            control=lambda f: 2.0 * _is_beaten(f, "ard-vae", "axes"),
        ),
        Check(
            "error of the ARD-VAE relative to the VAE's",
            lambda f: _error(f, "ard-vae"),
            at_most=1.0 + WORSE,
            control=lambda f: _error(f, "random"),
        ),
        Check(
            "error that the axes found add to that of all latents, digits, mean",
            lambda f: _added(f, "ard-vae", "digits"),
            at_most=0.03,
            control=lambda f: _added(f, "random", "digits"),
        ),
        Check(
            "largest distance of the VAE's axes from the true dimension",
            lambda f: _off(f, "vae"),
            at_most=2.0,
            required=False,
        ),
    ),
)
def ard_vae(trial: Trial) -> dict[str, dict[str, float]]:
    """Three models for each set and number of latents, and the two controls."""
    figures: dict[str, dict[str, float]] = {
        arm: {} for arm in ("ard-vae", "vae", "beta-vae", "permuted", "random")
    }
    rng = np.random.default_rng(trial.seed)
    for one in _sets(trial.seed):
        variants: dict[str, dict[str, Any]] = {
            "ard-vae": {"beta": one.beta},
            "vae": {"likelihood": "gaussian", "sigma": (one.beta / 2.0) ** 0.5},
            "beta-vae": {
                "likelihood": "gaussian",
                "sigma": (one.beta / 2.0) ** 0.5,
                "capacity": None,
                "beta": 4.0,
            },
        }
        for latents in one.latents:
            cell = f"{one.name}_{latents}"
            for arm, options in variants.items():
                model = _fitted(arm, one.rows, latents, trial, options)
                figures[arm] |= _measured(model, one.test, cell)
                if arm == "ard-vae":
                    axes = int(figures[arm][f"axes_{cell}"])
                    kept = rng.permutation(latents)[:axes]
                    error = _error_of(model, one.test, kept)
                    figures["random"] |= {f"mse_{cell}": error, f"mse_axes_{cell}": error}
        if one.name != "digits":
            rows, test = (rng.permuted(part, axis=0) for part in (one.rows, one.test))
            model = _fitted("ard-vae", rows, LATENTS[1], trial, variants["ard-vae"])
            figures["permuted"] |= _measured(model, test, f"{one.name}_{LATENTS[1]}")
    return figures


def _added(f: Figures, arm: str, *names: str) -> float:
    """Error with the axes found alone, above that with all of the ARD-VAE's latents, relative."""
    cells = list(_cells(*(names or map(str, TRUTHS))))
    whole = [f["ard-vae"][f"mse_{cell}"] for cell in cells]
    kept = [f[arm][f"mse_axes_{cell}"] for cell in cells]
    return float(np.mean(np.divide(kept, whole))) - 1.0


def _sets(seed: int) -> Iterator[_Set]:
    for truth in TRUTHS:
        rows = embedded(truth, ROWS + HELD, seed)
        yield _Set(str(truth), rows[HELD:], rows[:HELD], LATENTS, BETA)
    digits = data.load("digits").train
    flat = digits.reshape(len(digits), -1)
    flat = flat[np.random.default_rng(seed).permutation(len(flat))]
    held = len(flat) // 5
    yield _Set("digits", flat[held:], flat[:held], _sizes("digits"), DIGITS_BETA)


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


def _fitted(
    recipe: str, rows: np.ndarray, latents: int, trial: Trial, options: dict[str, Any]
) -> isthmus.Autoencoder:
    return isthmus.fit(
        recipe,
        rows,
        latent_dim=latents,
        steps=trial.steps(STEPS),
        seed=trial.seed,
        **SAME,
        **options,
    )


def _measured(model: isthmus.Autoencoder, test: np.ndarray, cell: str) -> dict[str, float]:
    axes = relevant_axes(relevance(model, test, rows=JACOBIANS)).numpy()
    codes = np.asarray(model.encode(test))
    return {
        f"axes_{cell}": len(axes),
        f"units_{cell}": active_units(codes).value,
        f"mse_{cell}": _error_of(model, test, np.arange(codes.shape[1])),
        f"mse_axes_{cell}": _error_of(model, test, axes),
    }


def _error_of(model: isthmus.Autoencoder, test: np.ndarray, kept: np.ndarray) -> float:
    """Squared error per element with all other latents at the prior's mean."""
    codes = np.asarray(model.encode(test))
    cut = np.zeros_like(codes)
    cut[:, kept] = codes[:, kept]
    return float(np.square(np.asarray(model.decode(cut)) - test).mean())
