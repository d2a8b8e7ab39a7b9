"""A cross-layer transcoder against transcoders of each layer: error, and what the model loses."""

# About 240 CPU seconds a seed: six fits of 2,000 steps of four layers together or of one each.
from collections.abc import Mapping, Sequence

import numpy as np

import isthmus
from isthmus.activations import Store
from isthmus.anatomy import Autoencoder
from isthmus.interpretation import Splice
from isthmus.interpretation.replacement import layer_splices
from isthmus.interpretation.splice import Edit
from isthmus.studies import (
    Premise,
    Primary,
    Secondary,
    Trial,
    Tuning,
    experiment,
    quantity,
    ratio,
)
from isthmus.studies.benches.language import NEEDS, store, tokens
from isthmus.studies.circuits.transcoder import cross_entropy

LAYERS = range(4)
READ = [f"layers.{layer}.mlp:in" for layer in LAYERS]
WRITTEN = [f"layers.{layer}.mlp" for layer in LAYERS]
POINTS = (*READ, *WRITTEN)
K, WIDTH = 8, 2 * 192
STEPS, BATCH, RATE = 2000, 1024, 1.6e-3
TRAIN, HELD, SPLICED = 200_000, 8192, 8000
"""Tokens to train on, to measure errors on, and to run the changed model on."""

Measured = dict[str, dict[str, float]]


@experiment(
    "cross-layer-transcoder",
    family="circuits",
    catalogue=None,
    paper="Ameisen, Lindsey et al. 2025, Circuit Tracing: Revealing Computational Graphs in "
    "Language Models, Transformer Circuits Thread",
    statement="At equal numbers of active latents a cross-layer transcoder rebuilds what "
    "feed-forward parts write at less error than transcoders of each layer.",
    headline="An 18-layer model and Claude 3.5 Haiku: lower normalised error, and more often the "
    "model's own next token, than per-layer transcoders of the same number of latents "
    "(cross-layer transcoder evaluation).",
    setting=f"The resident model (4 layers, width 192), {TRAIN:,} tokens of its training text, "
    f"other text to measure on. All four feed-forward parts, {WIDTH} latents a layer (twice its "
    f"width), BatchTopK of {K} a layer and token: of all layers together, and of each alone. "
    f"{STEPS:,} steps of {BATCH:,}, a rate from one grid for each arm, falling to zero, AuxK for "
    "both. The error is the fraction of variance unexplained, a mean over the layers.",
    arms={
        "cross-layer": "a cross-layer transcoder of all four layers",
        "per-layer": "a transcoder of each layer",
        "per-layer-again": "control: transcoders of each layer, from another seed",
        "per-layer-twice": "positive control: transcoders of each layer with twice as many active",
        "mean": "the mean of what each part writes, whatever it reads",
    },
    recipes=("cross-layer-transcoder",),
    needs=NEEDS,
    tuning=Tuning((4e-4, 1.6e-3, 6.4e-3), "fvu", ("cross-layer", "per-layer")),
    primary=Primary(
        ratio("fvu", "cross-layer", to="per-layer"), below=1.0, positive="per-layer-twice",
        negative="per-layer-again",
    ),
    premises=(
        Premise(
            quantity(
                "active latents of cross-layer relative to per-layer, from 1",
                lambda f: abs(f["cross-layer"]["l0"] / f["per-layer"]["l0"] - 1.0),
            ),
            below=0.05,
            why="the two kinds are compared at equal sparsity",
        ),
        Premise(ratio("added_ce", "mean", to="per-layer"), above=2.0,
                why="the parts do something that can be lost"),
    ),
    secondary=(
        Secondary(ratio("added_ce", "cross-layer", to="per-layer"), below=1.0),
    ),
)  # fmt: skip
def cross_layer_transcoder(trial: Trial) -> Measured:
    """One seed: both kinds on all layers, their errors, and the model with all parts replaced."""
    kept = store("train", POINTS, trial.seed, trial.rows(TRAIN))
    held = store("test", POINTS, trial.seed, trial.rows(HELD))
    text = tokens("test", trial.seed, trial.rows(SPLICED))
    clean = cross_entropy(text, {})

    def options(arm: str, more: int) -> dict[str, object]:
        return {
            "latent_dim": WIDTH, "steps": STEPS, "batch_size": BATCH, "lr": trial.rate(arm, RATE),
            "lr_schedule": "linear", "average": None, "warmup": 100, "seed": trial.seed + more,
        }  # fmt: skip

    def each(more: int = 0, k: int = K) -> list[Autoencoder]:
        return [
            trial.fit("transcoder", kept.pair(into, out), k=k, select="batch",
                      **options("per-layer", more))  # type: ignore[arg-type]
            for into, out in zip(READ, WRITTEN, strict=True)
        ]  # fmt: skip

    def added(edits: Mapping[str, Edit]) -> dict[str, float]:
        return {"added_ce": cross_entropy(text, edits) - clean}

    def measured(models: Sequence[Autoencoder]) -> dict[str, float]:
        edits: dict[str, Edit] = {
            out: Splice(model, reads=into)
            for model, into, out in zip(models, READ, WRITTEN, strict=True)
        }
        return of_each(models, held) | added(edits)

    across = trial.fit(
        "cross-layer-transcoder", kept.source(POINTS), k=K, **options("cross-layer", 0)  # type: ignore[arg-type]
    )  # fmt: skip
    means = {out: kept.mean(out) for out in WRITTEN}
    hold = {out: (lambda x, m=mean: m.expand_as(x)) for out, mean in means.items()}
    return {
        "cross-layer": of_all(across, held) | added(layer_splices(across)),
        "per-layer": measured(each()),
        "per-layer-again": measured(each(1000)),
        "per-layer-twice": measured(each(k=2 * K)),
        "mean": added(hold),  # type: ignore[arg-type]
    }


def of_each(models: Sequence[Autoencoder], held: Store) -> dict[str, float]:
    """The mean error of transcoders of each layer, and how many of their latents are active."""
    measures = [
        isthmus.evaluate(model, held.pair(into, out))
        for model, into, out in zip(models, READ, WRITTEN, strict=True)
    ]
    return {
        "fvu": float(np.mean([one["fvu"].value for one in measures])),
        "l0": float(sum(one["l0"].value for one in measures)),
    }


def of_all(model: Autoencoder, held: Store) -> dict[str, float]:
    """The same of a cross-layer transcoder."""
    measures = isthmus.evaluate(model, held.source(POINTS))
    return {
        "fvu": float(np.mean([measures[f"fvu.{name}"].value for name in WRITTEN])),
        "l0": measures["l0"].value,
    }
