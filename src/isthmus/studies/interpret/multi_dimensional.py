"""Multi-dimensional features: circles that answer when they are moved, and that an index finds."""

# About 1.5 CPU minutes a seed: the transformer 1500 steps of 8 ms, the dictionary 6000 of 6 ms.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, linear_decoder
from isthmus.evaluation import Result, fvu
from isthmus.interpretation.geometry import direction_clusters, irreducibility, rebuilt_by
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, less, quantity, value
from isthmus.studies.control import STILL
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
WIDTH, K, STEPS = 512, 4, 6000
"""4.3 features are on in a row, of 143 directions (lines and points of circles)."""
ROWS, HELD = 1 << 17, 20_000
IN_PLANE = 0.5
"""A cluster is that of a circle where its directions lie in the circle's plane by this share."""
RESOLVED = 0.9
"""A point of a circle is resolved where a latent has a larger cosine with it."""

MODULAR_STEPS, ASKED = 1500, 2000

MOVED = tuple(f"moved_answers_{cycle}" for cycle in CYCLES)
R2 = tuple(f"r2_{cycle}" for cycle in CYCLES)

Measured = dict[str, float | Result]


@experiment(
    "multi-dimensional-features",
    family="interpret",
    catalogue=45,
    paper="Engels, Michaud, Liao, Gurnee, Tegmark 2024, Not All Language Model Features Are Linear",
    statement="Some features are circles and not lines: setting an activation to another day on "
    "the circle alone gives the answer of that day in modular arithmetic, and an index of "
    "irreducibility finds circles among the clusters of a dictionary's latents.",
    headline="No number in the abstract. Circles of days, months and years are found in GPT-2 and "
    "Mistral 7B, and edits of them change answers about days and months in Mistral 7B and Llama 3 "
    "8B.",
    setting="A transformer of one layer and width 64, trained from scratch for 1500 steps on (day "
    "+ offset) mod 7 and (month + offset) mod 12, offsets from 1 to 12, eight spellings of each "
    "day and month, answers heard off by a binomial number of days (standard deviation 1), which "
    "makes neighbouring days alike as they are in text. A probe of cosine and sine in the first "
    "five principal components of the residual stream before the layer, where the day stands, "
    "fitted on four spellings; measured and edited on the others, days and months averaged. Of "
    "the circle's frequencies that tell all days apart the best fitting is taken. An edit puts "
    "another day on the circle and the mean everywhere else. Index: planted data in 64 "
    "dimensions, 100 line features in 25 groups of related directions (cosine 0.7), in 13 of "
    "which one is on at a time, and three circles of 7, 12 and 24 points; TopK with k = 4, width "
    "512, 6000 steps of 1024 rows. Clusters are connected groups of latents, each joined to its "
    "two nearest at a cosine above 0.5; indices are of the first two principal components of what "
    "a cluster rebuilds in the rows where it fires.",
    recipes=("topk",),
    arms={
        "circle": "another day on the circle, the mean everywhere else",
        "average": "the mean activation everywhere",
        "full patch": "positive control: the whole activation of a row that asks about that day",
        "random plane": "control: the circle's edit in a random plane, of the same norm",
        "wrong order": "the probe and the edit with the days in an order drawn at random",
        "untrained network": "the probe in the transformer before training",
        "by index": "planted clusters ranked by (1 - mixture) times separability",
        "by size": "the same clusters ranked by their number of latents",
        "without shape": "each circle's points exchanged for Gaussian ones of the same "
        "covariance, ranked by the index among the other clusters",
        "untrained dictionary": "the clusters of the dictionary before training, by the index",
    },
    primary=Primary(
        less(MOVED, "circle", than="average").named(
            "share of answers as for the other day after the circle is set to it, less that after "
            "the mean activation is put there"
        ),
        above=0.0,
        positive=less(MOVED, "full patch", than="average"),
        negative=less(MOVED, "random plane", than="average"),
    ),
    premises=tuple(
        Premise(
            value(f"accuracy_{cycle}", "circle"), above=0.95,
            why="the transformer has to be able to count",
        )
        for cycle in CYCLES
    ),
    secondary=(
        Secondary(less(R2, "circle", than="wrong order"), above=0.0),
        Secondary(less(R2, "circle", than="untrained network"), above=0.0),
        Secondary(
            quantity(
                "answers moved by the circle, as a share of those moved by the full patch",
                lambda f: sum(f["circle"][n] for n in MOVED)
                / sum(f["full patch"][n] for n in MOVED),
            ),
            above=0.8, source="ours", place="nearly all that the whole activation does",
        ),
        Secondary(less("percentile", "by index", than="by size"), above=0.0),
        Secondary(less("percentile", "by index", than="without shape"), above=0.0),
        Secondary(
            value("resolved", "by index"), above=0.9, source="ours",
            place="circles can be found where each of their points has a latent",
        ),
    ),
)  # fmt: skip
def multi_dimensional(trial: Trial) -> dict[str, Measured]:
    """The circles of a network that counts days and months, and planted ones."""
    return _modular(trial) | _planted(trial)


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
    train = planted(trial.rows(ROWS), trial.seed, 0)
    held = planted(trial.rows(HELD), trial.seed, 1)
    early, late = (
        trial.fit(
            "topk", train.rows, latent_dim=WIDTH, k=K, batch_size=1024, lr=lr, average=None,
            lr_schedule="linear", warmup=20, steps=steps,
        )
        for steps, lr in ((1, STILL), (STEPS, 5e-3))
    )  # fmt: skip
    code, atoms, found = _clustered(late, held)
    indices = [irreducibility(_plane(rebuilt_by(code, atoms, group))) for group in found]
    circles = [_circles(group, atoms, held.planes) for group in found]
    scores = np.array([index.score for index in indices])
    sizes = np.array([len(group) for group in found], np.float64)
    figures: dict[str, Measured] = {
        "by index": {
            **_ranks(scores, circles),
            "clusters": len(found),
            "fvu": fvu(held.rows, np.asarray(late.reconstruct(held.rows))),
            "resolved": _resolved(atoms.numpy(), held.planes),
        },
        "by size": _ranks(sizes, circles),
        "without shape": _ranks(scores, circles, _shapeless(code, atoms, found, trial.seed)),
    }
    for i in np.argsort(scores):  # of several clusters of a circle the best is told of
        ring, index = circles[i], indices[i]
        if ring is not None:
            figures["by index"] |= {
                f"separability_{RINGS[ring]}": index.separability,
                f"mixture_{RINGS[ring]}": index.mixture,
                f"latents_{RINGS[ring]}": len(found[i]),
            }
    code, atoms, found = _clustered(early, held)
    scores = np.array(
        [irreducibility(_plane(rebuilt_by(code, atoms, group))).score for group in found]
    )
    circles = [_circles(group, atoms, held.planes) for group in found]
    figures["untrained dictionary"] = {"clusters": len(found), **_ranks(scores, circles)}
    return figures


def _resolved(atoms: np.ndarray, planes: Sequence[np.ndarray]) -> float:
    """Share of the circles' points that an atom ``(latents, 64)`` has at a cosine above 0.9."""
    unit, best = _unit(atoms.astype(np.float64)), []
    for points, plane in zip(RINGS, planes, strict=True):
        angle = 2 * np.pi * np.arange(points) / points
        best.append((unit @ (np.stack([np.cos(angle), np.sin(angle)], 1) @ plane).T).max(0))
    return float((np.concatenate(best) > RESOLVED).mean())


def _clustered(model: Autoencoder, held: Planted) -> tuple[Code, Tensor, list[np.ndarray]]:
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
    """Of each circle's best cluster, the share of the other clusters that it is above.

    Equal scores count against it; 0 without a cluster. ``percentile`` is the mean over circles.
    With ``changed`` a circle's clusters have that score instead.
    """
    above: Measured = {}
    mine = scores if changed is None else changed
    for ring, points in enumerate(RINGS):
        own = [i for i, of in enumerate(circles) if of == ring]
        found = [float((np.delete(scores, i) < mine[i]).mean()) for i in own if len(scores) > 1]
        above[f"above_{points}"] = max(found, default=0.0)
    return {**above, "percentile": float(np.mean([above[f"above_{n}"] for n in RINGS]))}


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
    arms = ("circle", "average", "full patch", "random plane", "wrong order", "untrained network")
    figures: dict[str, Measured] = {arm: {} for arm in arms}
    model = modular.trained(trial.steps(MODULAR_STEPS), trial.seed, modular.SPREAD)
    early = modular.untrained(trial.seed)
    for number, cycle in enumerate(CYCLES):
        task = Task.of(cycle, torch.Generator().manual_seed(100 * trial.seed + number))
        asked, to = task.asked, task.donor.day.numpy()
        rng = np.random.default_rng([trial.seed, number])
        order = rng.permutation(asked.size)
        plane = np.linalg.qr(rng.standard_normal((modular.SHAPE.width, 2)))[0].T
        x, new = (modular.days_of(model, one) for one in (task.seen, asked))
        day, now = task.seen.day.numpy(), asked.day.numpy()
        circle = Circle.fit(x, day, asked.size)
        wrong = Circle.fit(x, order[day], asked.size)
        edits = {
            "circle": circle.only(to),
            "average": modular.replaced(np.broadcast_to(circle.mean, new.shape).copy()),
            "full patch": modular.replaced(modular.days_of(model, task.donor)),
            "random plane": circle.only(to, plane),
            "wrong order": wrong.only(order[to]),
        }
        for arm, edit in edits.items():
            moved = modular.accuracy(model, asked, task.donor.day, edit)
            figures[arm][f"moved_answers_{cycle}"] = moved
        figures["circle"] |= {
            f"accuracy_{cycle}": modular.accuracy(model, asked, asked.day),
            f"r2_{cycle}": circle.r2(new, now),
            f"frequency_{cycle}": float(circle.frequency),
            f"variance_{cycle}": circle.share(new),
            f"rest_kept_{cycle}": modular.accuracy(
                model, asked, task.donor.day, circle.moved(to, new)
            ),
        }
        figures["wrong order"][f"r2_{cycle}"] = wrong.r2(new, order[now])
        x, new = (modular.days_of(early, one) for one in (task.seen, asked))
        figures["untrained network"][f"r2_{cycle}"] = Circle.fit(x, day, asked.size).r2(new, now)
    return figures
