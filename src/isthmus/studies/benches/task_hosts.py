"""Transformers of two layers and four heads, trained on one small task, as hosts of studies."""

import numpy as np
import torch
from torch.nn import functional as F

from isthmus.data.made.circuit_tasks import UNTAUGHT, circuit_task
from isthmus.language import Decoder, LanguageModel, Shape
from isthmus.language.weight_fingerprint import fingerprint
from isthmus.studies.trial import Trial

STEPS = {"induction": 800, "greater-than": 300, "copy-name": 400}
"""Training steps by task."""
LAYERS, HEADS, WIDTH, CONTEXT = 2, 4, 32, 16
BATCH, RATE = 128, 3e-3


def task_host(name: str, trial: Trial, number: int = 0) -> LanguageModel:
    """A model of the task ``name``; another one for each ``number``, from the trial's seed."""
    task = circuit_task(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * number + trial.seed)
        module = Decoder(Shape(task.words.vocabulary, WIDTH, HEADS, LAYERS, CONTEXT, 4 * WIDTH))
    optimiser = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.1)
    rng = np.random.default_rng([trial.seed, number])
    for _ in range(trial.steps(STEPS[name])):
        tokens, following = task.lesson(BATCH, rng)
        loss = F.cross_entropy(module(tokens).flatten(0, 1), following.flatten(),
                               ignore_index=UNTAUGHT)  # fmt: skip
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module.eval().requires_grad_(False)
    return LanguageModel(
        name, fingerprint(module), module, task.words, CONTEXT,
        unembedding=module.embed.weight * module.norm.weight,
    )  # fmt: skip
