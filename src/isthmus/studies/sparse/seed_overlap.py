"""Seed overlap: do dictionaries that differ in their initialisation alone find the same latents?"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

import isthmus
from isthmus import data
from isthmus.anatomy import linear_decoder
from isthmus.data import Planted
from isthmus.evaluation import Firing, Result, mean_max_cosine, recovery, seed_stability
from isthmus.studies import Check, Figures, Trial, study

STARTS = 3
"""Initialisations of each dictionary, all of which see the same rows in the same order."""

ELEMENTS, TRUTHS, ACTIVE, NOISE = 64, 128, 4, 0.01
WIDTHS = (1, 4, 8)
"""Latents on planted data, in multiples of the true features."""
PLANTED_STEPS = 600

REAL = "resnet18_cifar10_0"
REAL_WIDTH, REAL_ACTIVE, REAL_STEPS = 512, 16, 400
RELU_SHORT = 0.94
"""Where ReLU is held on activations, relative to k: its L0 is higher on held-out rows."""
HELD = 500
"""Rows of the real activations on which no dictionary is trained."""

KINDS: dict[str, dict[str, Any]] = {"topk": {"recipe": "topk"}, "relu-l1": {"recipe": "relu-l1"}}

Measured = dict[str, float | Result]


def _name(width: int) -> str:
    return f"overlap_x{width}"


def _at(figures: Figures, width: int) -> list[float]:
    """The overlap of both kinds at that width on planted data."""
    return [figures[kind][_name(width)] for kind in KINDS]


def _l0_gap(figures: Mapping[str, Mapping[str, float]]) -> float:
    """The largest relative difference in L0 between the kinds, over all data and widths."""
    first, second = (figures[kind] for kind in KINDS)
    names = [name for name in first if name.startswith("l0_")]
    gaps = [second[name] / first[name] for name in names]
    gaps.append(figures["relu-l1 on activations"]["l0"] / figures["topk on activations"]["l0"])
    return max(abs(gap - 1.0) for gap in gaps)


@study(
    "seed-overlap",
    family="sparse",
    catalogue=82,
    paper="Paulo, Belrose 2025, Sparse Autoencoders Trained on the Same Data Learn Different "
    "Features",
    statement="Dictionaries that differ in their initialisation alone find different features; the "
    "overlap falls with the width, and TopK is less stable than ReLU with an L1 penalty at the "
    "same sparsity.",
    headline="Llama-3-8B, MLP of one layer, 131,072 latents: 30 % of the latents are shared "
    "between seeds.",
    setting="Planted data: 128 directions in 64 dimensions, 4 active, noise 0.01; width 128, 512 "
    "and 1024; 600 steps of 512 rows. Real activations in place of a language model's: ResNet-18 "
    "features of 5263 CIFAR-10 images, width 512, L0 16, 400 steps of 512 rows. Three "
    "initialisations each, the same rows in the same order; a latent is shared where pairings by "
    "decoder and by encoder agree at a decoder cosine above 0.7. Latents silent on held-out rows "
    "are left out.",
    arms={
        "topk": "TopK with k = 4 on planted data, by width in multiples of the 128 directions",
        "relu-l1": "ReLU with an L1 penalty on the same rows, held at L0 = 4",
        "topk on activations": "TopK with k = 16 on ResNet-18 features",
        "relu-l1 on activations": "ReLU with an L1 penalty on these, near L0 = 16 on held-out rows",
        "untrained": "control: dictionaries of both kinds before training",
    },
    recipes=("topk", "relu-l1"),
    needs=(REAL,),
    checks=(
        Check(
            "overlap where the dictionary is as wide as the truth, the lower of TopK and ReLU",
            lambda f: min(_at(f, WIDTHS[0])),
            at_least=0.8,
            control=lambda f: f["untrained"][_name(WIDTHS[0])],
        ),
        Check(
            "overlap at eight times that width, the higher of TopK and ReLU",
            lambda f: max(_at(f, WIDTHS[-1])),
            at_most=0.6,
            control=lambda f: min(_at(f, WIDTHS[0])),
        ),
        Check(
            "ReLU's overlap on activations less that of TopK",
            lambda f: f["relu-l1 on activations"]["overlap"] - f["topk on activations"]["overlap"],
            at_least=0.05,
            control=lambda f: f["untrained"]["gap_on_activations"],
        ),
        Check(
            "cosine with the nearest truth at eight times the width: latents that are shared less "
            "those that are not, the lower of TopK and ReLU",
            lambda f: min(f[kind][f"shared_gain_x{WIDTHS[-1]}"] for kind in KINDS),
            at_least=0.05,
            control=lambda f: max(f[kind][f"random_gain_x{WIDTHS[-1]}"] for kind in KINDS),
        ),
        Check(
            "L0 of ReLU relative to TopK: the largest deviation from 1, over data and widths",
            _l0_gap,
            at_most=0.1,
            premise=True,
        ),
    ),
)
def seed_overlap(trial: Trial) -> dict[str, Measured]:
    """Three starts of every dictionary; what they share, and how near it is to the truth."""
    planted = Planted(ELEMENTS, TRUTHS, float(ACTIVE), noise=NOISE, seed=trial.seed)
    rows, held = planted.sample(1 << 16, 0)[0], planted.sample(4096, 1)[0]
    figures: dict[str, Measured] = {kind: {} for kind in KINDS}
    for width in WIDTHS:
        steps = trial.steps(PLANTED_STEPS)
        found = _starts(rows, TRUTHS * width, ACTIVE, float(ACTIVE), steps, trial.seed)
        for kind, models in found.items():
            about = _overlap(models, held) | _near_truth(models, held, planted, trial.seed)
            figures[kind] |= {f"{name}_x{width}": value for name, value in about.items()}
    x = data.load(REAL).train.astype(np.float32)
    x = x[np.random.default_rng(trial.seed).permutation(len(x))]
    l0 = RELU_SHORT * REAL_ACTIVE
    found = _starts(x[HELD:], REAL_WIDTH, REAL_ACTIVE, l0, trial.steps(REAL_STEPS), trial.seed)
    for kind, models in found.items():
        figures[f"{kind} on activations"] = _overlap(models, x[:HELD])
    figures["untrained"] = _untrained(rows, x[HELD:], trial.seed)
    return figures


def _starts(
    rows: np.ndarray, width: int, k: int, l0: float, steps: int, seed: int
) -> dict[str, list[isthmus.Autoencoder]]:
    """Each kind of dictionary from several initialisations, in one pass over the same batches."""
    sparsity: dict[str, dict[str, Any]] = {"topk": {"k": k}, "relu-l1": {"l0": l0}}
    variants = {
        f"{kind} {start}": {**about, **sparsity[kind], "seed": STARTS * seed + start}
        for kind, about in KINDS.items()
        for start in range(STARTS)
    }
    models = isthmus.fit_many(
        variants,
        rows,
        latent_dim=width,
        steps=steps,
        batch_size=512,
        lr=1e-2,
        lr_schedule="linear",
        warmup=20,
        average=None,
        data_seed=seed,
        progress=False,
    )
    return {kind: [models[f"{kind} {start}"] for start in range(STARTS)] for kind in KINDS}


def _firing(models: list[isthmus.Autoencoder], held: np.ndarray) -> list[Firing]:
    return [Firing().update(model.encode(held, code=True)) for model in models]


def _overlap(models: list[isthmus.Autoencoder], held: np.ndarray) -> Measured:
    """The overlap of living latents and of all, its range over pairs, and how often each recurs."""
    firing = _firing(models, held)
    alive = [one.rates > 0 for one in firing]
    shared = seed_stability(models, alive=alive)
    pairs = [
        seed_stability([models[i], models[j]], alive=[alive[i], alive[j]]).value
        for i, j in combinations(range(len(models)), 2)
    ]
    assert shared.per is not None
    recurs = shared.per[alive[0]]
    return {
        "overlap": shared,
        "overlap_all": seed_stability(models),
        "lowest_pair": min(pairs),
        "highest_pair": max(pairs),
        "in_all_starts": float((recurs == 1).mean()),
        "in_one_start": float((recurs == 0).mean()),
        "l0": float(np.mean([one.l0().value for one in firing])),
        "dead_share": float(np.mean([one.dead_share().value for one in firing])),
        "fvu": float(np.mean([isthmus.evaluate(one, held)["fvu"].value for one in models])),
    }


def _near_truth(
    models: list[isthmus.Autoencoder], held: np.ndarray, planted: Planted, seed: int
) -> Measured:
    """How much nearer to a true direction latents are that the second start shares."""
    first, second = models[:2]
    alive = [one.rates > 0 for one in _firing([first, second], held)]
    shared = seed_stability([first, second], alive=alive).per
    assert shared is not None
    # The truths' nearest latents with the roles exchanged: each latent's nearest truth.
    atoms = linear_decoder(first).atoms().detach().numpy()[alive[0]]
    nearest = mean_max_cosine(planted.directions, atoms).per
    assert nearest is not None
    which = shared[alive[0]] > 0
    drawn = np.random.default_rng(seed).permutation(which)
    return {
        "shared_cosine": _mean(nearest[which]),
        "orphan_cosine": _mean(nearest[~which]),
        "shared_gain": _mean(nearest[which]) - _mean(nearest[~which]),
        "random_gain": _mean(nearest[drawn]) - _mean(nearest[~drawn]),
        "recovered": recovery(first, planted.directions),
    }


def _mean(values: np.ndarray) -> float:
    """NaN of none."""
    return float(values.mean()) if len(values) else float("nan")


def _untrained(planted: np.ndarray, real: np.ndarray, seed: int) -> Measured:
    """The overlap after one step, which leaves directions where they started."""
    early = _starts(planted, TRUTHS, ACTIVE, float(ACTIVE), 1, seed)
    late = _starts(real, REAL_WIDTH, REAL_ACTIVE, float(REAL_ACTIVE), 1, seed)
    relu, top = (seed_stability(late[kind]).value for kind in ("relu-l1", "topk"))
    return {
        _name(WIDTHS[0]): max(seed_stability(early[kind]).value for kind in KINDS),
        "gap_on_activations": relu - top,
    }
