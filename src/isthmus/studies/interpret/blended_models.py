"""Two language models in one by mixed and rebuilt states, against mixed weights."""

# About 115 CPU seconds a seed: models of 700 and 250 steps at 50 ms, three blends of 300.

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from isthmus.interpretation.blended_models import BlendedModels, train_blend
from isthmus.language import Decoder
from isthmus.studies import Premise, Primary, Secondary, Trial, Tuning, experiment, ratio, value
from isthmus.studies.benches.character_models import (
    CONTEXT,
    LAYERS,
    NAME,
    WIDTH,
    Text,
    character_model,
    perplexity,
    shakespeare,
)

STEPS, TUNED, BLENDED, BATCH = 700, 250, 300, 32
HELD, SEEN = 512, 128
COEFFICIENTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
BOTH = ("forwards", "backwards")


@experiment(
    "blended-models",
    family="interpret",
    catalogue=152,
    paper="Ben Chaliah, Dellagi 2024, Superposition in Transformers: A Novel Way of Building "
    "Mixture of Experts, arXiv:2501.00530",
    statement="States of a model and of its fine-tuned copy, mixed along a spline and rebuilt by "
    "autoencoders, keep both domains in one model, where mixed weights lose them.",
    headline="GPT-2 small and a copy tuned to French: lower perplexity than by linear "
    "interpolation and task arithmetic (the README of the released code, no number).",
    needs=(NAME,),
    setting=f"Characters of tinyshakespeare, {LAYERS} layers of width {WIDTH}, {CONTEXT} places, "
    f"{STEPS} steps; the copy is tuned for {TUNED} steps to the same text read backwards. Shares "
    f"and autoencoders: {BLENDED} steps of {BATCH} rows, half of either domain, at one rate of a "
    "grid, the shares at twice that. Perplexity on held-out text of both, and their geometric "
    "mean; the weights are mixed in halves, as in the released code. Its convolution sees the next "
    "character (the arm leaky): here it looks back. Both models run on every text, as in the "
    "authors' training.",
    arms={
        "blend": "mixed states, rebuilt by autoencoders that look back",
        "interpolation": "the mean of the weights",
        "vector": "task arithmetic: the share of the tuning that is best on other rows",
        "states": "mixed states without autoencoders",
        "leaky": "autoencoders that see the next character, as released",
        "experts": "positive control: each text by its own model",
        "untrained": "control: shares and autoencoders before their first step",
        "base": "the model before tuning",
        "tuned": "the tuned copy",
    },
    tuning=Tuning((5e-4, 2e-3, 8e-3), "mean", ("blend", "states", "leaky")),
    primary=Primary(
        ratio(BOTH, "blend", to="interpolation"), below=1.0, positive="experts",
        negative="untrained",
    ),
    premises=(
        Premise(ratio("forwards", "base", to="tuned"), below=0.8, why="the copy has forgotten"),
        Premise(ratio("backwards", "tuned", to="base"), below=0.8, why="the copy has learnt"),
        Premise(
            value("forwards", "base"), below=8.0,
            why="pairs of characters alone have a perplexity of 12",
        ),
    ),
    secondary=(
        Secondary(ratio(BOTH, "blend", to="vector"), below=1.0),
        Secondary(ratio(BOTH, "blend", to="states"), below=1.0),
        Secondary(ratio("worse", "blend", to="interpolation"), below=1.0),
        Secondary(
            value("worse", "blend", null=1.0).named(
                "perplexity of blend relative to the text's own model, on the worse text"
            ),
            below=1.15, source="ours",
        ),
        Secondary(ratio(BOTH, "leaky", to="blend"), below=1.0),
    ),
)  # fmt: skip
def blended_models(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: two models, and what each way of putting them together makes of both texts."""
    text = shakespeare()
    texts = (text, text.backwards)
    base = character_model(text, trial, STEPS)
    tuned = character_model(text.backwards, trial, TUNED, base)
    models: dict[str, torch.nn.Module] = {
        "interpolation": mixed_weights(base, tuned, 0.5),
        "vector": best_vector(base, tuned, texts, trial),
        "base": base,
        "tuned": tuned,
    }
    for arm in ("blend", "states", "leaky", "untrained"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)
            blend = BlendedModels(
                base, tuned, WIDTH, rebuild=arm != "states", causal=arm != "leaky"
            )
        if arm != "untrained":
            train_blend(blend, lessons(texts, trial), rate=trial.rate(arm, 2e-3))
        models[arm] = blend
    rng = np.random.default_rng([trial.seed, 3])
    held = [one.rows(trial.rows(HELD, 64), rng, held=True) for one in texts]
    figures = {arm: dict(zip(BOTH, map(perplexity, (model, model), held), strict=True))
               for arm, model in models.items()}  # fmt: skip
    figures["experts"] = {side: figures[arm][side] for arm, side in
                          zip(("base", "tuned"), BOTH, strict=True)}  # fmt: skip
    for figure in figures.values():
        figure["mean"] = math.sqrt(figure["forwards"] * figure["backwards"])
        figure["worse"] = max(figure[side] / figures["experts"][side] for side in BOTH)
    return figures


def lessons(texts: tuple[Text, Text], trial: Trial) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of both texts, and which of them are of the second."""
    rng = np.random.default_rng([trial.seed, 2])
    second = torch.arange(BATCH) >= BATCH // 2
    for _ in range(trial.steps(BLENDED)):
        yield torch.cat([text.rows(BATCH // 2, rng) for text in texts]), second


@torch.no_grad()
def mixed_weights(base: Decoder, tuned: Decoder, share: float) -> Decoder:
    """A model whose weights are ``(1 - share) base + share tuned``."""
    mixed = copy.deepcopy(base)
    for weight, other in zip(mixed.parameters(), tuned.parameters(), strict=True):
        weight.lerp_(other, share)
    return mixed


def best_vector(base: Decoder, tuned: Decoder, texts: tuple[Text, Text], trial: Trial) -> Decoder:
    """The base with the share of what tuning changed that does best on rows of both texts."""
    rng = np.random.default_rng([trial.seed, 4])
    rows = [text.rows(trial.rows(SEEN, 32), rng) for text in texts]
    models = [mixed_weights(base, tuned, share) for share in COEFFICIENTS]
    losses = [sum(math.log(perplexity(model, part)) for part in rows) for model in models]
    return models[int(np.argmin(losses))]
