"""Sparsey: do codes of examples that were each stored once overlap as the examples do?"""

# About 20 CPU seconds a seed: two memories of 2000 images at 3 ms, and their neighbours.

import numpy as np
from scipy.stats import spearmanr

from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, value
from isthmus.studies.benches.images import images

CLASSES, EACH, HELD = 10, 200, 2000
PAIRS = 20_000
LEVEL = 0.5
BENCH = images("mnist", rows=20_000, held=HELD, side=14)


@experiment(
    "sparsey",
    family="sparse",
    catalogue=186,
    paper="Rinkus, Leveille 2017, Superposed Episodic and Semantic Memory via Sparse Distributed "
    "Representation, arXiv:1710.07829",
    statement="Storing each example once, with winners drawn the more at random the less familiar "
    "it is, keeps the similarity of examples as the overlap of their codes, so that recall and "
    "classification come from one memory.",
    headline="MNIST, 200 images a class, one pass: 91 % of test images classified (the author's "
    "page; 16 x 24 pixels, binary and thinned to skeletons); similarity of inputs becomes overlap "
    "of codes, without a number in the abstract.",
    needs=BENCH.needs,
    recipes=("sparsey",),
    setting=f"MNIST at 14 x 14 pixels, active above {LEVEL}, {EACH} images a class, {HELD:,} test "
    "images; 49 fields of 24 modules of 16 units. Rank correlation (Spearman) over "
    f"{PAIRS:,} pairs of stored images between the number of pixels that are active in both and "
    "the number of winners that they share. The class of a test image is that of the stored image "
    "with which it shares the most winners. No skeletons, labels or levels.",
    arms={
        "sparsey": "codes of the memory, winners drawn by familiarity while it was written",
        "random": "one winner of each module at random, whatever the image",
        "blind": "the memory with winners drawn at random while it was written (no expansion)",
        "moved": "control: the codes of sparsey, dealt out to other images",
        "pixels": "positive control: the active pixels as their own code",
    },
    primary=Primary(
        less("rank_correlation", "sparsey", than="random"),
        above=0.0, positive="pixels", negative="moved",
    ),
    premises=(
        Premise(
            value("accuracy", "pixels"), above=0.5,
            why="what pixels images share says something of their class",
        ),
        Premise(
            value("distinct", "sparsey"), above=0.5,
            why="most images have a code of their own, and no one code is shared by all",
        ),
    ),
    secondary=(
        Secondary(less("rank_correlation", "sparsey", than="blind"), above=0.0),
        Secondary(less("accuracy", "sparsey", than="pixels"), above=0.0),
        Secondary(
            value("accuracy", "sparsey"), above=0.91, source="paper",
            place="the author's page of results on MNIST, skeletons of 16 x 24 pixels",
        ),
        Secondary(value("recalled", "sparsey"), above=0.95, source="ours", place="exact recall"),
    ),
)  # fmt: skip
def sparsey(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: two memories of the same images, and codes that ask no memory."""
    ground = BENCH.open(trial)
    classes, rng = ground.known["classes"], np.random.default_rng([trial.seed, 1])
    some = np.concatenate([np.flatnonzero(classes == one)[:EACH] for one in range(CLASSES)])
    stored, seen = (ground.rows[some] > LEVEL).astype(np.float32), classes[some]
    held, truth = (ground.held > LEVEL).astype(np.float32), ground.known["truth"]
    pixels = [part.reshape(len(part), -1) for part in (stored, held)]
    pairs = rng.integers(len(stored), size=(2, trial.rows(PAIRS)))
    pairs = pairs[:, pairs[0] != pairs[1]]
    codes, figures = {"pixels": pixels}, {}
    for arm, options in (("sparsey", {}), ("blind", {"expansion": 0.0})):
        memory = trial.fit("sparsey", stored, steps=1, **options)
        codes[arm] = [np.asarray(memory.encode(part)) for part in (stored, held)]
        equal = np.asarray(memory.reconstruct(stored)) == stored
        figures[arm] = {
            "recalled": float(equal.reshape(len(stored), -1).all(1).mean()),
            "distinct": len(np.unique(codes[arm][0], axis=0)) / len(stored),
            "set": memory.history[0]["set"],
        }
    codes["moved"] = [part[rng.permutation(len(part))] for part in codes["sparsey"]]
    codes["random"] = [random_codes(len(part), rng) for part in (stored, held)]
    for arm, (inside, outside) in codes.items():
        figures[arm] = {
            **figures.get(arm, {}),
            "rank_correlation": rank_correlation(pixels[0], inside, pairs),
            "accuracy": float((seen[nearest(outside, inside)] == truth).mean()),
        }
    return figures


def rank_correlation(pixels: np.ndarray, codes: np.ndarray, pairs: np.ndarray) -> float:
    """Spearman's correlation over pairs ``(2, n)`` of what is active in both: pixels and codes."""
    shared = [(part @ part.T)[pairs[0], pairs[1]] for part in (pixels, codes)]
    return float(spearmanr(*shared).statistic)


def nearest(codes: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The stored code with which each code shares the most, the first of several."""
    shared: np.ndarray = (codes @ stored.T).argmax(1)
    return shared


def random_codes(
    n: int, rng: np.random.Generator, modules: int = 49 * 24, units: int = 16
) -> np.ndarray:
    """Codes of one winner in each module, drawn at random, ``(n, modules * units)``."""
    winners = rng.integers(units, size=(n, modules))
    return np.eye(units, dtype=np.float32)[winners].reshape(n, -1)
