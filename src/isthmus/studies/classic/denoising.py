"""Denoising against plain reconstruction: which gives better features?"""

from typing import Any

import numpy as np
import torch
from torch import nn

import isthmus
from isthmus import data
from isthmus.evaluation import Result, fvu
from isthmus.evaluation.probing import linear_probe
from isthmus.studies import Check, Trial, study
from isthmus.studies.small_images import halved

SIDE = 14
WIDTH = 500
ROWS = 20_000
LABELLED = 2_500
STEPS = 3000
STRENGTHS = (1.0, 1e-1, 1e-2)
DECAY = 1e-4
"""The best of 1e-2, 3e-3, 1e-3 and 1e-4 on the pilot seed."""
UNCORRUPTED = 1e-9
"""A share of elements so small that none is ever hit."""


@study(
    "denoising",
    family="classic",
    catalogue=None,
    paper="Vincent, Larochelle, Lajoie, Bengio, Manzagol 2010, Stacked Denoising Autoencoders",
    statement="Rebuilding the clean input from a corrupted one gives better features than "
    "rebuilding it from itself, even when the code is wider than the input.",
    headline="MNIST, three pretrained layers, fine-tuned: test error 1.28 % (denoising) against "
    "1.40 % (plain autoencoders; table 3). Logistic regression on 1000 denoising features, as "
    "here: 1.60 % (Makhzani, Frey 2013, table 2).",
    setting=f"MNIST, one layer of {WIDTH} sigmoid units for 784 pixels, cross-entropy, {STEPS} "
    f"steps of 128 on {ROWS:,} images; logistic regression on {LABELLED:,} labelled ones, error "
    "in percent of the 10,000 test images. All networks start from the same weights.",
    arms={
        "denoising": "a quarter of the pixels set to zero",
        "plain": "the same without corruption",
        "decay": "the same without corruption, with weight decay",
        "untrained": "control: the units before the first step",
        "pixels": "logistic regression on the pixels",
    },
    recipes=("denoising",),
    needs=("mnist",),
    checks=(
        Check(
            "test error on the features, divided by that of the plain autoencoder",
            lambda f: f["denoising"]["error"] / f["plain"]["error"],
            at_most=0.9,
            control=lambda f: f["untrained"]["error"] / f["plain"]["error"],
        ),
        Check(
            "test error on the features, divided by that on the pixels",
            lambda f: f["denoising"]["error"] / f["pixels"]["error"],
            at_most=0.9,
        ),
    ),
)
def denoising(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """Three networks from the same start, and a probe on each."""
    mnist = data.load("mnist")
    assert mnist.test is not None
    drawn = np.random.default_rng(trial.seed).permutation(len(mnist.train))[:ROWS]
    rows, test = halved(mnist.train[drawn]), halved(mnist.test)
    shared: dict[str, Any] = {"latent_dim": WIDTH, "seed": trial.seed, "progress": False}
    variants: dict[str, dict[str, Any]] = {
        "denoising": {"strength": 0.25},
        "plain": {"strength": UNCORRUPTED},
        "decay": {"strength": UNCORRUPTED, "weight_decay": DECAY},
    }
    models = isthmus.fit_many(
        {
            arm: {"recipe": "denoising", **options, **_layers(trial.seed)}
            for arm, options in variants.items()
        },
        rows, steps=trial.steps(STEPS), batch_size=128, **shared,
    )  # fmt: skip
    models["untrained"] = isthmus.fit(
        "denoising", rows, steps=1, lr=1e-12, **_layers(trial.seed), **shared
    )

    def error(train: np.ndarray, test: np.ndarray) -> float:
        assert mnist.train_labels is not None
        assert mnist.test_labels is not None
        labels = mnist.train_labels[drawn[:LABELLED]], mnist.test_labels
        found = linear_probe(
            train, labels[0], test, labels[1], seeds=trial.seed, strengths=STRENGTHS
        )
        return 100.0 * (1.0 - found.value)

    figures: dict[str, dict[str, float | Result]] = {}
    for arm, model in models.items():
        codes = model.encode(rows[:LABELLED]), model.encode(test)
        figures[arm] = {"error": error(*codes), "fvu": fvu(test, model.reconstruct(test))}
    figures["pixels"] = {"error": error(rows[:LABELLED], test)}
    return figures


def _layers(seed: int) -> dict[str, Any]:
    """The paper's two layers, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, WIDTH), nn.Sigmoid())
        decoder = nn.Sequential(nn.Linear(WIDTH, SIDE * SIDE), nn.Unflatten(1, (1, SIDE, SIDE)))
    return {"encoder": encoder, "decoder": decoder}
