"""k-sparse codes against denoising and dropout as features, and what annealing does."""

from typing import Any

import numpy as np
import torch
from torch import nn

import isthmus
from isthmus import data
from isthmus.evaluation import Result, dead_share, fvu, linear_probe
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.small_images import halved

SIDE = 14
WIDTH = 500
ROWS = 20_000
LABELLED = 2_500
STEPS = 1200
STRENGTHS = (1.0, 1e-1, 1e-2)
KS = (5, 15, 25, 40, 100)
ALPHA = 3.0
UNCORRUPTED = 1e-9
"""A share of elements so small that none is ever hit."""


def _best(figures: Figures) -> float:
    return min(figures[f"k={k}"]["error"] for k in KS)


def _rivals(figures: Figures) -> float:
    return min(figures["denoising"]["error"], figures["dropout"]["error"])


@study(
    "k-sparse",
    family="sparse",
    catalogue=14,
    paper="Makhzani, Frey 2013, k-Sparse Autoencoders",
    statement="Hard sparsity alone gives better features for a linear classifier than denoising "
    "and dropout; too small a k gives worse ones; annealing k prevents dead units.",
    headline="MNIST at 28x28, 1000 units, logistic regression on the features with 60,000 labels: "
    "test error 1.35 % (k = 25), 1.54 % (k = 40), 2.10 % (k = 10), against 1.60 % (denoising), "
    "1.95 % (dropout) and 1.81 % (Boltzmann machine; table 2).",
    setting=f"MNIST at 14x14, {WIDTH} units, {STEPS} steps of 100 on {ROWS:,} images; logistic "
    f"regression on {LABELLED:,} labelled ones, error in percent of the 10,000 test images, which "
    f"also say which k is best. Features are the {ALPHA:g} k largest latents. The rivals have "
    "rectified units, untied weights (twice as many parameters), the cross-entropy and Adam at "
    "1e-3. Dead: never among the k largest of a test image.",
    arms={
        **{f"k={k}": f"the k-sparse autoencoder with k = {k}, annealed from 100" for k in KS},
        "k=10": "the same with k = 10",
        "k=10 at once": "the same with k = 10 from the first step",
        "plain": "an autoencoder with rectified units",
        "denoising": "the same, 30 % of the pixels set to zero",
        "dropout": "the same, half of the units dropped",
        "untrained": "control: the k-sparse autoencoder with k = 25 before the first step",
        "pixels": "logistic regression on the pixels",
    },
    recipes=("k-sparse", "denoising"),
    needs=("mnist",),
    checks=(
        Check(
            "test error at the best k, divided by the lower one of denoising and dropout",
            lambda f: _best(f) / _rivals(f),
            at_most=1.0,
            control=lambda f: f["untrained"]["error"] / _rivals(f),
        ),
        Check(
            "test error at k = 5, divided by the higher one at k = 25 and 40",
            lambda f: f["k=5"]["error"] / max(f["k=25"]["error"], f["k=40"]["error"]),
            at_least=1.0,
        ),
        Check(
            f"test error at k = 25 with {ALPHA:g} k latents as features, divided by that with k",
            lambda f: f["k=25"]["error"] / f["k=25"]["error_k_latents"],
            at_most=1.0,
        ),
        Check(
            "dead units at k = 10 with annealing",
            lambda f: f["k=10"]["dead_share"],
            at_most=0.05,
            control=lambda f: f["k=10 at once"]["dead_share"],
        ),
        Check(
            "dead units at k = 10 without annealing",
            lambda f: f["k=10 at once"]["dead_share"],
            at_least=0.2,
        ),
    ),
)
def k_sparse(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """All networks in one pass over the images, and a probe on each one's features."""
    mnist = data.load("mnist")
    assert mnist.test is not None
    drawn = np.random.default_rng(trial.seed).permutation(len(mnist.train))[:ROWS]
    rows, test = halved(mnist.train[drawn]), halved(mnist.test)
    shared: dict[str, Any] = {
        "latent_dim": WIDTH, "batch_size": 100, "seed": trial.seed, "progress": False,
    }  # fmt: skip
    variants: dict[str, dict[str, Any]] = {
        **{f"k={k}": {"recipe": "k-sparse", "k": k} for k in (*KS, 10)},
        "k=10 at once": {"recipe": "k-sparse", "k": 10, "k_start": None},
        "plain": {"strength": UNCORRUPTED, **layers(trial.seed)},
        "denoising": {"strength": 0.3, **layers(trial.seed)},
        "dropout": {"strength": UNCORRUPTED, **layers(trial.seed, dropout=0.5)},
    }
    models = isthmus.fit_many(
        {arm: {"recipe": "denoising", **options} for arm, options in variants.items()},
        rows, steps=trial.steps(STEPS), **shared,
    )  # fmt: skip
    models["untrained"] = isthmus.fit("k-sparse", rows, k=25, steps=1, lr=1e-12, **shared)

    def error(train: np.ndarray, test: np.ndarray) -> float:
        assert mnist.train_labels is not None
        assert mnist.test_labels is not None
        labels = mnist.train_labels[drawn[:LABELLED]], mnist.test_labels
        found = linear_probe(
            train, labels[0], test, labels[1], seeds=trial.seed, strengths=STRENGTHS
        )
        return 100.0 * (1.0 - found.value)

    def features(model: isthmus.Autoencoder) -> tuple[np.ndarray, np.ndarray]:
        return model.encode(rows[:LABELLED]), model.encode(test)

    figures: dict[str, dict[str, float | Result]] = {}
    for arm, model in models.items():
        figures[arm] = {
            "fvu": fvu(test, model.reconstruct(test)),
            "dead_share": dead_share(model.encode(test)),
        }
        if arm == "k=25":
            figures[arm]["error_k_latents"] = error(*features(model))
        if arm.startswith("k=") or arm == "untrained":
            model.bottleneck.alpha = ALPHA  # type: ignore[assignment]
        if not arm.startswith("k=10 ") and arm != "k=10":
            figures[arm]["error"] = error(*features(model))
    figures["pixels"] = {"error": error(rows[:LABELLED], test)}
    return figures


def layers(seed: int, dropout: float = 0.0) -> dict[str, nn.Module]:
    """One layer of rectified units and back, the same weights at each call of one seed.

    ``encoder`` takes ``(rows, 1, 14, 14)`` to ``(rows, 500)``, of which training drops the share
    ``dropout``; ``decoder`` takes these to the images' logits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        into, out = nn.Linear(SIDE * SIDE, WIDTH), nn.Linear(WIDTH, SIDE * SIDE)
    return {
        "encoder": nn.Sequential(nn.Flatten(), into, nn.ReLU(), nn.Dropout(dropout)),
        "decoder": nn.Sequential(out, nn.Unflatten(1, (1, SIDE, SIDE))),
    }
