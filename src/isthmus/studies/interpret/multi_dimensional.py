"""Multi-dimensional features: circles that an index finds, and that answer when they are moved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus.anatomy import Code, linear_decoder
from isthmus.evaluation import Result
from isthmus.interpretation.geometry import (
    Irreducibility,
    direction_clusters,
    irreducibility,
    rebuilt_by,
)
from isthmus.language import Decoder
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.interpret import modular
from isthmus.studies.interpret.modular import CYCLES, Circle, Questions

ELEMENTS = 64
GROUPS, OF_GROUP, COSINE = 25, 4, 0.7
"""Line features: groups of related directions, and the cosine of two of one group."""
EXCLUSIVE = 13
"""Groups of which one line is on at a time; in the others each is on in half of the rows."""
RINGS = (7, 12, 24)
"""Points of each planted circle."""
GROUP_RATE, RING_RATE, JITTER, NOISE = 0.1, 0.2, 0.05, 0.02
WIDTH, K, STEPS = 256, 4, 1000
"""4.3 features are on in a row, of 143 directions (lines and points of circles)."""
ROWS, HELD = 1 << 16, 20_000
IN_PLANE = 0.5
"""A cluster is that of a circle where its directions lie in the circle's plane by this share."""

MODULAR_STEPS, ASKED = 1200, 2000

Measured = dict[str, float | Result]


def _worst(figures: Figures, arm: str) -> float:
    return max(figures[arm][f"rank_{points}"] for points in RINGS)


def _least(figures: Figures, arm: str, name: str) -> float:
    return min(figures[arm][f"{name}_{cycle}"] for cycle in CYCLES)


def _most(figures: Figures, arm: str, name: str) -> float:
    return max(figures[arm][f"{name}_{cycle}"] for cycle in CYCLES)


@study(
    "multi-dimensional-features",
    family="interpret",
    catalogue=45,
    paper="Engels, Michaud, Liao, Gurnee, Tegmark 2024, Not All Language Model Features Are Linear",
    statement="Some features are circles and not lines; an index of irreducibility finds them "
    "among the clusters of a dictionary's latents, and moving an activation along its circle "
    "moves the answer to questions of modular arithmetic.",
    headline="No number in the abstract. Circles of days, months and years are found in GPT-2 and "
    "Mistral 7B, and edits of them change answers about days and months in Mistral 7B and Llama 3 "
    "8B.",
    setting="Planted data in 64 dimensions: 100 line features in 25 groups of related directions "
    "(cosine 0.7), in 13 of which one is on at a time, and three circles of 7, 12 and 24 points, "
    "each in a plane of its own; TopK with k = 4, width 256, 1000 steps of 512 rows. Clusters are "
    "connected groups of latents, each joined to its two nearest at a cosine above 0.5; indices "
    "are of the first two principal components of what a cluster rebuilds in the rows where it "
    "fires. Then a transformer of one layer and width 64, trained from scratch for 1200 steps on "
    "(day + offset) mod 7 and (month + offset) mod 12, offsets from 1 to 12, eight spellings of "
    "each day and month; a probe of cosine and sine in the first five principal components of the "
    "residual stream before the layer, where the day stands, fitted on four spellings; measured "
    "and edited on the others. Of the circle's frequencies that tell all days apart the best "
    "fitting is taken. An edit puts another day on the circle and the mean everywhere else, as in "
    "the paper. Nothing in exact sums makes neighbouring days alike, as text does, so a second "
    "transformer hears answers that are off by a binomial number of days (standard deviation 1).",
    arms={
        "by index": "clusters ranked by (1 - mixture) times separability",
        "by size": "the same clusters ranked by their number of latents",
        "without shape": "control: each circle's points exchanged for Gaussian ones of the same "
        "covariance, ranked by the index among the other clusters",
        "untrained dictionary": "control: the dictionary before training",
        "circle": "the transformer trained on right answers, its probe, and edits of the circle",
        "full patch": "ceiling: the whole activation of a row that asks about the other day",
        "random plane": "control: the circle's edit in a random plane, of the same norm",
        "wrong order": "control: the probe and the edit with the days in an order drawn at random",
        "untrained network": "control: the probe in the transformer before training",
        "neighbours alike": "the transformer that hears answers some days off, its probe and edits",
    },
    recipes=("topk",),
    checks=(
        Check(
            "rank of the cluster of each planted circle by the index, the worst of three",
            lambda f: _worst(f, "by index"),
            at_most=5,
            control=lambda f: _worst(f, "without shape"),
        ),
        Check(
            "R² of the circle's probe on new rows, the lower of days and months",
            lambda f: _least(f, "circle", "r2"),
            at_least=0.9,
            control=lambda f: _least(f, "wrong order", "r2"),
        ),
        Check(
            "answers as for the other day after the circle is set to it, the lower of days and "
            "months",
            lambda f: _least(f, "circle", "moved_answers"),
            at_least=0.8,
            control=lambda f: _most(f, "random plane", "moved_answers"),
        ),
        Check(
            "answers as for the other day after an edit of the same norm in a random plane, the "
            "higher of days and months",
            lambda f: _most(f, "random plane", "moved_answers"),
            at_most=0.25,
            control=lambda f: _least(f, "full patch", "moved_answers"),
        ),
        Check(
            "right answers of the transformer, the lower of days and months",
            lambda f: _least(f, "circle", "accuracy"),
            at_least=0.95,
            premise=True,
        ),
        Check(
            "answers as for the other day after a full patch, the lower of days and months",
            lambda f: _least(f, "full patch", "moved_answers"),
            at_least=0.95,
            premise=True,
        ),
        Check(
            "neighbours alike: R² of the circle's probe on new rows, the lower of days and months",
            lambda f: _least(f, "neighbours alike", "r2"),
            at_least=0.9,
            control=lambda f: _least(f, "wrong order", "r2"),
            required=False,
        ),
        Check(
            "neighbours alike: answers as for the other day after the circle is set to it, the "
            "lower of days and months",
            lambda f: _least(f, "neighbours alike", "moved_answers"),
            at_least=0.8,
            control=lambda f: _most(f, "neighbours alike", "random_plane"),
            required=False,
        ),
    ),
)
def multi_dimensional(trial: Trial) -> dict[str, Measured]:
    """Planted circles, and the circles of a network that counts days and months."""
    return _planted(trial) | _modular(trial)


# --- planted circles ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """Rows ``(rows, 64)`` and the orthonormal planes of the circles, each ``(2, 64)``."""

    rows: np.ndarray
    planes: list[np.ndarray]


def planted(rows: int, seed: int, stream: int) -> Planted:
    """Lines in groups and circles; ``stream`` names the rows, the directions are the seed's."""
    rng = np.random.default_rng([seed, 0])
    shared = _unit(rng.standard_normal((GROUPS, 1, ELEMENTS)))
    own = _unit(rng.standard_normal((GROUPS, OF_GROUP, ELEMENTS)))
    lines = _unit(np.sqrt(COSINE) * shared + np.sqrt(1 - COSINE) * own)
    planes = [np.linalg.qr(rng.standard_normal((ELEMENTS, 2)))[0].T for _ in RINGS]

    rng = np.random.default_rng([seed, 1, stream])
    on = rng.random((rows, GROUPS, OF_GROUP)) < 0.5
    one = rng.integers(0, OF_GROUP, (rows, EXCLUSIVE))
    on[:, :EXCLUSIVE] = one[:, :, None] == np.arange(OF_GROUP)
    on &= rng.random((rows, GROUPS, 1)) < GROUP_RATE
    x = np.einsum("rgl,gle->re", on * rng.uniform(0.5, 1.5, on.shape), lines)
    for points, plane in zip(RINGS, planes, strict=True):
        angle = 2 * np.pi * rng.integers(0, points, rows) / points
        length = (rng.random(rows) < RING_RATE) * rng.normal(1.0, JITTER, rows)
        x += (length * np.stack([np.cos(angle), np.sin(angle)])).T @ plane
    x += NOISE * rng.standard_normal(x.shape)
    return Planted(x.astype(np.float32), planes)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _planted(trial: Trial) -> dict[str, Measured]:
    train, held = planted(ROWS, trial.seed, 0), planted(HELD, trial.seed, 1)
    early, late = (
        isthmus.fit(
            "topk", train.rows, latent_dim=WIDTH, k=K, steps=steps, batch_size=512, lr=5e-3,
            lr_schedule="linear", warmup=20, average=None, seed=trial.seed, progress=False,
        )
        for steps in (1, trial.steps(STEPS))
    )  # fmt: skip
    fvu = isthmus.evaluate(late, held.rows)["fvu"]
    code, atoms, found = _clustered(late, held)
    indices = [_index(rebuilt_by(code, atoms, group)) for group in found]
    circles = [_circles(group, atoms, held.planes) for group in found]
    scores = np.array([index.score for index in indices])
    figures: dict[str, Measured] = {
        "by index": {"clusters": len(found), "fvu": fvu, **_ranks(scores, circles)},
        "by size": _ranks(np.array([len(group) for group in found], np.float64), circles),
        "without shape": _ranks(scores, circles, _shapeless(code, atoms, found, trial.seed)),
    }
    for i in np.argsort(scores):  # of several clusters of a circle the best is told of
        ring, index = circles[i], indices[i]
        if ring is not None:
            figures["by index"] |= {
                f"separability_{RINGS[ring]}": index.separability,
                f"mixture_{RINGS[ring]}": index.mixture,
                f"score_{RINGS[ring]}": index.score,
                f"latents_{RINGS[ring]}": len(found[i]),
            }
    others = [score for score, ring in zip(scores, circles, strict=True) if ring is None]
    figures["by index"]["best_other_score"] = max(others, default=0.0)
    code, atoms, found = _clustered(early, held)
    scores = np.array([_index(rebuilt_by(code, atoms, group)).score for group in found])
    circles = [_circles(group, atoms, held.planes) for group in found]
    figures["untrained dictionary"] = {"clusters": len(found), **_ranks(scores, circles)}
    return figures


def _clustered(model: isthmus.Autoencoder, held: Planted) -> tuple[Code, Tensor, list[np.ndarray]]:
    """Codes, directions, and the clusters of latents that fire."""
    code = model.encode(held.rows, code=True)
    atoms = linear_decoder(model).atoms().detach()
    groups = direction_clusters(atoms)
    return code, atoms, [group for group in groups if len(rebuilt_by(code, atoms, group)) > 1]


def _plane(points: Tensor) -> np.ndarray:
    """The first two principal components of rows, ``(rows, 2)``."""
    centred = (points - points.mean(0)).double()
    axes = torch.linalg.eigh(centred.T @ centred)[1][:, -2:]
    plane: np.ndarray = (centred @ axes).numpy()
    return plane


def _index(points: Tensor) -> Irreducibility:
    return irreducibility(_plane(points))


def _shapeless(code: Code, atoms: Tensor, groups: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """The index of each cluster, were its points Gaussian with the covariance that they have."""
    rng = np.random.default_rng([seed, 2])
    scores = []
    for group in groups:
        plane = _plane(rebuilt_by(code, atoms, group))
        scores.append(irreducibility(rng.standard_normal(plane.shape) * plane.std(0)).score)
    return np.array(scores)


def _circles(group: np.ndarray, atoms: Tensor, planes: Sequence[np.ndarray]) -> int | None:
    """Which circle's plane the directions of a cluster lie in, if any's."""
    own = atoms[torch.from_numpy(group)].double().numpy()
    shares = [float(((own @ plane.T) ** 2).sum() / (own**2).sum()) for plane in planes]
    best = int(np.argmax(shares))
    return best if shares[best] > IN_PLANE else None


def _ranks(
    scores: np.ndarray, circles: Sequence[int | None], changed: np.ndarray | None = None
) -> Measured:
    """The rank of each circle's best cluster, 1 for the highest score; the width without one.

    Equal scores rank last. With ``changed`` a circle's clusters have that score instead.
    """
    ranks: Measured = {}
    for ring, points in enumerate(RINGS):
        own = [i for i, of in enumerate(circles) if of == ring]
        mine = scores if changed is None else changed
        found = [1.0 + float((np.delete(scores, i) >= mine[i]).sum()) for i in own]
        ranks[f"rank_{points}"] = min(found, default=float(WIDTH))
    return ranks


# --- circles in a network -----------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """Questions that probes are fitted on, others, and those about another day each."""

    seen: Questions
    asked: Questions
    donor: Questions

    @classmethod
    def of(cls, cycle: str, generator: torch.Generator) -> "Task":
        half = modular.SPELLINGS // 2
        seen, asked = (
            modular.questions(cycle, ASKED, generator, spellings)
            for spellings in (range(half), range(half, 2 * half))
        )
        shift = torch.randint(1, asked.size, (ASKED,), generator=generator)
        return cls(seen, asked, asked.about((asked.day + shift) % asked.size))


def _modular(trial: Trial) -> dict[str, Measured]:
    arms = ("circle", "full patch", "random plane", "wrong order", "untrained network")
    figures: dict[str, Measured] = {arm: {} for arm in (*arms, "neighbours alike")}
    steps = trial.steps(MODULAR_STEPS)
    model, alike = (modular.trained(steps, trial.seed, n) for n in (0, modular.SPREAD))
    early = modular.untrained(trial.seed)
    for number, cycle in enumerate(CYCLES):
        task = Task.of(cycle, torch.Generator().manual_seed(100 * trial.seed + number))
        asked, other, to = task.asked, task.donor.day, task.donor.day.numpy()
        rng = np.random.default_rng([trial.seed, number])
        order = rng.permutation(asked.size)
        plane = np.linalg.qr(rng.standard_normal((modular.SHAPE.width, 2)))[0].T

        circle, found = _moved(model, task)
        figures["circle"] |= {f"{name}_{cycle}": value for name, value in found.items()}
        patch = modular.replaced(modular.days_of(model, task.donor))
        figures["full patch"][f"moved_answers_{cycle}"] = modular.accuracy(
            model, asked, other, patch
        )
        figures["random plane"] |= {
            f"moved_answers_{cycle}": modular.accuracy(model, asked, other, circle.only(to, plane)),
            f"as_before_{cycle}": modular.accuracy(model, asked, asked.day, circle.only(to, plane)),
        }
        x, new = (modular.days_of(model, one) for one in (task.seen, asked))
        wrong = Circle.fit(x, order[task.seen.day.numpy()], asked.size)
        figures["wrong order"] |= {
            f"r2_{cycle}": wrong.r2(new, order[asked.day.numpy()]),
            f"moved_answers_{cycle}": modular.accuracy(model, asked, other, wrong.only(order[to])),
        }
        for arm, one in (("untrained network", early), ("neighbours alike", alike)):
            circle, found = _moved(one, task)
            found["random_plane"] = modular.accuracy(one, asked, other, circle.only(to, plane))
            figures[arm] |= {f"{name}_{cycle}": value for name, value in found.items()}
    return figures


def _moved(model: Decoder, task: Task) -> tuple[Circle, Measured]:
    """The circle that a probe finds, and the answers after edits of it."""
    asked, other, to = task.asked, task.donor.day, task.donor.day.numpy()
    x, new = (modular.days_of(model, one) for one in (task.seen, asked))
    day = task.seen.day.numpy()
    circle, of_any = (Circle.fit(x, day, asked.size, every=every) for every in (False, True))
    return circle, {
        "accuracy": modular.accuracy(model, asked, asked.day),
        "r2": circle.r2(new, asked.day.numpy()),
        "frequency": float(circle.frequency),
        "moved_answers": modular.accuracy(model, asked, other, circle.only(to)),
        "rest_kept": modular.accuracy(model, asked, other, circle.moved(to, new)),
        "variance": circle.share(new),
        "any_r2": of_any.r2(new, asked.day.numpy()),
        "any_frequency": float(of_any.frequency),
    }
