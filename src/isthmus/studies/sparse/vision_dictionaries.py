"""Codes of a dictionary on a classifier's features: do they tell images of another kind?"""

# About 40 CPU seconds a seed: a classifier of 500 steps at 40 ms, a dictionary of 1500 at 4 ms.

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from isthmus.evaluation import fvu
from isthmus.evaluation.anomaly import auroc
from isthmus.studies import (
    Coded,
    Ground,
    Premise,
    Primary,
    Secondary,
    Trial,
    Tuning,
    control,
    experiment,
    less,
    value,
)
from isthmus.studies.benches.classifier import FEATURES, accuracy, classifier, features
from isthmus.studies.benches.images import images

ROWS, HELD, STEPS = 20_000, 2000, 500
INSIDE, OUTSIDE = (
    images(name, rows=ROWS, held=HELD, side=14) for name in ("fashion-mnist", "mnist")
)
WIDTH, ACTIVE = 1024, 16
KINDS = (0, 1, 0, 2, 0, 3, 0, 3, 4, 3)
"""Tops, trousers, dresses, shoes and bags: a class's branch in the tree of clothes."""


@experiment(
    "vision-dictionaries",
    family="sparse",
    catalogue=208,
    paper="Olson, Hinck, Ratzlaff, Li, Howard, Lal, Tseng 2025, Probing the Representational Power "
    "of Sparse Autoencoders in Vision Models, arXiv:2508.11277",
    statement="Features of dictionaries on vision models mean something: profiles of classes in "
    "them tell images of another kind, and mirror the classes' ontology.",
    headline="Vision embedding models, multimodal and diffusion models; features serve detection "
    "out of distribution and recover the ontology of the model; no number in the abstract.",
    recipes=("topk",),
    needs=(*INSIDE.needs, *OUTSIDE.needs),
    setting=f"A convolutional classifier of Fashion-MNIST at 14 x 14 pixels, {ROWS:,} images, "
    f"{STEPS} steps; a TopK dictionary of {WIDTH} latents, k = {ACTIVE}, on its {FEATURES} "
    f"penultimate features. A class's profile is the mean code of its images; a test image is as "
    f"near as its cosine with the nearest profile. {HELD:,} test images of Fashion-MNIST against "
    "as many of MNIST, by the area under the ROC curve; the rival is the classifier's largest "
    "softmax. Generation is not tried.",
    arms={
        "codes": "cosine with the nearest profile of codes",
        "softmax": "the classifier's largest softmax",
        "features": "cosine with the nearest profile of the features themselves",
        "moved": "control: the codes' values at latents drawn at random",
        "labelled": "positive control: logistic regression that was told which training images "
        "are of which kind",
    },
    tuning=Tuning((6e-4, 2.4e-3, 9.6e-3), "fvu", ("codes",)),
    primary=Primary(
        less("auroc", "codes", than="softmax"), above=0.0, positive="labelled", negative="moved"
    ),
    premises=(
        Premise(value("accuracy", "softmax"), above=0.75, why="the classifier knows the classes"),
        Premise(
            less("accuracy", "codes", than="softmax"), above=-0.03,
            why="with reconstructions for features it classifies as before: the codes hold them",
        ),
    ),
    secondary=(
        Secondary(less("auroc", "codes", than="features"), above=0.0),
        Secondary(
            value("ontology", "codes").named(
                "cosine of two profiles of codes within a branch of the tree, less that between"
            ),
            above=0.0,
        ),
    ),
)  # fmt: skip
def vision_dictionaries(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: a classifier, its dictionary, and both kinds of test images."""
    inside, outside = (bench.open(trial) for bench in (INSIDE, OUTSIDE))
    classes, truth = inside.known["classes"], inside.known["truth"]
    trunk, head = classifier(inside.rows, classes, trial, STEPS)
    seen, unseen, foreign = (
        features(trunk, part) for part in (inside.rows, inside.held, outside.held)
    )
    model = trial.fit("topk", seen, steps=1500, k=ACTIVE, latent_dim=WIDTH, batch_size=512,
                      average=None, lr=trial.rate("codes", 2.4e-3))  # fmt: skip
    ground = Ground(seen, unseen, trial.seed)
    moved = control.moved_latents("codes").make({"codes": model}, ground, trial)
    figures = {}
    subjects = {"codes": model, "moved": moved, "features": Coded(np.asarray, np.asarray)}
    for arm, subject in subjects.items():
        codes, tested, others = (
            np.asarray(subject.encode(part)) for part in (seen, unseen, foreign)
        )
        means = profiles(codes, classes)
        figures[arm] = {
            "auroc": area(nearest(tested, means), nearest(others, means)),
            "ontology": branches(means),
        }
    rebuilt = np.asarray(model.reconstruct(unseen))
    figures["codes"] |= {
        "fvu": float(fvu(unseen, rebuilt).value), "accuracy": accuracy(head, rebuilt, truth)
    }  # fmt: skip
    figures["softmax"] = {
        "auroc": area(largest_softmax(head, unseen), largest_softmax(head, foreign)),
        "accuracy": accuracy(head, unseen, truth),
    }
    some = slice(HELD)
    both = np.concatenate([seen[some], features(trunk, outside.rows[some])])
    kind = np.arange(len(both)) < len(seen[some])
    probe = LogisticRegression(max_iter=500).fit(both, kind)
    figures["labelled"] = {
        "auroc": area(probe.decision_function(unseen), probe.decision_function(foreign))
    }
    return figures


def profiles(codes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Mean codes of the classes that there are, each of length 1, ``(classes, latents)``."""
    means = np.stack([codes[classes == one].mean(0) for one in range(len(KINDS))])
    return _unit(means)


def nearest(codes: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Each code's largest cosine with a profile."""
    largest: np.ndarray = (_unit(codes) @ means.T).max(1)
    return largest


def branches(means: np.ndarray) -> float:
    """Mean cosine of two profiles of one branch of the tree, less that of two branches."""
    pairs = np.triu_indices(len(means), 1)
    kind = np.asarray(KINDS)
    same = kind[pairs[0]] == kind[pairs[1]]
    cosines = (means @ means.T)[pairs]
    return float(cosines[same].mean() - cosines[~same].mean())


def area(inside: np.ndarray, outside: np.ndarray) -> float:
    """Area under the ROC curve where higher scores say that an image is of the known kind."""
    labels = np.repeat([0, 1], [len(inside), len(outside)])
    scores = np.concatenate([inside, outside])
    return float(auroc(scores, labels, higher_is_anomalous=False).value)


@torch.no_grad()
def largest_softmax(head: nn.Linear, rows: np.ndarray) -> np.ndarray:
    """The largest probability of a class, for each row of features."""
    largest: np.ndarray = head(torch.from_numpy(rows)).double().softmax(1).max(1).values.numpy()
    return largest


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
