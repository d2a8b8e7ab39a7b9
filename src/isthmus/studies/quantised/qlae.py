"""Latent quantisation against continuous and vector-quantised codes, on a full grid of shapes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import isthmus
from isthmus import data
from isthmus.anatomy import Autoencoder, Bernoulli, DiscreteCode, Objective
from isthmus.bottlenecks import Identity
from isthmus.data import Sprites
from isthmus.evaluation.disentanglement import infomec
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import Commit, NegativeLogLikelihood, Quantise
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.quantised.vectors import VectorCodebook

STEPS = 3000
LATENT = 8
ENTRIES = 10
VECTOR = 4
HIDDEN = (256, 256)
DECAY = 1.0
"""Ten times the published 0.1: over so few steps that would hardly decay a weight."""

SIZE = 16
BASELINES = ("ae", "beta-vae", "vq")

SAME: dict[str, Any] = {"batch_size": 128, "lr": 1e-3, "optimiser": "adamw", "progress": False}
BIASES = {"match": "*.bias", "weight_decay": 0.0}
VALUES = {"match": "bottleneck.*", "weight_decay": 0.0}
"""Neither biases nor codebooks are decayed, as published."""


def _above(arm: str, measure: str = "info_m") -> Callable[[Figures], float]:
    return lambda f: f["qlae"][measure] - f[arm][measure]


def _above_best(f: Figures, arm: str = "qlae") -> float:
    return f[arm]["info_m"] - max(f[other]["info_m"] for other in BASELINES)


@study(
    "qlae",
    family="quantised",
    catalogue=68,
    paper="Hsu, Dorrell, Whittington, Wu, Finn 2023, Disentanglement via Latent Quantization",
    statement="Scalar quantisation of each latent with strong weight decay raises modularity and "
    "explicitness above an AE, a VAE and a VQ-VAE at no cost in reconstruction.",
    headline="Best InfoM and InfoE on Shapes3D, MPI3D, Falcor3D and Isaac3D, after 200,000 steps "
    "with a style-based decoder.",
    setting=f"432 grey sprites of {SIZE} x {SIZE} pixels, the full grid of 3 shapes, 4 scales and "
    f"6 x 6 positions; {LATENT} latents, MLPs of two layers of 256 (the paper: convolutions and a "
    f"style-based decoder), {STEPS} steps of 128 at 0.001, AdamW with decay {DECAY:g} (the paper: "
    f"0.1 for 200,000 steps). All measures on the training images, as "
    "in the paper.",
    arms={
        "qlae": f"{ENTRIES} values for each latent, weight decay {DECAY:g}",
        "ae": "continuous latents, the same decay",
        "beta-vae": "beta-VAE, beta = 4",
        "vq": f"{LATENT} positions that share {ENTRIES} vectors of width {VECTOR}, the same decay",
        "qlae-undecayed": "QLAE without weight decay",
        "shuffled": "control: QLAE's codes against the factors of other images",
    },
    recipes=("qlae", "beta-vae"),
    checks=(
        Check(
            "InfoM above the best of AE, beta-VAE and VQ",
            _above_best,
            at_least=0.1,
            control=lambda f: _above_best(f, "shuffled"),
        ),
        Check(
            "InfoE above the AE",
            _above("ae", "info_e"),
            at_least=0.0,
            control=lambda f: f["shuffled"]["info_e"] - f["ae"]["info_e"],
        ),
        Check(
            "cross-entropy relative to the AE",
            lambda f: f["qlae"]["bce"] / f["ae"]["bce"],
            at_most=1.1,
        ),
        Check("InfoM that is lost without weight decay", _above("qlae-undecayed"), at_least=0.05),
        Check("InfoM that is lost without codebooks", _above("ae"), at_least=0.05),
    ),
)
def qlae(trial: Trial) -> dict[str, dict[str, float]]:
    """Five models on the same images."""
    images, factors = _grid()
    signal = data.as_source(images).signal
    steps = trial.steps(STEPS)
    plain = NegativeLogLikelihood() * (1.0 / signal.numel)
    quantised: Objective = plain + 0.01 * Quantise() + 0.01 * Commit()

    def own(bottleneck: torch.nn.Module, width: int, objective: Objective) -> Autoencoder:
        return Autoencoder(
            signal,
            encoder=encoder_for(signal, width, "mlp", hidden=HIDDEN),
            bottleneck=bottleneck,
            decoder=decoder_for(signal, width, "mlp", hidden=HIDDEN),
            objective=objective,
            likelihood=Bernoulli(),
        )

    decayed = {**SAME, "weight_decay": DECAY, "groups": (VALUES, BIASES)}
    shared = {"latent_dim": LATENT, "network": "mlp", "hidden": HIDDEN}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(trial.seed)
        ae = own(Identity(), LATENT, plain)
        vq = own(VectorCodebook(LATENT, ENTRIES, VECTOR), LATENT * VECTOR, quantised)
    variants: dict[str, tuple[str | Autoencoder, dict[str, Any]]] = {
        "qlae": ("qlae", {**shared, **decayed, "entries": ENTRIES}),
        "ae": (ae, {**decayed, "groups": (BIASES,)}),
        "beta-vae": ("beta-vae", {**shared, **SAME, "capacity": None, "beta": 4.0}),
        "vq": (vq, decayed),
        "qlae-undecayed": ("qlae", {**shared, **decayed, "entries": ENTRIES, "weight_decay": 0.0}),
    }
    figures, codes = {}, {}
    for arm, (recipe, options) in variants.items():
        model = isthmus.fit(recipe, images, steps=steps, seed=trial.seed, **options)
        code = model.encode(images, code=True)
        labels = code.indices if isinstance(code, DiscreteCode) else None
        codes[arm] = (code.z if labels is None else labels).numpy()
        figures[arm] = _informed(codes[arm], factors, labels is not None)
        rebuilt = torch.from_numpy(model.reconstruct(images))
        loss = F.binary_cross_entropy(rebuilt, torch.from_numpy(images))
        figures[arm]["bce"] = float(loss)
    others = np.random.default_rng(trial.seed).permutation(factors)
    figures["shuffled"] = _informed(codes["qlae"], others, labels=True)
    return figures


def _informed(codes: np.ndarray, factors: np.ndarray, labels: bool) -> dict[str, float]:
    found = infomec(codes, factors, discrete_codes=labels)
    return {
        "info_m": found.modularity.value,
        "info_e": found.explicitness.value,
        "info_c": found.compactness.value,
    }


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Every combination once: images ``(432, 1, 16, 16)`` in [0, 1], levels ``(432, 4)``."""
    sprites = Sprites()
    places = torch.linspace(0, 31, 6).round().long()
    scales = torch.tensor([0, 2, 3, 5])
    levels = torch.cartesian_prod(torch.arange(3), scales, torch.tensor([0]), places, places)
    fine = sprites.rows(sprites.index(levels))
    images = F.avg_pool2d(fine, sprites.size // SIZE)
    return images.numpy(), levels[:, [0, 1, 3, 4]].numpy()
