"""Latent quantisation against continuous codes, on a full grid of sprites."""

from collections.abc import Sequence
from typing import Any

from isthmus.anatomy import Autoencoder, Bernoulli, Signal
from isthmus.bottlenecks import Identity
from isthmus.networks import decoder_for, encoder_for
from isthmus.objectives import NegativeLogLikelihood
from isthmus.studies import (
    Fit,
    Premise,
    Primary,
    Secondary,
    Tuning,
    claim,
    control,
    less,
    ratio,
    value,
)
from isthmus.studies.benches.factors import BY_PIXELS, factors, true_factors

# A seed: 5 fits of 12,000 steps at 2.7 ms, about 2.8 CPU minutes with the measures.

DECAY = 1.0
"""Ten times the published 0.1: over so few steps that would hardly decay a weight."""

BIASES = {"match": "*.bias", "weight_decay": 0.0}
VALUES = {"match": "bottleneck.*", "weight_decay": 0.0}
"""Neither biases nor codebooks are decayed, as published."""

SHARED: dict[str, Any] = {
    "latent_dim": 8, "hidden": (128, 128), "steps": 12_000, "batch_size": 128, "lr": 1e-3,
    "optimiser": "adamw", "clip_value": 1.0,
}  # fmt: skip


def continuous(
    signal: Signal, *, latent_dim: int = 8, hidden: Sequence[int] = (128, 128)
) -> Autoencoder:
    """QLAE without its codebooks: the same networks and cross-entropy per element."""
    return Autoencoder(
        signal,
        encoder=encoder_for(signal, latent_dim, "mlp", hidden=hidden),
        bottleneck=Identity(),
        decoder=decoder_for(signal, latent_dim, "mlp", hidden=hidden),
        objective=NegativeLogLikelihood() * (1.0 / signal.numel),
        likelihood=Bernoulli(),
    )


def _quantised(text: str, decay: float) -> Fit:
    return Fit("qlae", text, entries=10, network="mlp", weight_decay=decay, groups=(VALUES, BIASES))


AE = Fit(continuous, "continuous codes, the same decay", weight_decay=DECAY, groups=(BIASES,))

claim(
    "qlae",
    family="quantised",
    catalogue=68,
    paper="Hsu, Dorrell, Whittington, Wu, Finn 2023, Disentanglement via Latent Quantization",
    statement="Quantising each latent to a few values of its own, under strong weight decay, makes "
    "codes more modular than a plain autoencoder's, at no cost in reconstruction.",
    headline="Shapes3D, MPI3D, Falcor3D and Isaac3D, 200,000 steps with a style-based decoder: "
    'InfoM and InfoE "dramatically" above the plain autoencoder and above VAEs (abstract).',
    recipes=("qlae",),
    bench=factors(scales=6, places=16),
    setting="8 latents of 10 values (twice the factors, as published), MLPs of two layers of 128 "
    f"(the paper: a style-based decoder), 12,000 steps of 128, AdamW with decay {DECAY:g} (the "
    "paper: 0.1 for 200,000 steps). InfoM of labels by counts, whose bias is taken off, of numbers "
    "by neighbours, on 4608 rows.",
    arms={
        "qlae": _quantised(f"10 values a latent, weight decay {DECAY:g}", DECAY),
        "ae": AE,
        "ae-again": control.another_seed(AE, "ae"),
        "qlae-undecayed": _quantised("QLAE without weight decay", 0.0),
        "beta-vae": Fit("beta-vae", "beta-VAE, beta = 4", capacity=None, beta=4.0 * BY_PIXELS,
                        network="mlp", optimiser="adam"),
        "truth": true_factors(),
    },
    measures=("infomec", "cross_entropy"),
    measured_only={"truth": ("infomec",)},
    fit=SHARED,
    tuning=Tuning(
        (2.5e-4, 1e-3, 4e-3), "cross_entropy", ("qlae", "ae", "qlae-undecayed", "beta-vae")
    ),
    primary=Primary(
        less("info_m", "qlae", than="ae"), above=0.0, positive="truth", negative="ae-again"
    ),
    premises=(
        Premise(value("info_e", "qlae"), above=0.3,
                why="a code that does not tell the factors is not modular in any sense"),
    ),
    secondary=(
        Secondary(less("info_e", "qlae", than="ae"), above=0.0),
        Secondary(less("info_m", "qlae", than="beta-vae"), above=0.0),
        Secondary(less("info_m", "qlae", than="qlae-undecayed"), above=0.0),
        Secondary(ratio("cross_entropy", "qlae", to="ae"), below=1.1, source="ours"),
    ),
)  # fmt: skip
