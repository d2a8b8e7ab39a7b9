"""Denoising against plain reconstruction: which gives better features?"""

# About 60 CPU seconds a seed: three fits of 3,000 steps and four classifiers.
from typing import Any, Literal

import torch
from torch import nn

from isthmus.studies import (
    Fit,
    Ground,
    Primary,
    Published,
    Secondary,
    Tuning,
    claim,
    control,
    ratio,
)  # fmt: skip
from isthmus.studies.benches.images import fewer_labels, images, pixels

SIDE: Literal[14] = 14
WIDTH = 500
UNCORRUPTED = 1e-9
"""A share of elements so small that none is ever hit."""


def _encoder(ground: Ground) -> nn.Module:
    """The paper's first layer; the same weights in every arm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ground.seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, WIDTH), nn.Sigmoid())


def _decoder(ground: Ground) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ground.seed + 1)
        return nn.Sequential(nn.Linear(WIDTH, SIDE * SIDE), nn.Unflatten(1, (1, SIDE, SIDE)))


def _arm(text: str, strength: float, **options: Any) -> Fit:
    return Fit("denoising", text, strength=strength, encoder=_encoder, decoder=_decoder, **options)


PLAIN = _arm("the same without corruption", UNCORRUPTED)
SHARED = {"latent_dim": WIDTH, "steps": 3000, "batch_size": 128}

claim(
    "denoising",
    family="classic",
    catalogue=None,
    paper="Vincent, Larochelle, Lajoie, Bengio, Manzagol 2010, Stacked Denoising Autoencoders",
    statement="Rebuilding the clean input from a corrupted one gives better features than "
    "rebuilding it from itself, even when the code is wider than the input.",
    headline="MNIST, three pretrained layers, fine-tuned: test error 1.28 % (denoising) against "
    "1.40 % (plain autoencoders; table 3). Logistic regression on 1000 denoising features, as "
    "here: 1.60 % (Makhzani, Frey 2013, table 2).",
    recipes=("denoising",),
    bench=images("mnist", rows=20_000, side=SIDE),
    setting=f"One layer of {WIDTH} sigmoid units for {SIDE * SIDE} pixels, cross-entropy, 3,000 "
    "steps of 128; logistic regression on 2,500 labelled images, error in per cent of the test "
    "images. All networks start from the same weights.",
    arms={
        "denoising": _arm("a quarter of the pixels set to zero", 0.25),
        "plain": PLAIN,
        "plain-again": control.another_seed(PLAIN, "plain"),
        "decay": _arm("without corruption, with weight decay", UNCORRUPTED, weight_decay=1e-4),
        "untrained": control.untrained(PLAIN, "plain"),
        "pixels": pixels(),
    },
    measures=("probe_error", "probe_error_quarter", "fvu"),
    measured_only={"pixels": ("probe_error",), "untrained": ("probe_error",)},
    fit=SHARED,
    tuning=Tuning((3e-4, 1e-3, 3e-3), "probe_error", ("denoising", "plain", "decay")),
    primary=Primary(
        ratio("probe_error", "denoising", to="plain"), below=1.0, negative="plain-again",
        positive=fewer_labels("plain"),
        published=Published(1.28 / 1.40, "table 3: 1.28 and 1.40 %, three layers, fine-tuned"),
    ),
    secondary=(
        Secondary(ratio("probe_error", "denoising", to="decay"), below=1.0),
        Secondary(ratio("probe_error", "denoising", to="pixels"), below=1.0),
        Secondary(ratio("probe_error", "denoising", to="untrained"), below=1.0),
    ),
)  # fmt: skip
