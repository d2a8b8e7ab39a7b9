"""A tiny language model that knows planted facts and nothing else."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.language import Decoder, LanguageModel, Shape, Tokens
from isthmus.language.fingerprint import fingerprint

BOS = 0
"""The only special token; no row has padding."""

SUCCESSORS = 8
"""Words that may follow a word of plain text."""

Draw = Callable[[np.random.Generator], np.ndarray]
"""Rows of tokens to learn from, int64 ``(rows, places)``, each beginning with BOS."""


class Words:
    """A tokenizer whose tokens are words with a blank between them; token 0 begins a text."""

    bos: int | None = BOS
    special = frozenset({BOS})

    def __init__(self, words: Sequence[str]) -> None:
        self.words = ("<bos>", *words)
        self.vocabulary = len(self.words)
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def numbers(self, prefix: str) -> np.ndarray:
        """The tokens of all words that begin like this, int64."""
        return np.array([n for word, n in self._numbers.items() if word.startswith(prefix)])

    def encode(self, text: str) -> list[int]:
        return [self._numbers[word] for word in text.split()]

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(self.pieces(tokens))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        return [self.words[token] for token in tokens]


class Chain:
    """Plain text: each word may be followed by eight others, some more often than others."""

    def __init__(self, words: np.ndarray, seed: int) -> None:
        rng = np.random.default_rng([seed, len(words)])
        count = min(SUCCESSORS, len(words))
        following = [rng.choice(len(words), count, replace=False) for _ in words]
        self.words, self._following = words, np.stack(following)
        self._cumulative = np.cumsum(rng.dirichlet(np.ones(count), len(words)), 1)

    def text(self, rows: int, places: int, rng: np.random.Generator) -> np.ndarray:
        """Int64 ``(rows, places)``, each row begun anywhere."""
        at = rng.integers(0, len(self.words), rows)
        found = np.empty((rows, places), np.int64)
        for place in range(places):
            found[:, place] = self.words[at]
            chosen = (rng.random(rows)[:, None] > self._cumulative[at]).sum(1)
            at = self._following[at, np.minimum(chosen, self._following.shape[1] - 1)]
        return found


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


def as_tokens(rows: np.ndarray) -> Tokens:
    """Rows without padding, each a document of its own."""
    ids = torch.from_numpy(rows)
    return Tokens(
        ids,
        torch.ones_like(ids, dtype=torch.bool),
        torch.arange(len(ids)),
        torch.zeros(len(ids), dtype=torch.int64),
        [f"row {i}" for i in range(len(ids))],
    )
