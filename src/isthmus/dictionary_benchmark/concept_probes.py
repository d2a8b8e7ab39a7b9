"""Probes of concepts in the host's activations: what dictionaries are asked to take apart.

They are fitted to activations alone, so that they are the same for all dictionaries.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.evaluation.predictors import hyperplane

STRENGTH = 1e-2
"""Penalty of the squared weights, per text, on standardised activations; chosen on no data."""

TRAIN = 2 / 3
"""Share of the texts that probes are fitted to; dictionaries' latents are chosen on the same."""

KNOWN = 0.65
"""A class counts where a probe of the host's activations is right as often; 0.5 is chance."""


@dataclass(frozen=True, eq=False)
class ConceptProbe:
    """``x @ direction + intercept > 0``: ``direction`` ``(width,)`` in the activations' units."""

    direction: np.ndarray
    intercept: float

    @classmethod
    def fit(cls, x: np.ndarray, on: np.ndarray) -> "ConceptProbe":
        """A logistic probe of activations ``(texts, width)`` and bool ``(texts,)``."""
        return cls(*hyperplane(x, on, STRENGTH))

    def accuracy(self, x: np.ndarray, on: np.ndarray) -> float:
        """Share of the texts that it is right about."""
        return float(((x @ self.direction + self.intercept > 0) == on).mean())


@dataclass(frozen=True, eq=False)
class Split:
    """A question of two classes: ``index`` of the texts, which are ``on``, and which are to train.

    All ``(texts,)``; as many are on as are not, in both parts.
    """

    index: np.ndarray
    on: np.ndarray
    train: np.ndarray

    @property
    def fitted(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the training texts, and which are on."""
        return self.index[self.train], self.on[self.train]

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of the test texts."""
        return self.index[~self.train], self.on[~self.train]


def balanced(positive: np.ndarray, negative: np.ndarray, seed: int, tag: int) -> Split:
    """As many texts of both kinds (numbers), drawn and divided by the seed.

    ``tag`` tells questions of one seed apart.
    """
    rng = np.random.default_rng([seed, tag])
    number = min(len(positive), len(negative))
    groups = [rng.permutation(some)[:number] for some in (positive, negative)]
    train = np.arange(number) < round(TRAIN * number)
    on = np.repeat([True, False], number)
    return Split(np.concatenate(groups), on, np.concatenate([train, train]))


def one_against_rest(texts: TextSet, attribute: str, label: str, seed: int) -> Split:
    """A class against as many texts of the others."""
    mine = texts.of(attribute, label)
    tag = 1000 + texts.classes(attribute).index(label)
    return balanced(np.flatnonzero(mine), np.flatnonzero(~mine), seed, tag)


def is_known(x: np.ndarray, split: Split) -> bool:
    """Whether a probe of the activations finds the class, asked on training texts alone.

    It is fitted to one half of them and judged on the other, so that no test text decides which
    classes count.
    """
    index, on = split.fitted
    return are_told(x[index], on)


def are_told(x: np.ndarray, on: np.ndarray) -> bool:
    """Whether a probe of every other of these training texts finds the class in those between."""
    half = np.arange(len(on)) % 2 == 0
    return ConceptProbe.fit(x[half], on[half]).accuracy(x[~half], on[~half]) >= KNOWN


def asked_classes(texts: TextSet) -> list[tuple[str, str]]:
    """Attributes with their classes: of two the first alone, since both are one question."""
    pairs = []
    for attribute in texts.labels:
        classes = texts.classes(attribute)
        pairs += [(attribute, label) for label in (classes if len(classes) > 2 else classes[:1])]
    return pairs
