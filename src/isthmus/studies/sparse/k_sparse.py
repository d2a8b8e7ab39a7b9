"""k-sparse codes against dropout and denoising as features, and what annealing does."""

# About 200 CPU seconds a seed: six fits of 3,000 steps and as many classifiers.
import torch
from torch import nn

from isthmus.studies import (
    Anchor,
    Anchors,
    Fit,
    Ground,
    Primary,
    Published,
    Secondary,
    Tuning,
    claim,
    control,
    less,
    ratio,
)  # fmt: skip
from isthmus.studies.benches.images import fewer_labels, images, pixels

WIDTH = 1000
UNCORRUPTED = 1e-9
"""A share of elements so small that none is ever hit."""


def encoder(ground: Ground, dropout: float = 0.0) -> nn.Module:
    """One layer of rectified units, of which training drops a share; the same in every arm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ground.seed)
        into = nn.Linear(ground.rows[0].size, WIDTH)
    return nn.Sequential(nn.Flatten(), into, nn.ReLU(), nn.Dropout(dropout))


def decoder(ground: Ground) -> nn.Module:
    """Back to the images' logits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ground.seed + 1)
        out = nn.Linear(WIDTH, ground.rows[0].size)
    return nn.Sequential(out, nn.Unflatten(1, ground.rows.shape[1:]))


def _rival(text: str, strength: float, dropout: float = 0.0) -> Fit:
    return Fit(
        "denoising", text, strength=strength, encoder=lambda ground: encoder(ground, dropout),
        decoder=decoder,
    )  # fmt: skip


def _sparse(k: int, text: str = "", **options: object) -> Fit:
    return Fit("k-sparse", text or f"k = {k}, annealed from 100; 3 k latents as features", k=k,
               alpha=3.0, **options)  # fmt: skip


DROPOUT = _rival("an autoencoder with rectified units, half of them dropped", UNCORRUPTED, 0.5)
SHARED = {
    "latent_dim": WIDTH,
    "steps": 3000,
    "batch_size": 100,
    "lr": 1e-3,
    "lr_schedule": "linear",
    "optimiser": "adam",
    "optimiser_options": {},
}

claim(
    "k-sparse",
    family="sparse",
    catalogue=14,
    paper="Makhzani, Frey 2013, k-Sparse Autoencoders",
    statement="Hard sparsity alone gives better features for a linear classifier than denoising "
    "and dropout; too small a k gives worse ones; annealing k prevents dead units.",
    headline="MNIST at 28x28, 1000 units, logistic regression on the features with 60,000 labels: "
    "test error 1.35 % (k = 25), 1.54 % (k = 40), 2.10 % (k = 10), against 1.60 % (denoising), "
    "1.95 % (dropout) and 1.81 % (Boltzmann machine; table 2).",
    recipes=("k-sparse",),
    bench=images("mnist", rows=20_000),
    setting=f"{WIDTH} units, 3,000 steps of 100 with Adam at a falling rate in every arm, so "
    "that the optimiser decides nothing (the paper takes gradient descent with momentum for "
    "5,000 passes); logistic regression on 2,500 labelled images, error in per cent of the test "
    "images. The rivals have untied weights, twice as many parameters, and the cross-entropy. "
    "Dead: never among the k largest of a test image.",
    arms={
        "k=25": _sparse(25),
        "k=10": _sparse(10),
        "k=10 at once": _sparse(10, "k = 10 from the first step", k_start=None),
        "dropout": DROPOUT,
        "dropout-again": control.another_seed(DROPOUT, "dropout"),
        "denoising": _rival("the same, 30 % of the pixels set to zero", 0.3),
        "pixels": pixels(),
    },
    measures=("probe_error", "probe_error_quarter", "fvu", "dead_share"),
    measured_only={"pixels": ("probe_error",)},
    fit=SHARED,
    tuning=Tuning(
        (3e-4, 1e-3, 3e-3), "probe_error", ("k=25", "k=10", "k=10 at once", "dropout", "denoising")
    ),
    anchors=(
        Anchors(
            "A linear classifier on sparse features of MNIST",
            "test error in per cent, lower is better",
            "Makhzani, Frey 2013, table 2: 1000 units, logistic regression with 60,000 labels",
            "Adam, 15 passes over 20,000 images and 2,500 labels here",
            (
                Anchor("k-sparse, k = 25", 1.35, "k=25", "probe_error"),
                Anchor("k-sparse, k = 10", 2.10, "k=10", "probe_error"),
                Anchor("denoising", 1.60, "denoising", "probe_error"),
                Anchor("dropout", 1.95, "dropout", "probe_error"),
            ),
        ),
    ),
    primary=Primary(
        ratio("probe_error", "k=25", to="dropout"), below=1.0, negative="dropout-again",
        positive=fewer_labels("dropout"),
        published=Published(1.35 / 1.95, "table 2: 1.35 and 1.95 %"),
    ),
    secondary=(
        Secondary(ratio("probe_error", "k=25", to="denoising"), below=1.0),
        Secondary(ratio("probe_error", "k=10", to="k=25"), above=1.0),
        Secondary(less("dead_share", "k=10", than="k=10 at once"), below=0.0),
        Secondary(ratio("probe_error", "k=25", to="pixels"), below=1.0),
    ),
)  # fmt: skip
