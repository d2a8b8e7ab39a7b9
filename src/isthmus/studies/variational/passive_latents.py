"""Which latents make mean codes more correlated than sampled ones."""

from collections.abc import Callable
from typing import Any

import numpy as np

from isthmus.anatomy import Autoencoder
from isthmus.evaluation.probing import knn_probe
from isthmus.studies import Figures, Premise, Primary, Secondary, Trial, experiment, quantity
from isthmus.studies.benches.factors import BY_PIXELS, factors, posterior
from isthmus.studies.variational.activity import correlation, kinds_of_latents, total_correlation

# A seed: 3 fits of 10,000 steps at 3 ms, about 1.5 CPU minutes.

BENCH = factors(turns=8, places=10)
BETAS = (1, 8, 16)
STRONG = ("beta-8", "beta-16")
SUBSETS, PROBED = 20, 3000
SAME: dict[str, Any] = {
    "latent_dim": 10, "capacity": None, "network": "mlp", "hidden": (128, 128), "lr": 1e-3,
    "batch_size": 128, "steps": 10_000,
}  # fmt: skip


def _mean(of: Callable[[dict[str, float]], float]) -> Callable[[Figures], float]:
    return lambda f: float(np.mean([of(dict(f[arm])) for arm in STRONG]))


def _spared(measures: dict[str, float]) -> float:
    return measures["tc_excess_random"] - measures["tc_excess_active"]


@experiment(
    "passive-latents",
    family="variational",
    catalogue=24,
    paper="Bonheme, Grzes 2021, Be More Active! Understanding the Differences between Mean and "
    "Sampled Representations of Variational Autoencoders",
    statement="Mean codes look more correlated than sampled ones because of their passive latents: "
    "on the active ones there is no such difference.",
    headline="Models of disentanglement_lib on dSprites, Cars3D and SmallNorb: passive latents "
    '"are responsible for the discrepancies", highly correlated in their means and "fully '
    'uncorrelated" in samples (abstract; figures only).',
    setting=f"{BENCH.setting} MLPs of two layers of 128 (the paper: convolutions), 10 latents, "
    "10,000 steps of 128. Total correlations are Gaussian, -1/2 log det of the correlations; the "
    "excess is that of means less that of samples. Dropping passive and mixed latents is compared "
    f"with keeping as many drawn at random, mean of {SUBSETS} draws.",
    arms={
        **{f"beta-{beta}": f"beta-VAE, beta = {beta}" for beta in BETAS},
        "planted": "positive control: four independent codes, and six passive ones that echo them",
    },
    recipes=("beta-vae",),
    primary=Primary(
        quantity(
            "excess on latents drawn at random, less that on as many active ones, nats, mean of "
            "beta = 8 and 16",
            _mean(_spared),
        ),
        above=0.0,
        positive=quantity("the same of planted codes", lambda f: _spared(dict(f["planted"]))),
        negative=quantity(
            "the same with other random latents in place of the active ones",
            _mean(lambda measures: measures["tc_excess_random"] - measures["tc_excess_again"]),
        ),
    ),
    premises=(
        Premise(quantity("passive latents, mean of beta = 8 and 16", _mean(lambda x: x["passive"])),
                above=0.99, why="without passive latents there is nothing to drop"),
        Premise(quantity("active latents, mean of beta = 8 and 16", _mean(lambda x: x["active"])),
                above=1.99, why="a single latent has no total correlation"),
    ),
    secondary=(
        Secondary(
            quantity("excess on all latents at beta = 16, less that at 1, nats",
                     lambda f: f["beta-16"]["tc_excess"] - f["beta-1"]["tc_excess"]),
            above=0.0,
        ),
        Secondary(
            quantity("|excess| on the active latents relative to that on all, beta = 8 and 16",
                     _mean(lambda x: abs(x["tc_excess_active"]) / x["tc_excess"])),
            below=0.1, source="ours",
        ),
        Secondary(
            quantity(
                "largest |correlation| of a passive latent with any other: of means, less of "
                "samples",
                _mean(lambda x: x["mean_correlation"] - x["sampled_correlation"]),
            ),
            above=0.0,
        ),
        Secondary(
            quantity("accuracy that nearest neighbours gain without the passive latents, codes not "
                     "standardised",
                     _mean(lambda x: x["gained_without_passive"])),
            above=0.0,
        ),
    ),
)  # fmt: skip
def passive_latents(trial: Trial) -> dict[str, dict[str, float]]:
    """One model for each beta and its latents by kind, and codes whose kinds are planted."""
    ground = BENCH.open(trial)
    figures = {}
    for beta in BETAS:
        model = trial.fit("beta-vae", ground.rows, beta=beta * BY_PIXELS, **SAME)
        assert isinstance(model, Autoencoder)
        moments = posterior(model, ground.held)
        figures[f"beta-{beta}"] = measured(*moments, ground.known["factors"][:, :2], trial.seed)
    moments = planted(len(ground.held), trial.seed)
    return {**figures, "planted": measured(*moments, ground.known["factors"][:, :2], trial.seed)}


def planted(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and log-variances ``(rows, 10)``: four active latents, six that echo them faintly."""
    rng = np.random.default_rng(seed)
    active = rng.standard_normal((rows, 4))
    echo = 0.01 * (active @ rng.standard_normal((4, 6)) + 0.3 * rng.standard_normal((rows, 6)))
    return np.hstack([active, echo]), np.repeat([[-6.0] * 4 + [0.0] * 6], rows, axis=0)


def measured(
    means: np.ndarray, logvar: np.ndarray, factors: np.ndarray, seed: int
) -> dict[str, float]:
    """What each kind of latent does; factors ``(rows, 2)`` are classes for the probe."""
    rng = np.random.default_rng(seed)
    sampled = means + rng.standard_normal(means.shape) * np.exp(0.5 * logvar)
    kinds = kinds_of_latents(logvar)
    every = np.arange(means.shape[1])

    def excess(latents: np.ndarray) -> float:
        return total_correlation(means[:, latents]) - total_correlation(sampled[:, latents])

    def at_random() -> float:
        subsets = [rng.permutation(every)[: len(kinds.active)] for _ in range(SUBSETS)]
        return float(np.mean([excess(latents) for latents in subsets]))

    kept = np.setdiff1d(every, kinds.passive)
    return {
        "active": len(kinds.active),
        "mixed": len(kinds.mixed),
        "passive": len(kinds.passive),
        "tc_excess": excess(every),
        "tc_excess_active": excess(kinds.active),
        "tc_excess_random": at_random(),
        "tc_excess_again": at_random(),
        "mean_correlation": _largest(means, kinds.passive),
        "sampled_correlation": _largest(sampled, kinds.passive),
        "gained_without_passive": _accuracy(means[:, kept], factors) - _accuracy(means, factors),
    }


def _largest(codes: np.ndarray, latents: np.ndarray) -> float:
    """Largest |correlation| of one of the latents with any other; 0 where there are none."""
    sizes = np.abs(correlation(codes))
    np.fill_diagonal(sizes, 0.0)
    return float(sizes[latents].max(initial=0.0))


def _accuracy(codes: np.ndarray, factors: np.ndarray) -> float:
    """Mean accuracy of nearest neighbours; without latents that of the commonest class.

    Standardised, the means of passive latents would be as large as the others.
    """
    if codes.shape[1] == 0:
        codes = np.zeros((len(codes), 1))
    part = min(PROBED, len(codes) // 2)
    split = slice(part), slice(part, 2 * part)
    return float(np.mean([
        knn_probe(*(x[s] for s in split for x in (codes, one)), standardise=False).value
        for one in factors.T
    ]))  # fmt: skip
