"""Made dialogues in a template, as samples that a language model is tuned on."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isthmus.language import LanguageModel, Tokens, documents

ROLES = ("\n<user>\n", "\n<assistant>\n")
TURNS, SHORTEST, LONGEST = 4, 20, 120
"""Turns of a sample, and characters of a sentence that becomes one."""

Rows = np.ndarray


@dataclass(frozen=True)
class Sample:
    """Tokens of one dialogue without BOS, and which of them are the template's."""

    ids: Rows
    template: Rows


def dialogues(model: LanguageModel, seed: int, count: int) -> Iterator[Sample]:
    """So many samples, of sentences that follow each other in the model's documents."""
    encode = model.tokenizer.encode
    roles = [np.array(encode(role)) for role in ROLES]
    texts = documents("training")
    sentences: list[str] = []
    for index in np.random.default_rng([seed, 2]).permutation(len(texts)):
        pieces = re.split(r"(?<=[.!?])\s+", texts[index].text[:20_000])
        sentences += [s for s in pieces if SHORTEST <= len(s) <= LONGEST]
        while len(sentences) >= TURNS:
            parts, flags = [], []
            for turn, sentence in enumerate(sentences[:TURNS]):
                words = np.array(encode(sentence))
                parts += [roles[turn % 2], words]
                flags += [np.ones(len(roles[turn % 2]), bool), np.zeros(len(words), bool)]
            yield Sample(np.concatenate(parts), np.concatenate(flags))
            del sentences[:TURNS]
            count -= 1
            if not count:
                return


def alone(samples: Sequence[Sample], model: LanguageModel) -> Tokens:
    """Each sample in a row of its own behind BOS."""
    return _rows([sample.ids for sample in samples], model)


def blocks(samples: Sequence[Sample], model: LanguageModel) -> Tokens:
    """The samples joined and cut into rows of the model's context, each behind BOS."""
    joined = np.concatenate([sample.ids for sample in samples])
    room = model.context - 1
    return _rows([joined[i : i + room] for i in range(0, len(joined), room)], model)


def _rows(parts: Sequence[Rows], model: LanguageModel) -> Tokens:
    assert model.tokenizer.bos is not None
    longest = max(map(len, parts)) + 1
    ids = torch.zeros(len(parts), longest, dtype=torch.int64)
    mask = torch.zeros(len(parts), longest, dtype=torch.bool)
    for row, part in enumerate(parts):
        ids[row, 0] = model.tokenizer.bos
        ids[row, 1 : len(part) + 1] = torch.from_numpy(part)
        mask[row, : len(part) + 1] = True
    numbers = torch.arange(len(parts))
    return Tokens(ids, mask, numbers, torch.zeros_like(numbers), [f"row {i}" for i in numbers])
