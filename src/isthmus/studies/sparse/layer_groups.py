"""One dictionary for each group of similar layers, against all other ways to group the layers."""

# About 80 CPU seconds a seed: up to 25 fits of 400 steps at 5 ms, and the activations.

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from isthmus.anatomy import Autoencoder
from isthmus.evaluation import fvu
from isthmus.studies import Premise, Primary, Secondary, Trial, experiment, ratio, value
from isthmus.studies.benches.language import NEEDS, WIDTHS, store

HOST, LAYERS = "circuits", 5
"""A model of six layers; the last one is left out, as in the paper."""
TOKENS, HELD = 40_000, 6000
WIDTH, ACTIVE, STEPS, RATE = 512, 16, 400, 2.4e-3

Group = tuple[int, ...]
Rows = np.ndarray


@experiment(
    "layer-groups",
    family="sparse",
    catalogue=135,
    paper="Ghilardi, Belotti, Molinari 2024, Efficient Training of Sparse Autoencoders for Large "
    "Language Models via Layer Groups, arXiv:2410.21508",
    statement="One dictionary for each group of layers whose activations lie at small angles does "
    "the work of one for each layer, at the cost of one for each group: grouping by similarity is "
    "what keeps the error low.",
    headline="Pythia-160M: up to six times faster without compromising reconstruction (abstract).",
    recipes=("topk",),
    needs=NEEDS,
    setting=f"Residual stream of the language model {HOST!r} (width {WIDTHS[HOST]}) behind its "
    f"first {LAYERS} of six layers, {TOKENS:,} tokens each; two groups, by average linkage of mean "
    f"angular distances. Width {WIDTH}, k = {ACTIVE}, {STEPS} steps of 512 rows for every "
    "dictionary, whatever the size of its group: a group costs what one layer costs. The error is "
    f"the mean over layers of each one's FVU on {HELD:,} tokens of other text. “As good as one for "
    "each layer” has no margin in the paper; what decides is whether similarity is the reason, "
    "against all other groupings of the same sizes, enumerated.",
    arms={
        "similar": "one dictionary for each group of similar layers",
        "others": "the mean over all other groupings of the same sizes",
        "one of them": "control: one of these other groupings, drawn by the seed",
        "by layer": "positive control: one dictionary for each layer",
    },
    primary=Primary(
        ratio("fvu", "similar", to="others"), below=1.0, positive="by layer",
        negative="one of them",
    ),
    premises=(
        Premise(
            value("closeness", "similar").named(
                "mean distance within the groups, relative to that between them"
            ),
            below=1.0,
            why="there have to be layers that are more alike than others",
        ),
        Premise(value("fvu", "by layer"), below=0.5, why="the dictionaries have learnt something"),
    ),
    secondary=(
        Secondary(
            ratio("fvu", "similar", to="by layer"), below=1.2, source="ours",
            place="“without compromising the reconstruction quality” in the abstract has no number",
        ),
    ),
)  # fmt: skip
def layer_groups(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: every grouping of the sizes that similarity gives, and the layers by themselves."""
    seen, held = (
        activations(part, trial.seed, trial.rows(count))
        for part, count in (("train", TOKENS), ("test", HELD))
    )
    angles = angular_distances(held)
    similar = grouped(angles)
    errors: dict[Group, dict[int, float]] = {}

    def error(groups: tuple[Group, ...]) -> float:
        for group in groups:
            if group not in errors:
                model = trial.fit(
                    "topk", np.concatenate([seen[i] for i in group]), steps=STEPS, lr=RATE,
                    k=ACTIVE, latent_dim=WIDTH, batch_size=512, average=None,
                    lr_schedule="linear",
                )  # fmt: skip
                errors[group] = {i: _error(model, held[i]) for i in group}
        return float(np.mean([errors[group][i] for group in groups for i in group]))

    sizes = tuple(sorted(map(len, similar)))
    others = [groups for groups in groupings(LAYERS, sizes[0]) if groups != similar]
    rest = [error(groups) for groups in others]
    return {
        "similar": {"fvu": error(similar), "closeness": closeness(angles, similar)},
        "others": {"fvu": float(np.mean(rest))},
        "one of them": {"fvu": rest[np.random.default_rng(trial.seed).integers(len(rest))]},
        "by layer": {"fvu": error(tuple((i,) for i in range(LAYERS)))},
    }


def activations(part: str, seed: int, limit: int) -> list[Rows]:
    """Activations ``(tokens, 256)`` behind each layer, float32, of the same tokens."""
    points = tuple(f"layers.{i}" for i in range(LAYERS))
    kept = store("train" if part == "train" else "test", points, seed, limit, HOST)
    index = torch.arange(len(kept))
    return [kept.rows(point, index).numpy() for point in points]


def angular_distances(layers: list[Rows]) -> np.ndarray:
    """Mean over tokens of the angle between two layers' activations, in half turns."""
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in layers]
    cosines = np.array([[(a * b).sum(1) for b in units] for a in units])
    distances: np.ndarray = np.arccos(np.clip(cosines, -1.0, 1.0)).mean(-1) / np.pi
    np.fill_diagonal(distances, 0.0)
    return distances


def grouped(distances: np.ndarray) -> tuple[Group, ...]:
    """Two groups of layers by average linkage, each in order, that of the first layer first."""
    label = fcluster(linkage(squareform(distances), "average"), 2, "maxclust")
    return tuple(sorted(tuple(map(int, np.flatnonzero(label == k))) for k in np.unique(label)))


def groupings(layers: int, size: int) -> Iterator[tuple[Group, ...]]:
    """All ways to part the layers in two groups, one of which has ``size`` of them, once each."""
    ways = set()
    for group in combinations(range(layers), size):
        rest = tuple(i for i in range(layers) if i not in group)
        ways.add(tuple(sorted((group, rest))))
    yield from sorted(ways)


def closeness(distances: np.ndarray, groups: tuple[Group, ...]) -> float:
    """Mean distance of two layers of one group, divided by that of two layers of two groups."""
    label = np.empty(len(distances), int)
    for number, group in enumerate(groups):
        label[list(group)] = number
    pairs = np.triu_indices(len(distances), 1)
    same = label[pairs[0]] == label[pairs[1]]
    return float(distances[pairs][same].mean() / distances[pairs][~same].mean())


def _error(model: Autoencoder, rows: Rows) -> float:
    return float(fvu(rows, np.asarray(model.reconstruct(rows))).value)
