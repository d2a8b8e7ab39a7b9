"""A tiny language model that knows planted facts and nothing else."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.data.made.words import Words
from isthmus.language import Decoder, LanguageModel, Shape
from isthmus.language.weight_fingerprint import fingerprint

Draw = Callable[[np.random.Generator], np.ndarray]
"""Rows of tokens to learn from, int64 ``(rows, places)``, each beginning with BOS."""


def trained(
    tokenizer: Words,
    draw: Draw,
    shape: Shape,
    *,
    steps: int,
    seed: int,
    rate: float = 4e-3,
    decay: float = 0.1,
) -> LanguageModel:
    """A decoder trained from scratch on what ``draw`` returns at each step, by AdamW.

    The cross-entropy of all tokens but BOS; the rate rises over a twentieth of the steps and falls
    along half a cosine. The same arguments give the same weights.
    """
    rng = np.random.default_rng([seed, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Decoder(shape)
    optimiser = torch.optim.AdamW(
        module.parameters(), rate, betas=(0.9, 0.98), weight_decay=decay, fused=True
    )
    warm = max(1, steps // 20)
    for step in range(steps):
        share = min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate * share
        rows = torch.from_numpy(draw(rng))
        optimiser.zero_grad()
        cross_entropy(module, rows).mean().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
    return hosted(module, tokenizer)


def hosted(module: Decoder, tokenizer: Words) -> LanguageModel:
    """The decoder, frozen, as what the rest of the library looks into."""
    module.eval().requires_grad_(False)
    return LanguageModel(
        name="planted-facts",
        revision=fingerprint(module),
        module=module,
        tokenizer=tokenizer,
        context=module.shape.context,
        unembedding=module.embed.weight * module.norm.weight,
    )


def cross_entropy(module: Decoder, rows: Tensor) -> Tensor:
    """Of each token after the first, in nats: ``(rows, places - 1)``."""
    logits = module(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none").view(
        len(rows), -1
    )
