"""A made corpus of known topics in a tree, its embeddings, and retrieval among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

FIELDS, SUBTOPICS = 10, 5
"""Fields, and subtopics of each."""
COMMON, OF_FIELD, OF_SUBTOPIC = 1500, 60, 30
"""Words that all texts share, and words of each field and each subtopic."""
WORDS = (80, 160)
TOPICAL = 0.6
"""Share of a text's words that belong to its field or subtopic."""
GENERAL = 0.2
"""Share of texts that are about a field as a whole."""

DIMENSIONS = 100
NEIGHBOURS = 10


@dataclass(frozen=True)
class Corpus:
    """Texts, with the field of each and its subtopic (numbered through; -1 for none)."""

    texts: list[str]
    field: np.ndarray
    subtopic: np.ndarray


def topic_corpus(texts: int, seed: int | Sequence[int]) -> Corpus:
    """Texts of made words; word frequencies are proportional to 1 / rank within each list.

    The share of a text's topical words that its subtopic has, rather than its field, is uniform
    between 0.3 and 0.8.
    """
    rng = np.random.default_rng(seed)
    field = rng.integers(0, FIELDS, texts)
    subtopic = field * SUBTOPICS + rng.integers(0, SUBTOPICS, texts)
    subtopic[rng.random(texts) < GENERAL] = -1
    made = []
    for own, narrow in zip(field.tolist(), subtopic.tolist(), strict=True):
        words = int(rng.integers(*WORDS))
        topical = rng.binomial(words, TOPICAL)
        special = 0 if narrow < 0 else rng.binomial(topical, rng.uniform(0.3, 0.8))
        made.append(
            " ".join(
                [f"common{i}" for i in _drawn(COMMON, words - topical, rng)]
                + [f"field{own}w{i}" for i in _drawn(OF_FIELD, topical - special, rng)]
                + [f"topic{narrow}w{i}" for i in _drawn(OF_SUBTOPIC, special, rng)]
            )
        )
    return Corpus(made, field, subtopic)


def _drawn(words: int, number: int, rng: np.random.Generator) -> list[int]:
    found: list[int] = np.searchsorted(_cumulated(words), rng.random(number)).tolist()
    return found


@cache
def _cumulated(words: int) -> np.ndarray:
    """Shares proportional to 1 / rank, summed up."""
    shares = np.cumsum(1.0 / np.arange(1, words + 1))
    return shares / shares[-1]


def rewritten(text: str, subtopic: int) -> str:
    """A query rewritten for another subtopic: its subtopic's words exchanged for that one's."""
    return " ".join(
        f"topic{subtopic}w{word.partition('w')[2]}" if word.startswith("topic") else word
        for word in text.split()
    )


class Embedding:
    """Latent semantic analysis: tf-idf, cut to its leading singular vectors, rows of norm 1."""

    def __init__(self, texts: Sequence[str], seed: int, **words: object) -> None:
        self._words = TfidfVectorizer(sublinear_tf=True, min_df=2, **words)
        counted = self._words.fit_transform(texts)
        self._cut = TruncatedSVD(DIMENSIONS, random_state=seed).fit(counted)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings ``(texts, dimensions)``, float32."""
        return unit(self._cut.transform(self._words.transform(texts))).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of norm 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nearest(queries: np.ndarray, rows: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """The ten ``rows`` of the largest cosine with each query, ``(queries, 10)``, in no order.

    ``own`` is the row that each query itself is, which does not count.
    """
    cosines = unit(queries) @ unit(rows).T
    if own is not None:
        cosines[np.arange(len(queries)), own] = -2.0
    return np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def neighbour_overlap(x: np.ndarray, recon: np.ndarray) -> float:
    """Mean share of a row's ten nearest rows that are also the nearest of its reconstruction.

    Each is looked for among its own kind.
    """
    own = np.arange(len(x))
    first, second = nearest(x, x, own), nearest(recon, recon, own)
    same = (first[:, :, None] == second[:, None, :]).any(2)
    return float(same.mean())


def f1_matrix(fired: np.ndarray, on: np.ndarray) -> np.ndarray:
    """F1 of each latent's firing as a prediction of each label, ``(latents, labels)``.

    ``fired`` is bool ``(rows, latents)`` and ``on`` bool ``(rows, labels)``.
    """
    both = fired.T.astype(np.float64) @ on
    total = fired.sum(0)[:, None] + on.sum(0)
    return 2 * both / np.maximum(total, 1)
