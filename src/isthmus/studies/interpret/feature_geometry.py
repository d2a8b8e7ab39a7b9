"""Lobes: do latents that fire in the same passages lie near each other in the decoder?"""

# About 40 CPU seconds a seed: a fit of 1500 steps at 6 ms, activations, six spectral clusterings.

import numpy as np
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_mutual_info_score

from isthmus.evaluation import fvu
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.benches.atoms import atoms_of
from isthmus.studies.benches.language import NEEDS, POINT, WIDTHS, rows

TOKENS, HELD, BLOCK = 120_000, 170_000, 256
WIDTH, ACTIVE, STEPS, RATE = 2048, 8, 1500, 2.4e-3
LOBES, MOST, SHUFFLES = 3, 1000, 100
SELDOM, OFTEN = 0.05, 0.95
"""Latents that are on in a smaller or a larger share of the blocks say nothing of passages."""


@experiment(
    "feature-geometry",
    family="interpret",
    catalogue=1,
    paper="Li, Michaud, Baek, Engels, Sun, Tegmark 2024, The Geometry of Concepts: Sparse "
    "Autoencoder Feature Structure, arXiv:2410.19750",
    statement="Clusters of latents that occur together also cluster in space far more than one "
    "would expect if the geometry of features were random, and their point cloud is not isotropic.",
    headline="Gemma-2-2B, dictionary of 16,384 latents, blocks of 256 tokens: lobes by the phi "
    "coefficient agree with clusters by decoder cosine far beyond chance.",
    recipes=("topk",),
    needs=NEEDS,
    setting=f"Residual stream of the resident model after {POINT} (width {WIDTHS['resident']}), "
    f"{TOKENS:,} tokens; width {WIDTH}, k = {ACTIVE}, {STEPS} steps of 512 rows. Firing in blocks "
    f"of {BLOCK} tokens of {HELD:,} others; of the latents that are on in {SELDOM:.0%} to "
    f"{OFTEN:.0%} of the blocks at most {MOST:,}, drawn by the seed. {LOBES} lobes by spectral "
    f"clustering of phi, as many clusters of the angles of the atoms; adjusted mutual information, "
    f"against the mean of {SHUFFLES} shuffles of the second labels. Crystals are not looked for.",
    arms={
        "dictionary": "lobes by phi, clusters by the angles of the atoms",
        "shuffled": "the same labels, those of the atoms dealt out to other latents (mean)",
        "random": "control: clusters of isotropic random directions",
        "halves": "positive control: lobes of every other block, lobes of the rest",
    },
    primary=Primary(
        less("ami", "dictionary", than="shuffled"), above=0.0, positive="halves",
        negative="random",
    ),
    premises=(
        Premise(value("fvu", "dictionary"), below=0.5, why="the dictionary has learnt the rows"),
        Premise(
            value("latents", "dictionary"), above=200.0,
            why="lobes need latents that are on in some passages and off in others",
        ),
    ),
    secondary=(
        Secondary(
            less("slope", "dictionary", than="random").named(
                "slope of the log eigenvalues on the log rank, less that of random atoms"
            ),
            below=0.0,
        ),
    ),
)  # fmt: skip
def feature_geometry(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: a dictionary, its lobes, and how its atoms cluster."""
    seen = rows("train", POINT, trial.seed, trial.rows(TOKENS))
    # A probe, too, needs blocks enough for a correlation.
    held = rows("test", POINT, trial.seed, trial.rows(HELD, least=40 * BLOCK))
    model = trial.fit("topk", seen, steps=STEPS, k=ACTIVE, latent_dim=WIDTH, batch_size=512,
                      lr=RATE, average=None)  # fmt: skip
    codes = [np.asarray(model.encode(part)) != 0 for part in np.array_split(held, 16)]
    on = in_blocks(np.concatenate(codes), BLOCK)
    rng = np.random.default_rng([trial.seed, 1])
    kept = usable(on, rng)
    on, atoms = on[:, kept], atoms_of(model)[kept]
    lobes = clustered(1.0 + phi(on), trial.seed)
    places = clustered(nearness(atoms), trial.seed)
    random = rng.standard_normal(atoms.shape)
    halves = [clustered(1.0 + phi(on[half::2]), trial.seed) for half in (0, 1)]
    shuffled = [_agreement(lobes, rng.permutation(places)) for _ in range(SHUFFLES)]
    return {
        "dictionary": {
            "ami": _agreement(lobes, places), "slope": slope(atoms), "latents": float(len(atoms)),
            "fvu": float(fvu(held[:8192], np.asarray(model.reconstruct(held[:8192]))).value),
        },
        "shuffled": {"ami": float(np.mean(shuffled))},
        "random": {
            "ami": _agreement(lobes, clustered(nearness(random), trial.seed)),
            "slope": slope(random),
        },
        "halves": {"ami": _agreement(*halves)},
    }  # fmt: skip


def in_blocks(active: np.ndarray, block: int) -> np.ndarray:
    """Whether a latent is on anywhere in each block of rows, bool ``(blocks, latents)``."""
    blocks = len(active) // block
    return np.asarray(active[: blocks * block].reshape(blocks, block, -1).any(1))


def usable(on: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the latents that are on in some blocks and off in others, in either half."""
    shares = np.stack([on[half::2].mean(0) for half in (0, 1)])
    numbers = np.flatnonzero(((shares > SELDOM) & (shares < OFTEN)).all(0))
    return np.sort(rng.permutation(numbers)[:MOST])


def phi(on: np.ndarray) -> np.ndarray:
    """The phi coefficient of every two columns: Pearson's correlation of what is on and off."""
    return np.asarray(np.corrcoef(on.astype(np.float64), rowvar=False))


def nearness(atoms: np.ndarray) -> np.ndarray:
    """1 less the angle between two atoms, in half turns."""
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    near: np.ndarray = 1.0 - np.arccos(np.clip(unit @ unit.T, -1.0, 1.0)) / np.pi
    return near


def clustered(affinity: np.ndarray, seed: int) -> np.ndarray:
    """Labels by spectral clustering of affinities that are not negative."""
    spectral = SpectralClustering(LOBES, affinity="precomputed", random_state=seed)
    labels: np.ndarray = spectral.fit_predict(np.clip((affinity + affinity.T) / 2.0, 0.0, None))
    return labels


def slope(atoms: np.ndarray) -> float:
    """Slope of the covariance's eigenvalues on their rank, both in logarithms."""
    centred = atoms - atoms.mean(0)
    eigenvalues = np.linalg.svd(centred, compute_uv=False)[: min(centred.shape) - 1] ** 2
    ranks = np.log(np.arange(1, len(eigenvalues) + 1))
    return float(np.polyfit(ranks, np.log(eigenvalues), 1)[0])


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    return float(adjusted_mutual_info_score(a, b))
