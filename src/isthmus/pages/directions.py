"""What each latent adds to the reconstruction, which latents are alike, and a map of them."""

import numpy as np
from scipy.sparse import csc_array, csr_array

from isthmus.anatomy import Autoencoder, Tree, tree
from isthmus.errors import IsthmusError
from isthmus.evaluation.cosines import neighbours
from isthmus.pages.codes import Codes

NEIGHBOURS = 8

MOST_WORK = 4e11
"""Multiplications up to which the nearest directions are looked for."""

MOVED = 1024
"""Latents of a dense code whose directions are computed: each needs one decoding."""


def changes(model: Autoencoder, codes: Codes, latents: np.ndarray) -> np.ndarray:
    """``decode(mean + std e_i) - decode(mean)`` for these latents, ``(latents, elements)``.

    In the user's units, with the mean and standard deviation of the codes.
    """
    mean = codes.mean_code.astype(np.float32)
    moved = np.tile(mean, (len(latents), 1))
    moved[np.arange(len(latents)), latents] += codes.stds[latents].astype(np.float32)
    base = decoded(model, codes, mean[None])
    return flat(tree.mapped(np.subtract, decoded(model, codes, moved), base))


def decoded(model: Autoencoder, codes: Codes, rows: np.ndarray) -> Tree:
    """Reconstructions ``(n, *shape)`` of codes that were flattened to ``(n, latents)``."""
    return model.decode(rows.astype(np.float32).reshape(len(rows), *codes.shape), as_read=True)


def flat(found: Tree) -> np.ndarray:
    """Rows ``(n, elements)`` of arrays ``(n, *shape)``; those of several parts side by side."""
    parts = [np.asarray(part) for _, part in tree.leaves(found)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], 1)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of norm 1; zero rows stay zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def nearest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """For each row the numbers of the rows of largest cosine, and these, ``(rows, neighbours)``.

    The rows have norm 1. None where there are too many to compare, or nothing to compare with.
    """
    n, most = len(rows), min(NEIGHBOURS, len(rows) - 1)
    if most < 1 or float(n) * n * rows.shape[1] > MOST_WORK:
        return None
    return neighbours(rows, most)


class Together:
    """Which latents go together, and how much.

    Those of a sparse code by the Jaccard index of the rows on which they fire; those of a dense
    one by the correlation of their values, of either sign.
    """

    def __init__(self, codes: Codes) -> None:
        self.sparse, self.counts = codes.sparse, codes.counts
        if codes.sparse:
            ones = np.ones(codes.matrix.nnz, np.float32)
            stored = ones, codes.matrix.indices, codes.matrix.indptr
            fired = csc_array(stored, shape=codes.matrix.shape)
            self._by_latent, self._by_row = csr_array(fired.T), csr_array(fired)
        else:
            z = codes.matrix.toarray().T
            self._centred = unit(z - z.mean(1, keepdims=True))

    def of(self, start: int, stop: int) -> list[list[tuple[int, float]]]:
        """For each latent from ``start`` to ``stop`` the others, the closest first."""
        if not self.sparse:
            block = self._centred[start:stop] @ self._centred.T
            numbers = np.arange(len(self._centred))
            return [
                _best(numbers, values, np.abs(values), start + i) for i, values in enumerate(block)
            ]
        both, pairs = csr_array(self._by_latent[start:stop] @ self._by_row), []
        for i in range(stop - start):
            part = slice(both.indptr[i], both.indptr[i + 1])
            other, shared = both.indices[part], both.data[part]
            index = shared / (self.counts[start + i] + self.counts[other] - shared)
            pairs.append(_best(other, index, index, start + i))
        return pairs


def _best(
    other: np.ndarray, values: np.ndarray, strength: np.ndarray, latent: int
) -> list[tuple[int, float]]:
    order = np.argsort(-strength, kind="stable")
    places = [k for k in order[: NEIGHBOURS + 1] if other[k] != latent and strength[k] > 0]
    return [(int(other[k]), float(values[k])) for k in places[:NEIGHBOURS]]


def plane(rows: np.ndarray) -> np.ndarray | None:
    """The first two principal components of directions of norm 1, ``(rows, 2)``.

    None with fewer than three directions, or where they do not vary.
    """
    from sklearn.decomposition import PCA

    if len(rows) < 3 or rows.shape[1] < 2:
        return None
    if not np.isfinite(rows).all():
        raise IsthmusError("the decoder contains NaN or infinity: fit the model anew")
    if np.ptp(rows, axis=0).max() == 0:
        return None
    return np.asarray(PCA(2, random_state=0).fit_transform(rows))
