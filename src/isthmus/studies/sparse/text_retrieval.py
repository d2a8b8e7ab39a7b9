"""Embeddings of texts, retrieval among them, and how latents tell labels."""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

DIMENSIONS = 100
NEIGHBOURS = 10


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
