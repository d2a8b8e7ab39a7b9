"""Activations of chat samples run one by one against those of samples cut into blocks."""

# About 90 CPU seconds a seed: a host tuned for 100 steps at 250 ms, five fits of 1000 at 6 ms.

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from isthmus.evaluation import Firing
from isthmus.language import Decoder, LanguageModel, Tokens
from isthmus.studies import (
    Premise,
    Primary,
    Published,
    Secondary,
    Trial,
    Tuning,
    apart,
    experiment,
    ratio,
    value,
)  # fmt: skip
from isthmus.studies.benches.dialogues import TURNS, Sample, alone, blocks, dialogues
from isthmus.studies.benches.hosts import activations, with_weights
from isthmus.studies.benches.language import NEEDS, POINT, WIDTHS, host, tokens

TUNED, FITTED, HELD = 1600, 700, 100
"""Samples that the host is tuned on, those of them that dictionaries see, and others."""
TUNING, BATCH, HOST_RATE = 100, 16, 1e-3
WIDTH, ACTIVE, STEPS = 1024, 16, 1000

Rows = np.ndarray


@experiment(
    "per-sample-harvest",
    family="interpret",
    catalogue=228,
    paper="Li, Ye, Chen et al. 2025, Training Superior Sparse Autoencoders for Instruct Models, "
    "arXiv:2506.07691",
    statement="Dictionaries of an instruct model rebuild its activations better where they were "
    "fitted on samples that ran one by one, in their template, than on blocks of joined samples.",
    headline="Qwen2.5-7B-Instruct: mean squared error of a token 0.6468, against 1.5096 for blocks "
    "of the same samples and 5.1985 for blocks of pretraining text.",
    needs=NEEDS,
    recipes=("jumprelu",),
    reading="Four of five seeds lie on the paper's side, by 4 % in the mean where the paper has a "
    "factor of two. What differs is the template: at its tokens the error is 0.60 times that of "
    "blocks, but they are few; the rest of a made dialogue means the same beside another one.",
    setting=f"The resident model (width {WIDTHS['resident']}), tuned for {TUNING} steps on "
    f"{TUNED:,} made dialogues: {TURNS} sentences of its books and essays in turn, each behind a "
    f"line with a role. Activations after {POINT} of {FITTED} of them, run one by one, or joined "
    "and cut into rows of the model's context; as many tokens of both. Dictionaries with JumpReLU, "
    f"width {WIDTH}, held at L0 = {ACTIVE}, {STEPS} steps of 512 rows; squared error per element "
    f"on {HELD} other dialogues, run one by one. A tuned model of this size knows the template and "
    "follows no instructions.",
    arms={
        "one by one": "samples run one by one",
        "blocks": "the same samples, joined and cut into blocks",
        "text": "blocks of the text that the model was trained on first",
        "blocks again": "control: blocks once more, the dictionary from another seed",
        "wider": "positive control: samples one by one, with twice the L0",
    },
    tuning=Tuning((6e-4, 2.4e-3, 9.6e-3), "mse", ("one by one", "blocks")),
    primary=Primary(
        ratio("mse", "one by one", to="blocks"), below=1.0, positive="wider",
        negative="blocks again", published=Published(0.6468 / 1.5096, "the abstract, by division"),
    ),
    premises=(
        Premise(
            apart("l0", "one by one", to="blocks"),
            below=0.1,
            why="errors are compared at equal L0",
        ),
        Premise(
            value("template_ce", "one by one").named(
                "cross-entropy of the template's tokens, relative to that before tuning"
            ),
            below=0.2,
            why="the model has learnt the template",
        ),
    ),
    secondary=(
        Secondary(ratio("mse_template", "one by one", to="blocks"), below=1.0),
        Secondary(
            ratio("mse", "one by one", to="text"), below=1.0,
            published=Published(0.6468 / 5.1985, "the abstract, by division"),
        ),
    ),
)  # fmt: skip
def per_sample_harvest(trial: Trial) -> dict[str, dict[str, float]]:
    """One seed: a tuned host, dictionaries of its activations, and their errors on dialogues."""
    base = host()
    samples = list(dialogues(base, trial.seed, TUNED + HELD))
    tuned_on, held = samples[:TUNED], samples[TUNED:]
    model = tuned(base, tuned_on, trial)
    fitted = tuned_on[: trial.rows(FITTED) if not trial.probing else 40]
    singles = alone(fitted, base)
    count = int(singles.mask.sum()) - len(fitted)
    rows = {
        "one by one": singles,
        "blocks": blocks(fitted, base),
        "text": tokens("train", trial.seed, count),
    }
    seen = {name: activations(model, text, POINT) for name, text in rows.items()}
    test = activations(model, alone(held, base), POINT)
    template = np.concatenate([sample.template for sample in held])
    figures = {}
    for arm, data, rate, options in (
        ("one by one", "one by one", "one by one", {"l0": float(ACTIVE)}),
        ("blocks", "blocks", "blocks", {"l0": float(ACTIVE)}),
        ("text", "text", "blocks", {"l0": float(ACTIVE)}),
        ("blocks again", "blocks", "blocks", {"l0": float(ACTIVE), "seed": trial.seed + 1000}),
        ("wider", "one by one", "one by one", {"l0": 2.0 * ACTIVE}),
    ):
        dictionary = trial.fit(
            "jumprelu", seen[data], steps=STEPS, latent_dim=WIDTH, batch_size=512, average=None,
            lr=trial.rate(rate, 2.4e-3), **options,
        )  # fmt: skip
        errors = np.square(np.asarray(dictionary.reconstruct(test)) - test).mean(1)
        firing = Firing().update(dictionary.encode(test, code=True))
        figures[arm] = {
            "mse": float(errors.mean()), "mse_template": float(errors[template].mean()),
            "l0": float(firing.l0().value),
        }  # fmt: skip
    before, after = (template_loss(one, alone(held, base), template) for one in (base, model))
    figures["one by one"]["template_ce"] = after / before
    return figures


def tuned(model: LanguageModel, samples: Sequence[Sample], trial: Trial) -> LanguageModel:
    """The model after some steps on samples, one by one, by AdamW."""
    module = copy.deepcopy(model.module)
    assert isinstance(module, Decoder)
    module.requires_grad_(True)
    optimiser = torch.optim.AdamW(module.parameters(), HOST_RATE, betas=(0.9, 0.98))
    rng = np.random.default_rng([trial.seed, 1])
    for _ in range(trial.steps(TUNING)):
        text = alone([samples[i] for i in rng.integers(len(samples), size=BATCH)], model)
        losses = cross_entropies(module, text)
        optimiser.zero_grad()
        losses.mean().backward()
        optimiser.step()
    return with_weights(model, module)


def cross_entropies(module: torch.nn.Module, text: Tokens) -> torch.Tensor:
    """Of every token behind BOS, in nats, in the order of the rows."""
    logits = module(text.ids[:, :-1])
    losses = F.cross_entropy(logits.flatten(0, 1), text.ids[:, 1:].flatten(), reduction="none")
    return losses[text.mask[:, 1:].flatten()]


@torch.no_grad()
def template_loss(model: LanguageModel, text: Tokens, template: Rows) -> float:
    """Mean cross-entropy of the template's tokens, in nats."""
    return float(cross_entropies(model.module, text)[torch.from_numpy(template)].mean())
