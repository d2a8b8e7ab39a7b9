"""Planted circles among line features, and whether an index of irreducibility finds them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Code, linear_decoder
from isthmus.evaluation import Result, fvu
from isthmus.interpretation.geometry import direction_clusters, irreducibility, rebuilt_by
from isthmus.studies import Trial
from isthmus.studies.control import STILL

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


@dataclass(frozen=True)
class Planted:
    """Rows ``(rows, 64)`` and the orthonormal planes of the circles, each ``(2, 64)``."""

    rows: np.ndarray
    planes: list[np.ndarray]


def planted(rows: int, seed: int, stream: int) -> Planted:
    """Lines in groups and circles; ``stream`` names the rows, the directions are the seed's."""
    rng = np.random.default_rng([seed, 0])
    shared = _unit(rng.standard_normal((GROUPS, 1, ELEMENTS)))
    deviations = _unit(rng.standard_normal((GROUPS, OF_GROUP, ELEMENTS)))
    lines = _unit(np.sqrt(COSINE) * shared + np.sqrt(1 - COSINE) * deviations)
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


def by_index(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """The figures of the arms that are about the index."""
    train = planted(trial.rows(ROWS), trial.seed, 0)
    held = planted(trial.rows(HELD), trial.seed, 1)
    early, late = (
        trial.fit(
            "topk", train.rows, latent_dim=WIDTH, k=K, batch_size=1024, lr=lr, average=None,
            lr_schedule="linear", warmup=20, steps=steps,
        )
        for steps, lr in ((1, STILL), (STEPS, 5e-3))
    )  # fmt: skip
    code, atoms, groups = _clustered(late, held)
    indices = [irreducibility(_plane(rebuilt_by(code, atoms, group))) for group in groups]
    circles = [_circles(group, atoms, held.planes) for group in groups]
    scores = np.array([index.score for index in indices])
    sizes = np.array([len(group) for group in groups], np.float64)
    figures: dict[str, dict[str, float | Result]] = {
        "by index": {
            **_ranks(scores, circles),
            "clusters": len(groups),
            "fvu": fvu(held.rows, np.asarray(late.reconstruct(held.rows))),
            "resolved": _resolved(atoms.numpy(), held.planes),
        },
        "by size": _ranks(sizes, circles),
        "without shape": _ranks(scores, circles, _shapeless(code, atoms, groups, trial.seed)),
    }
    for i in np.argsort(scores):  # of several clusters of a circle the best is told of
        ring, index = circles[i], indices[i]
        if ring is not None:
            figures["by index"] |= {
                f"separability_{RINGS[ring]}": index.separability,
                f"mixture_{RINGS[ring]}": index.mixture,
                f"latents_{RINGS[ring]}": len(groups[i]),
            }
    code, atoms, groups = _clustered(early, held)
    scores = np.array(
        [irreducibility(_plane(rebuilt_by(code, atoms, group))).score for group in groups]
    )
    circles = [_circles(group, atoms, held.planes) for group in groups]
    figures["untrained dictionary"] = {"clusters": len(groups), **_ranks(scores, circles)}
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
    directions = atoms[torch.from_numpy(group)].double().numpy()
    shares = [
        float(((directions @ plane.T) ** 2).sum() / (directions**2).sum()) for plane in planes
    ]
    best = int(np.argmax(shares))
    return best if shares[best] > IN_PLANE else None


def _ranks(
    scores: np.ndarray, circles: Sequence[int | None], changed: np.ndarray | None = None
) -> dict[str, float | Result]:
    """Of each circle's best cluster, the share of the other clusters that it is above.

    Equal scores count against it; 0 without a cluster. ``percentile`` is the mean over circles.
    With ``changed`` a circle's clusters have that score instead.
    """
    above: dict[str, float | Result] = {}
    mine = scores if changed is None else changed
    for ring, points in enumerate(RINGS):
        indices = [i for i, of in enumerate(circles) if of == ring]
        shares = [
            float((np.delete(scores, i) < mine[i]).mean()) for i in indices if len(scores) > 1
        ]
        above[f"above_{points}"] = max(shares, default=0.0)
    return {**above, "percentile": float(np.mean([above[f"above_{n}"] for n in RINGS]))}
