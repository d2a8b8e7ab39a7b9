"""Latents on the patches of scenes: where they light up, and what happens when they are clamped."""

# About 45 CPU seconds a seed: a classifier of 800 steps at 36 ms, a dictionary of 1500 at 5 ms.

import numpy as np
import torch
from torch import Tensor

from isthmus import data
from isthmus.activations import Activations
from isthmus.anatomy import Autoencoder
from isthmus.data.made.tiled_scenes import Scenes, tiled
from isthmus.evaluation import fvu
from isthmus.interpretation import Steering, spliced
from isthmus.interpretation.regions import Concepts, region_concepts, region_scores
from isthmus.studies import Premise, Primary, Secondary, Trial, Tuning, experiment, less, value
from isthmus.studies.benches.images import prepared
from isthmus.studies.benches.patch_classifier import (
    PATCHES,
    POINT,
    PatchClassifier,
    patch_classifier,
)
from isthmus.studies.interpret.bases import principal

NEEDS = ("mnist", "fashion-mnist")
KINDS, IMAGES, TRAINING = 20, 20_000, 800
FITTED, SEARCHED, HELD, STEERED = 3000, 1000, 1000, 100
LATENTS, ACTIVE, STEPS, DIRECTIONS = 512, 8, 1500, 256
STRENGTH = 2.0
"""A clamped latent has this many times the largest value that it had on other scenes."""


@experiment(
    "patch-features",
    family="interpret",
    catalogue=2,
    paper="Zhang, Shen, Yang, Ma, Loy, Liu 2024, Large Multi-modal Models Can Interpret Features "
    "in Large Multi-modal Models, arXiv:2411.14982",
    statement="Where a latent of a dictionary on image patches lights up, there is what it stands "
    "for: its regions cover their concept better than those of single elements do, and clamping "
    "latents steers the output towards their concept.",
    headline="131,072 latents, k = 256, on LLaVA-NeXT-8B: explanations by LLaVA-OneVision-72B, "
    "scored by the regions that GroundingDINO and SAM find for them; no number in the abstract.",
    needs=NEEDS,
    recipes=("topk",),
    reading="In the mean over units latents do worse (0.16): most are on for less than a class, "
    "while any direction, a random one too (0.25), lights up broad parts of every image. The best "
    "unit of each concept is a latent rather than an element (0.37, 0.28; of twice as many random "
    "ones 0.36), and clamped to it a class's latent turns 67 % of the scenes.",
    setting="The explainer, LLaVA, and the detectors are not shown: the concept of a unit is "
    "searched among those that are known, the ten digits and ten kinds of clothes, and their "
    "regions are the true ones. Scenes of 3 x 3 images of MNIST and Fashion-MNIST at 14 x 14 "
    "pixels, one class three times, four others once, two empty; a vision transformer of three "
    f"blocks of width 48 on 36 patches says which class is there most, {TRAINING} steps. The "
    f"dictionary: {LATENTS} latents, k = {ACTIVE}, on the patches' tokens after two blocks, "
    f"{STEPS} steps of 512. A unit is looked at on the five scenes where its mean is largest; its "
    "concept, and the share of the maximum above which a patch is lit, are the best of "
    f"{SEARCHED:,} scenes, and the intersection over union is that of {HELD:,} scenes of test "
    "images, the mean over units. Elements and other directions count with both signs.",
    arms={
        "latents": "the dictionary's latents",
        "neurons": "the elements of the tokens, with both signs",
        "components": "principal components of the tokens, with both signs",
        "random": f"control: {DIRECTIONS} random directions, with both signs",
        "classes": "positive control: the true regions of each class, as units",
        "other latents": "latents drawn at random, clamped in the place of a class's own",
    },
    tuning=Tuning((6e-4, 2.4e-3, 9.6e-3), "fvu", ("latents",)),
    primary=Primary(
        less("iou", "latents", than="neurons"), above=0.0, positive="classes", negative="random"
    ),
    premises=(
        Premise(value("accuracy", "neurons").named("accuracy of the classifier"), above=0.7,
                why="a model that does not know the classes has no concepts of them"),
        Premise(value("fvu", "latents"), below=0.3, why="the dictionary has learnt the tokens"),
    ),
    secondary=(
        Secondary(less("iou", "latents", than="components"), above=0.0),
        Secondary(less("best", "latents", than="neurons"), above=0.0),
        Secondary(
            less("turned", "latents", than="other latents").named(
                "share of scenes that a class's clamped latent turns to it, less that of others"
            ),
            above=0.0,
        ),
    ),
)  # fmt: skip
def patch_features(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: a classifier, a dictionary of its tokens, and the regions of units of both."""
    training, test = (images(part, trial) for part in ("train", "test"))
    model = patch_classifier(lambda n, rng: tiled(*training, n, rng), KINDS, trial, TRAINING)
    rng = np.random.default_rng([trial.seed, 2])
    fitted, searched = (tiled(*training, trial.rows(n, 200), rng) for n in (FITTED, SEARCHED))
    held = tiled(*test, trial.rows(HELD, 200), rng)
    rows, *tokens = (tokens_of(model, scenes) for scenes in (fitted, searched, held))
    width = rows.shape[-1]
    rows = rows.reshape(-1, width)
    dictionary = trial.fit("topk", rows, steps=STEPS, k=ACTIVE, latent_dim=LATENTS, batch_size=512,
                           average=None, lr=trial.rate("latents", 2.4e-3))  # fmt: skip
    directions = rng.normal(size=(DIRECTIONS, width))
    bases = {"neurons": np.eye(width), "components": principal(rows), "random": directions}
    regions = [scenes.masks(KINDS, PATCHES // 3).reshape(len(scenes.main), KINDS, -1)
               for scenes in (searched, held)]  # fmt: skip
    maps = {"latents": [codes(dictionary, x) for x in tokens],
            "classes": [truth.transpose(0, 2, 1).astype(float) for truth in regions]}  # fmt: skip
    for name, basis in bases.items():
        centred = [(x - rows.mean(0)) @ basis.T for x in tokens]
        maps[name] = [np.concatenate([x, -x], 2) for x in centred]
    concepts = {name: region_concepts(seen, regions[0]) for name, (seen, _) in maps.items()}
    figures = {
        name: covered(concepts[name], region_scores(unseen, regions[1], concepts[name]))
        for name, (_, unseen) in maps.items()
    }
    rebuilt = np.asarray(dictionary.reconstruct(tokens[1].reshape(-1, width)))
    figures["latents"]["fvu"] = float(fvu(tokens[1].reshape(-1, width), rebuilt).value)
    named = answers(model, torch.from_numpy(held.pixels))
    figures["neurons"]["accuracy"] = float((named == held.main).mean())
    figures["other latents"] = {}
    for arm, draw in (("latents", None), ("other latents", rng)):
        clamped = clamps(concepts["latents"], maps["latents"][0], draw)
        figures[arm]["turned"] = turned(model, dictionary, held, *clamped)
    return figures


def images(part: str, trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """Images of both data sets ``(rows, 1, 14, 14)`` and their classes, 0 to 19."""
    pixels, labels = [], []
    for number, name in enumerate(NEEDS):
        dataset = data.load(name)
        rows, classes = (getattr(dataset, kind) for kind in (part, f"{part}_labels"))
        order = np.random.default_rng([trial.seed, number]).permutation(len(rows))[:IMAGES]
        pixels.append(prepared(rows[order], 14))
        labels.append(classes[order].astype(np.int64) + 10 * number)
    return np.concatenate(pixels), np.concatenate(labels)


def tokens_of(model: PatchClassifier, scenes: Scenes) -> np.ndarray:
    """Tokens of the patches at :data:`POINT`, ``(scenes, 36, 48)``."""
    take = Activations(model, POINT)
    parts = torch.from_numpy(scenes.pixels).split(250)
    return torch.cat([take(part)[POINT] for part in parts]).numpy()


def codes(dictionary: Autoencoder, tokens: np.ndarray) -> np.ndarray:
    """Latents of each patch, ``(scenes, patches, latents)``."""
    flat = np.asarray(dictionary.encode(tokens.reshape(-1, tokens.shape[-1])))
    return flat.reshape(*tokens.shape[:2], -1)


def covered(concepts: Concepts, scores: np.ndarray) -> dict[str, float]:
    """The mean score of units, and that of the unit of each concept that is best where searched."""
    known = np.unique(concepts.concept[concepts.concept >= 0])
    best = [np.nanargmax(np.where(concepts.concept == one, concepts.iou, np.nan)) for one in known]
    return {
        "iou": float(np.nanmean(scores)),
        "best": float(np.nan_to_num(scores[best]).sum() / KINDS),
        "units": float(np.isfinite(scores).sum()),
    }


def clamps(
    concepts: Concepts, maps: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[dict[int, int], np.ndarray]:
    """By class the latent that covers it best, or with ``rng`` any; and the values they get."""
    alive = np.flatnonzero(concepts.concept >= 0)
    latents = {}
    for one in np.unique(concepts.concept[alive]):
        scores = np.where(concepts.concept == one, concepts.iou, -1.0)
        latents[int(one)] = int(scores.argmax() if rng is None else rng.choice(alive))
    return latents, STRENGTH * maps.max((0, 1))


def turned(
    model: PatchClassifier,
    dictionary: Autoencoder,
    scenes: Scenes,
    latents: dict[int, int],
    values: np.ndarray,
) -> float:
    """Share of scenes of other classes that are given a class while its latent is clamped.

    At every patch; a class without a latent turns none.
    """
    shares = []
    for one, latent in latents.items():
        others = torch.from_numpy(scenes.pixels[scenes.main != one][:STEERED])
        steering = Steering(dictionary, clamp={latent: float(values[latent])})
        with spliced(model, {POINT: steering}):
            shares.append((answers(model, others) == one).mean())
    return float(np.sum(shares) / KINDS)


@torch.no_grad()
def answers(model: PatchClassifier, pixels: Tensor) -> np.ndarray:
    """The class that each scene is given."""
    return torch.cat([model(part).argmax(1) for part in pixels.split(250)]).numpy()
