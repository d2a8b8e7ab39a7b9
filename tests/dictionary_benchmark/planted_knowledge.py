"""A host that knows facts: an entity's token carries a direction for each of its answers.

Logits are how much of each answer's direction there is in the whole prompt, so that it answers
what the entity's activation says, and changes its answer as the activation is changed.
"""

import re

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from isthmus.dictionary_benchmark.entity_facts import Fact, facts
from isthmus.language import LanguageModel

SIZES = ("small", "middling", "large")
COLOURS = ("red", "green", "blue")


def planted_facts(number=36):
    """Entities with a size and a colour, independent of each other."""
    found = []
    for i in range(number):
        answers = {"size": (SIZES[i % 3], SIZES), "colour": (COLOURS[i // 3 % 3], COLOURS)}
        found += [
            Fact("thing", f"thing{i}", name, f"the thing{i} has {name}", f" {answer}",
                 tuple(f" {one}" for one in options))
            for name, (answer, options) in answers.items()
        ]  # fmt: skip
    return found


def domain_facts():
    """The herbs and ships of the library."""
    return [one for one in facts() if one.kind in ("herbs", "ships")]


class Words:
    """A token a word or mark."""

    bos = 0
    special = frozenset({0})

    def __init__(self, texts):
        words = {word for text in texts for word in re.findall(r"\w+|[^\w\s]", text)}
        self.words = ["<bos>", "<other>", *sorted(words)]
        self.number = {word: i for i, word in enumerate(self.words)}
        self.vocabulary = len(self.words)

    def encode(self, text):
        return [self.number.get(word, 1) for word in re.findall(r"\w+|[^\w\s]", text)]

    def decode(self, tokens):
        return " ".join(self.pieces(tokens))

    def pieces(self, tokens):
        return [f" {self.words[t]}" for t in tokens]


class Knowing(nn.Module):
    """``layers.0`` gives a token its own direction, and an entity those of its answers."""

    def __init__(self, words, facts_, carries=True):
        super().__init__()
        answers = sorted({(f.kind, f.attribute, f.answer) for f in facts_})
        width = words.vocabulary + len(answers)
        draw = np.random.default_rng(0).normal(size=(width, width))
        axes = torch.from_numpy(np.linalg.qr(draw)[0]).float()
        self.own, self.answer = axes[: words.vocabulary], axes[words.vocabulary :]
        rows = self.own.clone()
        heads = torch.zeros(words.vocabulary, width)
        for fact in facts_:
            place = answers.index((fact.kind, fact.attribute, fact.answer))
            heads[words.encode(fact.answer)[0]] += self.answer[place]
            if carries:
                rows[words.number[fact.entity]] += 2.0 * self.answer[place]
        self.embed = nn.Embedding.from_pretrained(rows)
        self.layers = nn.ModuleList([nn.Identity()])
        self.register_buffer("heads", F.normalize(heads, dim=1))

    def forward(self, tokens, attention_mask=None):
        x = self.layers[0](self.embed(tokens))
        if attention_mask is not None:
            x = x * attention_mask[..., None]
        return x.cumsum(1) @ self.heads.T


def knowing(facts_, texts=(), carries=True):
    words = Words([one.prompt + one.answer for one in facts_] + list(texts))
    module = Knowing(words, facts_, carries).eval().requires_grad_(False)
    return LanguageModel("knowing", f"r{int(carries)}", module, words, 128)


def true_atoms(model):
    """Each answer's direction, then each word's."""
    return torch.cat([model.module.answer, model.module.own])
