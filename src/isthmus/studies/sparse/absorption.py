"""Feature absorption: a child's latent speaks for its parent, at any width and sparsity."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import isthmus
from isthmus.data import Planted
from isthmus.evaluation import Absorption, Result, recovery
from isthmus.studies import Check, Figures, Trial, study

ELEMENTS = 50
BATCH = 512
RATE = 1e-2

TOY = (-1, 0, -1, -1)
TOY_FREQUENCIES = (0.25, 0.05, 0.05, 0.05)
TOY_SIZES = (1.0, 1.0)
TOY_STEPS = 500
STARTS = 4
"""Initialisations of each toy dictionary, of which the one of the lowest error is judged."""

WEAK = 0.1
"""In the toy, a latent is silent up to this share of its largest value: TopK fills its places."""

TREE = (-1,) * 6 + tuple(range(6)) * 4
TREE_FREQUENCIES = (0.2,) * 6 + (0.05,) * 24
TREE_SIZES = (0.9, 1.1)
TREE_STEPS = 450
WIDTHS = (1, 2, 4, 8)
"""Latents of the dictionaries on the tree, in multiples of its 30 features."""
ACTIVE = (2, 4)
"""Active latents of these, below and above the 2.4 features that are on in the mean row."""


def _name(k: int, width: int) -> str:
    return f"rate_k{k}_x{width}"


def _least(figures: Mapping[str, float], k: int) -> float:
    """The lowest rate over widths."""
    return min(figures[_name(k, width)] for width in WIDTHS)


def _rise(figures: Mapping[str, float]) -> float:
    """How much higher the rate is at the smaller k, mean over widths."""
    sparse, loose = ACTIVE
    return float(np.mean([figures[_name(sparse, w)] - figures[_name(loose, w)] for w in WIDTHS]))


def _worst_toy(figures: Figures, measure: str, data: str = "hierarchy") -> float:
    return min(figures[f"{kind} on {data}"][measure] for kind in ("l1", "topk"))


def _most_silent(figures: Figures, data: str) -> float:
    return max(figures[f"{kind} on {data}"]["silence"] for kind in ("l1", "topk"))


@study(
    "absorption",
    family="sparse",
    catalogue=22,
    paper="Chanin, Wilken-Smith, Dulka, Bhatnagar, Golechha, Bloom 2024, A is for Absorption: "
    "Studying Feature Splitting and Absorption in Sparse Autoencoders",
    statement="A latent that seems to follow a general feature is silent where a narrower one is "
    "on, because that one's latent has absorbed its direction; neither more width nor another "
    "sparsity cures it.",
    headline="No number in the abstract. In the paper's toy of four features the child's latent "
    "takes over the parent's direction wherever both are on.",
    setting="Planted orthogonal features in 50 dimensions. Toy: four features of size 1, the first "
    "on in 25 % of the rows, the others in 5 %, the second only together with the first; "
    "dictionaries of four latents, 500 steps, of four initialisations the one of the lowest error; "
    "a latent is silent up to a tenth of its largest value. Tree: sizes 0.9 to 1.1, 6 parents on "
    "in 20 % of the rows, 24 children in 5 %; TopK dictionaries of 30 to 240 latents, 450 steps; a "
    "latent is silent at zero only. Batches of 512, held-out rows. Known truth stands in for the "
    "paper's first-letter task in language models.",
    arms={
        "l1 on hierarchy": "ReLU with an L1 penalty, four latents, the child implies the parent",
        "topk on hierarchy": "TopK with k = 2 on the same rows",
        "l1 on independent": "control: the same frequencies, the child fires on its own",
        "topk on independent": "control: TopK with k = 2 on those",
        "tree": "TopK on the tree, by k and by width in multiples of the 30 features",
        "independent": "control: the same dictionaries where all 30 features are independent",
        "matryoshka": "Matryoshka on the tree at k = 2 and four times the features",
    },
    recipes=("relu-l1", "topk", "matryoshka"),
    checks=(
        Check(
            "toy: rows with parent and child on where the parent's latent is silent, the lower of "
            "L1 and TopK",
            lambda f: _worst_toy(f, "silence"),
            at_least=0.9,
            control=lambda f: _most_silent(f, "independent"),
        ),
        Check(
            "toy: the same rows where child and parent are independent, the higher of L1 and TopK",
            lambda f: _most_silent(f, "independent"),
            at_most=0.05,
            control=lambda f: _most_silent(f, "hierarchy"),
        ),
        Check(
            "toy: cosine of the child's latent with the parent's direction, the lower of both",
            lambda f: _worst_toy(f, "child_cosine"),
            at_least=0.5,
            control=lambda f: max(
                f[f"{kind} on independent"]["child_cosine"] for kind in ("l1", "topk")
            ),
        ),
        Check(
            "tree: absorption at k = 2, the lowest of all widths",
            lambda f: _least(f["tree"], ACTIVE[0]),
            at_least=0.15,
            control=lambda f: _least(f["independent"], ACTIVE[0]),
        ),
        Check(
            "tree: absorption at k = 4, the lowest of all widths",
            lambda f: _least(f["tree"], ACTIVE[1]),
            at_least=0.15,
            control=lambda f: _least(f["independent"], ACTIVE[1]),
        ),
        Check(
            "tree: rise of absorption from k = 4 to k = 2, mean over widths",
            lambda f: _rise(f["tree"]),
            at_least=0.05,
            control=lambda f: _rise(f["independent"]),
        ),
        Check(
            "tree: absorption of TopK less that of Matryoshka, at k = 2 and four times the "
            "features",
            lambda f: f["tree"][_name(2, 4)] - f["matryoshka"][_name(2, 4)],
            at_least=0.05,
            required=False,
        ),
    ),
)
def absorption(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """The toy and the tree, each with its hierarchy and with independent features."""
    figures: dict[str, dict[str, float | Result]] = {}
    toys: dict[str, tuple[int, ...] | None] = {"hierarchy": TOY, "independent": None}
    for data, tree in toys.items():
        planted = _planted(tree, TOY_FREQUENCIES, TOY_SIZES, trial.seed)
        for kind, options in (
            ("l1", {"recipe": "relu-l1", "sparsity": 0.05}),
            ("topk", {"recipe": "topk", "k": 2}),
        ):
            figures[f"{kind} on {data}"] = _toy(planted, options, trial)
    trees: dict[str, tuple[int, ...] | None] = {"tree": TREE, "independent": None}
    for arm, tree in trees.items():
        planted = _planted(tree, TREE_FREQUENCIES, TREE_SIZES, trial.seed)
        figures[arm] = _sweep(planted, trial)
    figures["matryoshka"] = _matryoshka(
        _planted(TREE, TREE_FREQUENCIES, TREE_SIZES, trial.seed), trial
    )
    return figures


def _planted(
    tree: tuple[int, ...] | None,
    frequencies: tuple[float, ...],
    sizes: tuple[float, float],
    seed: int,
) -> Planted:
    return Planted(
        ELEMENTS,
        len(frequencies),
        frequencies=frequencies,
        magnitudes=sizes,
        tree=tree,
        geometry="orthogonal",
        seed=seed,
    )


def _toy(planted: Planted, options: dict[str, Any], trial: Trial) -> dict[str, float | Result]:
    """Several starts of one dictionary of four latents; the best one's figures."""
    rows = planted.sample(1 << 15, 0)[0]
    models = isthmus.fit_many(
        {str(start): {**options, "seed": STARTS * trial.seed + start} for start in range(STARTS)},
        rows,
        latent_dim=planted.truths,
        steps=trial.steps(TOY_STEPS),
        batch_size=BATCH,
        lr=RATE,
        lr_schedule="linear",
        average=None,
        data_seed=trial.seed,
        progress=False,
    )
    found = [isthmus.evaluate(model, rows[:8192]) for model in models.values()]
    best = min(range(STARTS), key=lambda start: found[start]["fvu"].value)
    model = models[str(best)]
    held, coefficients = planted.sample(8192, 1)
    strict, judged = (
        Absorption(model, held, coefficients, np.array(TOY), weak=weak) for weak in (0.0, WEAK)
    )
    return {
        "silence": judged.silence(),
        "silence_strict": strict.silence(),
        "absorption": judged.rate(),
        "child_cosine": judged.child_cosine(planted.directions),
        "fvu": found[best]["fvu"],
        "l0": found[best]["l0"],
        "recovered": recovery(model, planted.directions),
    }


def _sweep(planted: Planted, trial: Trial) -> dict[str, float | Result]:
    """Absorption of TopK by width and sparsity."""
    variants = {
        _name(k, width): {"recipe": "topk", "k": k, "latent_dim": width * planted.truths}
        for k in ACTIVE
        for width in WIDTHS
    }
    models = _fitted(variants, planted, trial)
    held, coefficients = planted.sample(8192, 1)
    figures: dict[str, float | Result] = {}
    for name, model in models.items():
        judged = Absorption(model, held, coefficients, np.array(TREE))
        tag = name.removeprefix("rate_")
        figures[name] = judged.rate()
        figures[f"silence_{tag}"] = judged.silence()
        figures[f"fvu_{tag}"] = isthmus.evaluate(model, held)["fvu"]
        figures[f"recovered_{tag}"] = recovery(model, planted.directions)
    return figures


def _matryoshka(planted: Planted, trial: Trial) -> dict[str, float | Result]:
    name = _name(2, 4)
    variants = {name: {"recipe": "matryoshka", "k": 2, "latent_dim": 4 * planted.truths}}
    model = _fitted(variants, planted, trial)[name]
    held, coefficients = planted.sample(8192, 1)
    found = isthmus.evaluate(model, held)
    return {
        name: Absorption(model, held, coefficients, np.array(TREE)).rate(),
        "fvu": found["fvu"],
        "l0": found["l0"],
    }


def _fitted(
    variants: dict[str, dict[str, Any]], planted: Planted, trial: Trial
) -> dict[str, isthmus.Autoencoder]:
    return isthmus.fit_many(
        variants,
        planted.sample(1 << 16, 0)[0],
        steps=trial.steps(TREE_STEPS),
        batch_size=BATCH,
        lr=3e-3,
        lr_schedule="linear",
        average=None,
        seed=trial.seed,
        progress=False,
    )
