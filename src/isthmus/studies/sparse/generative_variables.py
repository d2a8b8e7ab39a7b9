"""Variables that made the data, in a dictionary on an autoencoder's codes of exact simulations."""

# About 20 CPU seconds a seed: an autoencoder of 2000 steps and three dictionaries of 2000.

from typing import Any

import numpy as np
from sklearn.decomposition import FastICA
from sklearn.linear_model import Ridge

from isthmus.anatomy import Autoencoder
from isthmus.evaluation import fvu
from isthmus.studies import Premise, Primary, Secondary, Trial, Tuning, experiment, less, value
from isthmus.studies.control import STILL

ACCESS = (0.5, 0.1, 0.9)
"""How often each of the three hidden variables is open to the activity."""
OBSERVED, CODES, WIDTH, ACTIVE = 5, 4, 64, 3.0
ROWS, HELD, STEPS = 10_000, 4000, 2000
DICTIONARIES: dict[str, dict[str, Any]] = {"relu-l1": {"l0": ACTIVE}, "topk": {"k": int(ACTIVE)}}


@experiment(
    "generative-variables",
    family="sparse",
    catalogue=23,
    paper="Schuster 2024, Can sparse autoencoders make sense of latent representations?, "
    "arXiv:2410.11468",
    statement="The variables behind observed data lie in an autoencoder's codes as superpositions, "
    "and a dictionary on the codes recovers, to some extent, those that cause the data directly.",
    headline="Simulated counts (activity, access, hidden variables, observables) and single-cell "
    "data; a variable counts as recovered at a correlation of 0.95 with one latent; no number in "
    "the abstract.",
    recipes=("relu-l1", "topk", "plain"),
    setting=f"The paper's simulator: activity a is Poisson of mean 2, access b_j is Bernoulli of "
    f"{ACCESS}, hidden variables are t_j = a b_j, {OBSERVED} observables are t R with a binary R "
    f"of rank 3, drawn anew for each seed; {ROWS:,} rows and {HELD:,} to measure on. An "
    f"autoencoder with {CODES} codes and one hidden layer of 32; dictionaries of {WIDTH} latents "
    f"on its codes at an L0 of {ACTIVE:g}, {STEPS} steps of 256 rows. A variable's latent is "
    "chosen on one "
    "half of the rows, its correlation taken on the other. The best of 64 directions lies near any "
    "variable in four dimensions, whatever they are: what decides is therefore whether the "
    "dictionary does better than as many random ones; neurons, of which there are four, stand "
    "beside it.",
    arms={
        "relu-l1": "ReLU with an L1 penalty on the codes",
        "topk": "TopK on the codes",
        "untrained": "the ReLU dictionary before its first step: as many random directions",
        "untrained again": "control: other random directions",
        "neurons": "the codes themselves",
        "ica": "independent components of the codes",
        "probe": "positive control: one ridge regression on the codes for each variable",
    },
    tuning=Tuning((6e-4, 2.4e-3, 9.6e-3), "fvu", ("relu-l1", "topk")),
    primary=Primary(
        less("hidden", "relu-l1", than="untrained"),
        above=0.0, positive="probe", negative="untrained again",
    ),
    premises=(
        Premise(
            value("hidden", "probe"), above=0.95, why="what the codes do not hold cannot be found"
        ),
        Premise(value("fvu", "relu-l1"), below=0.2, why="the dictionary has learnt the codes"),
    ),
    secondary=(
        Secondary(less("hidden", "topk", than="untrained"), above=0.0),
        Secondary(less("hidden", "relu-l1", than="neurons"), above=0.0),
        Secondary(less("hidden", "relu-l1", than="ica"), above=0.0),
        Secondary(
            less(("activity", "access"), "relu-l1", than="probe").named(
                "activity and access of relu-l1, less those of the probe"
            ),
            below=0.0,
        ),
    ),
)  # fmt: skip
def generative_variables(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: an autoencoder of simulated counts, and what is found in its codes."""
    rng = np.random.default_rng(trial.seed)
    mixing = binary(rng)
    (seen, known), (held, truth) = (
        simulated(trial.rows(count), mixing, rng) for count in (ROWS, HELD)
    )
    host = trial.fit("plain", seen, steps=STEPS, latent_dim=CODES, network="mlp", hidden=(32,),
                     batch_size=256, lr=2e-3)  # fmt: skip
    codes, unseen = (np.asarray(host.encode(rows)) for rows in (seen, held))
    shared: dict[str, Any] = {"latent_dim": WIDTH, "batch_size": 256, "average": None}
    models: dict[str, Autoencoder] = {
        arm: trial.fit(arm, codes, steps=STEPS, lr=trial.rate(arm, 2.4e-3), **shared, **options)
        for arm, options in DICTIONARIES.items()
    }
    for arm, seed in (("untrained", trial.seed), ("untrained again", trial.seed + 1000)):
        models[arm] = trial.fit("relu-l1", codes, steps=1, lr=STILL, seed=seed, **shared,
                                **DICTIONARIES["relu-l1"])  # fmt: skip
    figures = {}
    for arm, model in models.items():
        figures[arm] = correlated(np.asarray(model.encode(unseen)), truth)
        figures[arm]["fvu"] = float(fvu(unseen, np.asarray(model.reconstruct(unseen))).value)
    figures["neurons"] = correlated(unseen, truth)
    ica = FastICA(random_state=trial.seed, whiten="unit-variance", max_iter=2000, tol=1e-3)
    figures["ica"] = correlated(ica.fit(codes).transform(unseen), truth)
    probes = [Ridge(1e-3).fit(codes, column).predict(unseen) for column in known.T]
    figures["probe"] = correlated(np.stack(probes, 1), truth)
    return figures


def binary(rng: np.random.Generator) -> np.ndarray:
    """A binary matrix ``(3, 5)`` of rank 3, in which every observable has a cause."""
    while True:
        mixing = (rng.random((len(ACCESS), OBSERVED)) < 0.5).astype(float)
        if np.linalg.matrix_rank(mixing) == len(ACCESS) and mixing.any(0).all():
            return mixing


def simulated(
    rows: int, mixing: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Observables float32 ``(rows, 5)``; variables ``(rows, 7)``: activity, access, hidden ones."""
    activity = rng.poisson(2.0, (rows, 1))
    access = rng.random((rows, len(ACCESS))) < ACCESS
    hidden = activity * access
    return (hidden @ mixing).astype(np.float32), np.hstack([activity, access, hidden]).astype(float)


def correlated(units: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Correlation of each variable's best unit: of activity, access and hidden variables (means).

    ``units`` is ``(rows, units)``, ``truth`` as of :func:`simulated`. The unit is chosen on the
    first half of the rows by its absolute correlation, which is then taken on the second.
    """
    parts = np.array_split(np.arange(len(units)), 2)
    first, second = (_correlations(units[part], truth[part]) for part in parts)
    best = second[first.argmax(0), np.arange(truth.shape[1])]
    ends = 1, 1 + len(ACCESS)
    return {
        name: float(part.mean())
        for name, part in zip(("activity", "access", "hidden"), np.split(best, ends), strict=True)
    }


def _correlations(units: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Absolute ones, ``(units, variables)``; a unit that does not vary has none."""
    a, b = ((x - x.mean(0)) / np.maximum(x.std(0), 1e-12) for x in (units, truth))
    correlations: np.ndarray = np.abs(a.T @ b) / len(a)
    return correlations
