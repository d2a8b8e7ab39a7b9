"""Active, mixed and passive latents, and what each does to the correlation of codes."""

from typing import Any

import numpy as np
import torch

import isthmus
from isthmus.anatomy import GaussianCode
from isthmus.data import Sprites
from isthmus.evaluation.probing import knn_probe, linear_probe
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.variational.activity import correlation, kinds_of_latents, total_correlation

STEPS = 3000
ROWS = 20_000
PROBED = 3000
"""Rows that probes are fitted on, and as many that they are scored on."""

BETAS = (1, 4, 8, 16)
SUBSETS = 20
"""Random choices of latents that the control averages over."""

SAME: dict[str, Any] = {
    "latent_dim": 10,
    "capacity": None,
    "network": "mlp",
    "hidden": (256, 256),
    "lr": 1e-3,
    "batch_size": 128,
    "progress": False,
}


def _arm(beta: int) -> str:
    return f"beta-{beta}"


def _least_rise(measure: str, f: Figures) -> float:
    """Least difference of a measure from one beta to the next."""
    return float(np.diff([f[_arm(beta)][measure] for beta in BETAS]).min())


def _with_passive(f: Figures) -> list[str]:
    """The arms that have a passive latent; all of them where none has."""
    arms = [_arm(beta) for beta in BETAS]
    return [arm for arm in arms if f[arm]["passive"] > 0] or arms


def _mean(measure: str, f: Figures) -> float:
    """Mean of a measure over the arms that have a passive latent."""
    return float(np.mean([f[arm][measure] for arm in _with_passive(f)]))


def _share(measure: str, f: Figures) -> float:
    """Difference of total correlations on some latents, relative to that on all; the worst arm."""
    return max(abs(f[arm][measure]) / f[arm]["tc_excess"] for arm in _with_passive(f))


@study(
    "passive-latents",
    family="variational",
    catalogue=24,
    paper="Bonheme, Grzes 2021, Be More Active! Understanding the Differences between Mean and "
    "Sampled Representations of Variational Autoencoders",
    statement="Mean codes look more correlated than sampled ones only because of passive latents; "
    "restricted to active latents both are equally disentangled, and dropping passive ones costs "
    "no accuracy.",
    headline="Models of disentanglement_lib on dSprites, Cars3D and SmallNorb: figures only.",
    setting="Sprites of 32 x 32 pixels with all five factors, "
    f"{ROWS} of them drawn at random; MLPs of two layers of 256 (the paper: convolutions), 10 "
    f"latents, {STEPS} steps of 128 at 0.001. Codes of all {ROWS} images; probes read shape and "
    f"scale, fitted on {PROBED} of them and scored on as many others.",
    arms={
        **{_arm(beta): f"beta-VAE, beta = {beta}" for beta in BETAS},
    },
    recipes=("beta-vae",),
    checks=(
        Check(
            "least rise from one beta to the next, in nats, of the total correlation that mean "
            "codes have more than sampled ones",
            lambda f: _least_rise("tc_excess", f),
            at_least=0.0,
            control=lambda f: _least_rise("tc_excess_active", f),
        ),
        Check(
            "that excess on active latents, relative to all latents, in the worst arm",
            lambda f: _share("tc_excess_active", f),
            at_most=0.1,
            control=lambda f: _share("tc_excess_random", f),
        ),
        Check(
            "largest |correlation| of a passive latent's samples with another latent",
            lambda f: max(f[arm]["sampled_correlation"] for arm in _with_passive(f)),
            at_most=0.05,
            control=lambda f: max(f[arm]["mean_correlation"] for arm in _with_passive(f)),
        ),
        Check(
            "largest |correlation| of a passive latent's means with another latent, mean over arms",
            lambda f: _mean("mean_correlation", f),
            at_least=0.3,
            control=lambda f: _mean("sampled_correlation", f),
        ),
        Check(
            "accuracy that a linear probe loses without the passive latents, mean over arms",
            lambda f: _mean("lost_passive", f),
            at_most=0.01,
            control=lambda f: _mean("lost_active", f),
        ),
        Check(
            "accuracy that nearest neighbours lose without the passive latents, mean over arms",
            lambda f: _mean("lost_passive_knn", f),
            at_most=0.01,
            control=lambda f: _mean("lost_active_knn", f),
            required=False,
        ),
    ),
)
def passive_latents(trial: Trial) -> dict[str, dict[str, float]]:
    """One model for each beta, and its latents by kind."""
    sprites = Sprites(32)
    drawn = torch.Generator().manual_seed(trial.seed)
    index = torch.randperm(len(sprites), generator=drawn)[:ROWS]
    images, factors = sprites.rows(index), sprites.factors(index).numpy()
    figures = {}
    for beta in BETAS:
        model = isthmus.fit(
            "beta-vae", images, beta=float(beta), steps=trial.steps(STEPS), seed=trial.seed, **SAME
        )
        code = model.encode(images, code=True)
        assert isinstance(code, GaussianCode)
        measured = _measured(code, factors[:, :2], trial.seed)
        error = np.square(model.reconstruct(images[:PROBED]) - images[:PROBED].numpy()).mean()
        figures[_arm(beta)] = {"mse": float(error), **measured}
    return figures


def _measured(code: GaussianCode, factors: np.ndarray, seed: int) -> dict[str, float]:
    """What each kind of latent does; factors ``(rows, 2)`` are classes for the probes."""
    means, logvar = code.mean.double().numpy(), code.logvar.double().numpy()
    rng = np.random.default_rng(seed)
    sampled = means + rng.standard_normal(means.shape) * np.exp(0.5 * logvar)
    kinds = kinds_of_latents(logvar)
    every = np.arange(means.shape[1])

    def excess(latents: np.ndarray) -> float:
        return total_correlation(means[:, latents]) - total_correlation(sampled[:, latents])

    chosen = [rng.permutation(every)[: len(kinds.active)] for _ in range(SUBSETS)]
    rest = {
        "passive": np.setdiff1d(every, kinds.passive),
        "active": np.setdiff1d(every, kinds.active),
    }
    accuracy = {name: _accuracy(means[:, kept], factors) for name, kept in rest.items()}
    whole = _accuracy(means, factors)
    return {
        "active": len(kinds.active),
        "mixed": len(kinds.mixed),
        "passive": len(kinds.passive),
        "tc_mean": total_correlation(means),
        "tc_sampled": total_correlation(sampled),
        "tc_excess": excess(every),
        "tc_excess_active": excess(kinds.active),
        "tc_excess_passive": excess(kinds.passive),
        "tc_excess_random": float(np.mean([excess(latents) for latents in chosen])),
        "mean_correlation": _largest(means, kinds.passive),
        "sampled_correlation": _largest(sampled, kinds.passive),
        "accuracy": whole["linear"],
        "accuracy_knn": whole["knn"],
        **{f"lost_{name}": whole["linear"] - found["linear"] for name, found in accuracy.items()},
        **{f"lost_{name}_knn": whole["knn"] - found["knn"] for name, found in accuracy.items()},
    }


def _largest(codes: np.ndarray, latents: np.ndarray) -> float:
    """Largest |correlation| of one of the latents with any other; 0 where there are none."""
    found = np.abs(correlation(codes))
    np.fill_diagonal(found, 0.0)
    return float(found[latents].max(initial=0.0))


def _accuracy(codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
    """Mean accuracy over the factors; without any latents that of the commonest class."""
    if codes.shape[1] == 0:
        codes = np.zeros((len(codes), 1))
    fitted, scored = slice(PROBED), slice(PROBED, 2 * PROBED)
    found: dict[str, list[float]] = {"linear": [], "knn": []}
    for factor in factors.T:
        split = codes[fitted], factor[fitted], codes[scored], factor[scored]
        found["linear"].append(linear_probe(*split).value)
        found["knn"].append(knn_probe(*split).value)
    return {name: float(np.mean(values)) for name, values in found.items()}
