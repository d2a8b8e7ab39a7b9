"""A made language of words: its tokenizer, and plain text in which words follow words by chance."""

from collections.abc import Sequence

import numpy as np

BOS = 0
"""The only special token; no row has padding."""
SUCCESSORS = 8
"""Words that may follow a word of plain text."""


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
        tokens = np.empty((rows, places), np.int64)
        for place in range(places):
            tokens[:, place] = self.words[at]
            choice = (rng.random(rows)[:, None] > self._cumulative[at]).sum(1)
            at = self._following[at, np.minimum(choice, self._following.shape[1] - 1)]
        return tokens
