"""Deep dictionaries: all layers together, against one after another."""

# About 10 CPU seconds a seed: two fits of 200 iterations, and codes of held-out rows.

from itertools import pairwise

import numpy as np
import torch

from isthmus.evaluation import fvu
from isthmus.recipes.sparse.deep_dictionary import deep_codes, rebuilt
from isthmus.studies import Fit, Premise, Primary, Secondary, claim, control, less, value
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.quantities import ratio
from isthmus.studies.trial import Trial

SIZES = (32, 24, 16)
"""Elements of a row, and atoms of the first and of the second dictionary."""
ACTIVE, SIZE, NOISE = 3.2, 3.0, 0.02
ROWS, HELD, PRICE, STEPS = 2000, 1000, 0.1, 500


def _layers(trial: Trial) -> list[torch.Tensor]:
    """The planted dictionaries, atoms of norm 1."""
    rng = np.random.default_rng([trial.seed, 113])
    layers = [rng.standard_normal((atoms, size)) for size, atoms in pairwise(SIZES)]
    return [torch.from_numpy(w / np.linalg.norm(w, axis=1, keepdims=True)) for w in layers]


def _open(trial: Trial) -> Ground:
    layers = _layers(trial)
    parts = []
    for stream, count in ((0, ROWS), (1, HELD)):
        rng = np.random.default_rng([trial.seed, 113, stream])
        shape = (trial.rows(count), SIZES[-1])
        z = (rng.random(shape) < ACTIVE / SIZES[-1]) * SIZE * rng.standard_normal(shape)
        x = rebuilt(torch.from_numpy(z), layers, "tanh").numpy()
        parts.append((x + NOISE * rng.standard_normal(x.shape)).astype(np.float32))
    return Ground(parts[0], parts[1], trial.seed, {"layers": layers})


def _objective(subject: Subject, ground: Ground) -> float:
    """``|x - x^|^2 + lambda |z|_1`` of a held-out row in the mean."""
    codes = np.asarray(subject.encode(ground.held))
    error = np.square(ground.held - np.asarray(subject.decode(codes))).sum(1)
    return float(error.mean() + PRICE * np.abs(codes).sum(1).mean())


def _fvu(subject: Subject, ground: Ground) -> float:
    return float(fvu(ground.held, np.asarray(subject.reconstruct(ground.held))).value)


def _l0(subject: Subject, ground: Ground) -> float:
    return float((np.asarray(subject.encode(ground.held)) != 0).sum(1).mean())


def _truth(_: object, ground: Ground, trial: Trial) -> Subject:
    layers = ground.known["layers"]

    def encode(rows: np.ndarray) -> np.ndarray:
        return deep_codes(torch.from_numpy(rows), layers, PRICE, "tanh", steps=STEPS).numpy()

    return Coded(encode, lambda z: rebuilt(torch.from_numpy(z), layers, "tanh").numpy())


DEEP = Bench(
    "deep",
    f"Rows of {SIZES[0]} elements that two planted dictionaries of {SIZES[1]} and {SIZES[2]} atoms "
    f"make through tanh of sparse codes, {ACTIVE:g} of them on; {ROWS:,} rows, {HELD:,} others.",
    _open,
    {"objective": _objective, "fvu": _fvu, "l0": _l0},
)

claim(
    "deep-dictionary",
    family="sparse",
    catalogue=113,
    paper="Singhal, Majumdar 2019, Majorization minimization technique for optimally solving deep "
    "dictionary learning, arXiv:1912.10801",
    statement="Solving for all layers of dictionaries together reaches a lower objective than "
    "learning one layer after another from the codes of the one before.",
    headline="Better than greedy learning, and than stacked autoencoders, in accuracy of "
    "classification on benchmark sets; no number in the abstract. Here the objective itself.",
    recipes=("deep-dictionary",),
    bench=DEEP,
    setting=f"lambda = {PRICE}, 200 iterations from random dictionaries, by layer where greedy; "
    f"held-out rows are encoded by {STEPS} steps on all layers in both.",
    arms={
        "together": Fit("deep-dictionary"),
        "greedy": Fit("deep-dictionary", greedy=True),
        "truth": Control("positive control: the planted dictionaries", _truth),
        "moved": control.moved_latents("together"),
    },
    measures=("objective", "fvu", "l0"),
    measured_only={"truth": ("objective",), "moved": ("objective",)},
    fit={
        "latent_dim": SIZES[2], "hidden": SIZES[1:2], "sparsity": PRICE, "scaling": "none",
        "iterations": 200, "encoding_steps": STEPS, "steps": 1,
    },
    primary=Primary(
        ratio("objective", "together", to="greedy"), below=1.0, positive="truth", negative="moved"
    ),
    premises=(
        Premise(value("fvu", "greedy"), below=0.5, why="the baseline has learnt to rebuild"),
    ),
    secondary=(
        Secondary(ratio("fvu", "together", to="greedy"), below=1.0),
        Secondary(less("l0", "together", than="greedy"), below=0.0),
        Secondary(ratio("objective", "together", to="greedy"), below=0.95, source="ours",
                  place="one part in twenty"),
    ),
)  # fmt: skip
