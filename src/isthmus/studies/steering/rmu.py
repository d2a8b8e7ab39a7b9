"""Representation misdirection for unlearning, by fine-tuning (Li et al. 2024, arXiv:2403.03218)."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from isthmus.activations import Activations
from isthmus.data.made.words import Words
from isthmus.language import Decoder, LanguageModel
from isthmus.studies.steering.planted_facts import Draw, hosted


def rmu(
    model: LanguageModel,
    tokenizer: Words,
    layer: int,
    forget: Draw,
    retain: Draw,
    *,
    size: float,
    alpha: float,
    steps: Sequence[int],
    rate: float,
    seed: int,
) -> Iterator[LanguageModel]:
    """Fine-tuned copies of a model, one after each number of ``steps``.

    At the output of ``layer``, activations of text to be forgotten are drawn to ``size`` times a
    random unit vector, whose entries before it is normalised are uniform in [0, 1); those of text
    to be retained, to what they were:

        L = |h(forget) - size u|^2 / width + alpha |h(retain) - h_frozen(retain)|^2 / width,

    each a mean over tokens, but for BOS, which both texts begin with. Only the second matrices of
    the MLPs of that layer and of up to two before it are trained, by AdamW, as published.
    """
    module = model.module
    assert isinstance(module, Decoder)
    tuned = copy.deepcopy(module)
    point = f"layers.{layer}"
    parameters = dict(tuned.named_parameters())
    trained = [
        parameters[f"layers.{i}.mlp.down.weight"] for i in range(max(0, layer - 2), layer + 1)
    ]
    for weight in trained:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(trained, rate)
    rng = np.random.default_rng([seed, 5])
    u = torch.from_numpy(rng.random(module.shape.width)).float()
    goal = size * u / u.norm()
    frozen, moving = Activations(module, point), Activations(tuned, point, grad=True)
    for step in range(1, max(steps) + 1):
        bad, good = torch.from_numpy(forget(rng)), torch.from_numpy(retain(rng))
        drawn = (moving(bad)[point][:, 1:] - goal).square().mean()
        kept = (moving(good)[point] - frozen(good)[point])[:, 1:].square().mean()
        optimiser.zero_grad()
        (drawn + alpha * kept).backward()
        optimiser.step()
        if step in steps:
            yield hosted(copy.deepcopy(tuned), tokenizer)
