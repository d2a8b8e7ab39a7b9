"""JumpReLU against four other kinds of dictionary, each at several sparsities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

import isthmus
from isthmus.data import Planted
from isthmus.evaluation import mean_max_cosine, recovery
from isthmus.runs import DataLike
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.interpret import resident
from isthmus.studies.sparse.frontier import (
    ASKED,
    at_equal,
    measured,
    moved_at_random,
    off_target,
    variants,
)

KINDS = tuple(ASKED)
RATES = {
    "planted": dict.fromkeys(KINDS, 1e-2) | {"relu-l1": 3e-2},
    "language": dict.fromkeys(KINDS, 1e-2),
}
"""Learning rates: for each kind the best of three on the pilot's rows, at L0 = 16."""


@dataclass(frozen=True)
class Field:
    """Where the kinds are compared: the L0 asked for, the width, and the run."""

    levels: tuple[int, ...]
    width: int
    steps: int
    batch: int
    rows: int


FIELDS = {
    "planted": Field((8, 12, 16, 32, 64), 512, 300, 256, 1 << 16),
    "language": Field((16, 32), 768, 200, 512, 60_000),
}
TRUTHS, ELEMENTS, ACTIVE = 512, 64, 8.0
HELD = 8192

Measured = dict[str, float]


def _curve(figures: Figures, kind: str, field: str, what: str) -> list[float]:
    return [figures[kind][f"{field}_{what}_{level}"] for level in FIELDS[field].levels]


def _fvu(figures: Figures, kind: str, field: str) -> list[float]:
    """At exactly the levels of L0."""
    l0, values = (_curve(figures, kind, field, what) for what in ("l0", "fvu"))
    return [at_equal(l0, values, level) for level in FIELDS[field].levels]


def _ratio(kind: str, other: str, field: str) -> Callable[[Figures], float]:
    """FVU of ``kind`` over that of ``other`` at equal L0, geometric mean over the levels."""
    return lambda f: float(
        np.exp(np.mean(np.log(_fvu(f, kind, field)) - np.log(_fvu(f, other, field))))
    )


def _bias(figures: Figures, kind: str) -> float:
    """How far the factor of shrinkage is from 1, the mean over both kinds of data."""
    gaps = [abs(1.0 - s) for field in FIELDS for s in _curve(figures, kind, field, "shrinkage")]
    return float(np.mean(gaps))


def _largest_gap(figures: Figures) -> float:
    return max(
        off_target(_curve(figures, kind, field, "l0"), FIELDS[field].levels)
        for kind in KINDS
        for field in FIELDS
    )


def _at_most(other: str, bound: float, field: str, data: str, required: bool = True) -> Check:
    return Check(
        f"FVU of JumpReLU divided by that of {other} at equal L0, {data}, geometric mean over the "
        "levels",
        _ratio("jumprelu", other, field),
        at_most=bound,
        control=_ratio("random", other, field),
        required=required,
    )


@study(
    "jumprelu",
    family="sparse",
    catalogue=163,
    paper="Rajamanoharan et al. 2024, Jumping Ahead: Improving Reconstruction Fidelity with "
    "JumpReLU Sparse Autoencoders",
    statement="At equal L0 JumpReLU rebuilds as well as or better than Gated and TopK, and "
    "clearly better than ReLU with an L1 penalty, whose reconstructions are too short.",
    headline="Gemma 2 9B, 131,072 latents: at or above the fidelity of Gated and TopK at each L0 "
    "(figure 2).",
    setting="Planted data: 512 directions in 64 dimensions, 8 active, lognormal sizes; width 512, "
    "L0 8, 12, 16, 32 and 64, 300 steps of 256 rows. The resident model's residual stream after "
    "layer 1 (width 192), 60,000 tokens that it was not trained on: width 768, L0 16 and 32, 200 "
    "steps of 512. Held-out rows, of other documents. Each kind has the best of three learning "
    "rates on the pilot's rows, falling to zero. L0 is held by a control; FVU is read off "
    "each kind's own curve at exactly the same L0. Interpretability is not judged here: the study "
    "labels does that for TopK.",
    arms={
        "jumprelu": "JumpReLU",
        "topk": "TopK",
        "batchtopk": "BatchTopK",
        "gated": "Gated",
        "relu-l1": "ReLU with an L1 penalty",
        "random": "control: JumpReLU's values, moved to latents drawn at random",
    },
    recipes=KINDS,
    needs=resident.NEEDS,
    checks=(
        _at_most("topk", 1.02, "planted", "planted data"),
        _at_most("topk", 1.02, "language", "the resident model"),
        _at_most("relu-l1", 0.9, "planted", "planted data"),
        _at_most("relu-l1", 0.9, "language", "the resident model"),
        Check(
            "distance of the factor of shrinkage from 1: JumpReLU less ReLU",
            lambda f: _bias(f, "jumprelu") - _bias(f, "relu-l1"),
            at_most=0.0,
            control=lambda f: _bias(f, "random") - _bias(f, "relu-l1"),
        ),
        _at_most("gated", 1.02, "planted", "planted data", required=False),
        _at_most("gated", 1.02, "language", "the resident model", required=False),
        Check(
            "mean largest cosine of planted directions at L0 = 8: JumpReLU less TopK",
            lambda f: f["jumprelu"]["planted_mmcs_8"] - f["topk"]["planted_mmcs_8"],
            at_least=-0.02,
            control=lambda f: f["random"]["planted_mmcs_8"] - f["topk"]["planted_mmcs_8"],
            required=False,
        ),
        Check(
            "L0 relative to what was asked for: the largest deviation from 1",
            _largest_gap,
            at_most=0.25,
            premise=True,
        ),
    ),
)
def jumprelu(trial: Trial) -> dict[str, Measured]:
    """All kinds at all sparsities, on planted data and on the resident model's activations."""
    planted = Planted(ELEMENTS, TRUTHS, ACTIVE, magnitudes="lognormal", seed=trial.seed)
    rows = planted.sample(FIELDS["planted"].rows, 0)[0]
    held = planted.sample(HELD, 1)[0]
    figures: dict[str, Measured] = {kind: {} for kind in (*KINDS, "random")}
    for name, model in _fitted(rows, "planted", trial, figures, held).items():
        kind, level = name.rsplit(" ", 1)
        figures[kind][f"planted_mmcs_{level}"] = mean_max_cosine(model, planted.directions).value
        figures[kind][f"planted_recovered_{level}"] = recovery(model, planted.directions).value
    drawn = np.random.default_rng([trial.seed, 163]).standard_normal(
        (FIELDS["planted"].width, ELEMENTS)
    )
    sparsest = FIELDS["planted"].levels[0]
    figures["random"][f"planted_mmcs_{sparsest}"] = mean_max_cosine(drawn, planted.directions).value
    text = resident.rows("train", resident.POINT, trial.seed, trial.steps(FIELDS["language"].rows))
    unseen = resident.rows("test", resident.POINT, trial.seed, trial.steps(HELD))
    _fitted(text, "language", trial, figures, unseen)
    return figures


def _fitted(
    rows: DataLike, name: str, trial: Trial, figures: Mapping[str, Measured], held: np.ndarray
) -> dict[str, isthmus.Autoencoder]:
    """Every kind at every level from one pass, and their figures on held-out rows."""
    field = FIELDS[name]
    models = isthmus.fit_many(
        variants(RATES[name], field.levels), rows, latent_dim=field.width, batch_size=field.batch,
        steps=trial.steps(field.steps), lr_schedule="linear", average=None, seed=trial.seed,
        progress=False,
    )  # fmt: skip
    for title, model in models.items():
        kind, level = title.rsplit(" ", 1)
        found = measured(model, held)
        _put(figures[kind], name, level, found)
        if kind == "jumprelu":
            moved = moved_at_random(model, held, trial.seed)
            _put(figures["random"], name, level, moved | {"l0": found["l0"]})
    return models


def _put(figures: Measured, field: str, level: str, found: Mapping[str, float]) -> None:
    figures.update({f"{field}_{what}_{level}": value for what, value in found.items()})
