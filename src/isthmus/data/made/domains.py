"""Text of two domains with facts, one to be forgotten and one to be retained, and plain text."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.data.made.words import BOS, Chain, Words

SUBJECTS = 40
RELATIONS = 4
ANSWERS = 20
"""Answers of a relation."""
JARGON = 40
PLAIN = 100
OPTIONS = 4
"""Answers to choose from, as in WMDP and MMLU."""

SENTENCES, PLACES = 4, 6
"""A row is BOS and sentences: jargon, subject, jargon, relation, answer, jargon."""


@dataclass(frozen=True)
class Questions:
    """``tokens`` int64 ``(questions, 5)``; ``options`` ``(questions, 4)``, the right one first."""

    tokens: Tensor
    options: Tensor


class Domains:
    """All facts and all text, drawn from a seed. Domains are "forget" and "retain"."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 56])
        words = [f"plain-{i}" for i in range(PLAIN)]
        for name in ("forget", "retain"):
            words += [f"{name}-subject-{i}" for i in range(SUBJECTS)]
            words += [f"{name}-relation-{r}" for r in range(RELATIONS)]
            words += [f"{name}-answer-{r}-{i}" for r in range(RELATIONS) for i in range(ANSWERS)]
            words += [f"{name}-jargon-{i}" for i in range(JARGON)]
        self.words = Words(words)
        self.plain = Chain(self.words.numbers("plain-"), seed)
        self.facts, self.answers, self.jargon = {}, {}, {}
        for name in ("forget", "retain"):
            self.facts[name] = rng.integers(0, ANSWERS, (SUBJECTS, RELATIONS))
            numbers = self.words.numbers(f"{name}-answer-")
            self.answers[name] = numbers.reshape(RELATIONS, ANSWERS)
            self.jargon[name] = Chain(self.words.numbers(f"{name}-jargon-"), seed + 1)

    def text(self, domain: str, count: int, rng: np.random.Generator) -> np.ndarray:
        """Rows int64 ``(count, 25)`` of a domain, or of "plain" text."""
        rows = np.full((count, 1 + SENTENCES * PLACES), BOS, np.int64)
        if domain == "plain":
            rows[:, 1:] = self.plain.text(count, SENTENCES * PLACES, rng)
            return rows
        subject = rng.integers(0, SUBJECTS, (count, SENTENCES))
        relation = rng.integers(0, RELATIONS, (count, SENTENCES))
        sentences = rows[:, 1:].reshape(count, SENTENCES, PLACES).copy()
        jargon = self.jargon[domain].text(count, 3 * SENTENCES, rng)
        sentences[..., [0, 2, 5]] = jargon.reshape(count, SENTENCES, 3)
        sentences[..., 1] = self.words.numbers(f"{domain}-subject-")[subject]
        sentences[..., 3] = self.words.numbers(f"{domain}-relation-")[relation]
        sentences[..., 4] = self.answers[domain][relation, self.facts[domain][subject, relation]]
        rows[:, 1:] = sentences.reshape(count, -1)
        return rows

    def retained(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of what is to be kept: half of them facts, half plain text."""
        halves = (self.text("retain", count - count // 2, rng), self.text("plain", count // 2, rng))
        return np.concatenate(halves)

    def everything(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Rows to learn the language from: a third of each."""
        forget = self.text("forget", max(1, count // 3), rng)
        return np.concatenate((forget, self.retained(count - len(forget), rng)))

    def questions(self, domain: str, rng: np.random.Generator) -> Questions:
        """One about each fact, with three wrong answers of the same relation."""
        subject = np.repeat(np.arange(SUBJECTS), RELATIONS)
        relation = np.tile(np.arange(RELATIONS), SUBJECTS)
        rows = np.full((len(subject), 5), BOS, np.int64)
        rows[:, [1, 3]] = self.jargon[domain].text(len(rows), 2, rng)
        rows[:, 2] = self.words.numbers(f"{domain}-subject-")[subject]
        rows[:, 4] = self.words.numbers(f"{domain}-relation-")[relation]
        shifts = np.stack([rng.permutation(ANSWERS - 1)[: OPTIONS - 1] + 1 for _ in rows])
        right = self.facts[domain].ravel()[:, None]
        choices = np.concatenate((right, (right + shifts) % ANSWERS), 1)
        options = np.take_along_axis(self.answers[domain][relation], choices, 1)
        return Questions(torch.from_numpy(rows), torch.from_numpy(options))
