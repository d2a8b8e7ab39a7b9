"""Codes of many rows as one sparse matrix, and which truth each latent follows."""

import numpy as np
from scipy.sparse import csr_array, vstack

from isthmus.anatomy import Array, Autoencoder, Code

PIECE = 2**22
"""Latent-truth pairs looked at at once."""


def sparse_codes(model: Autoencoder, X: Array, batch_size: int) -> csr_array:
    """The deterministic codes of ``X``, ``(rows, latents)``, float64, without stored zeros."""
    parts = [
        nonzero(model.encode(X[start : start + batch_size], code=True, batch_size=batch_size))
        for start in range(0, len(X), batch_size)
    ]
    return csr_array(vstack(parts, format="csr"))


def nonzero(code: Code) -> csr_array:
    """What of ``z`` is not zero, ``(rows, latents)``, float64; a sparse code stays sparse."""
    stored = (code if code.is_sparse else Code(code.z)).matrix()
    # astype would sort the entries, and sums over them would round differently.
    values = stored.data.astype(np.float64)
    codes = csr_array((values, stored.indices, stored.indptr), shape=stored.shape)
    codes.eliminate_zeros()
    return codes


def ones(matrix: csr_array) -> csr_array:
    """1 wherever ``matrix`` is not zero."""
    fired = csr_array(matrix, dtype=np.float64, copy=True)
    fired.eliminate_zeros()
    fired.data[:] = 1.0
    return fired


def followed(fired: csr_array, on: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """For each latent, the truth that its firing predicts best, and the F1 of that prediction.

    ``fired`` is ``(rows, latents)`` and ``on`` ``(rows, truths)``, zeros and ones; both results are
    ``(latents,)``. A latent that never fires together with any truth follows none: -1, F1 zero.
    """
    latents, truths = fired.shape[1], on.shape[1]
    of_latent, of_truth = fired.sum(0), on.sum(0)
    transposed = csr_array(fired.T)
    owner, f1 = np.full(latents, -1), np.zeros(latents)
    step = max(1, PIECE // truths)
    for start in range(0, latents, step):
        part = slice(start, min(start + step, latents))
        both = (transposed[part] @ on).toarray()
        scores = 2 * both / np.maximum(of_latent[part, None] + of_truth, 1.0)
        best = scores.argmax(1)
        f1[part] = scores[np.arange(len(best)), best]
        owner[part] = np.where(f1[part] > 0, best, -1)
    return owner, f1


def union_f1(any_fired: np.ndarray, on: np.ndarray) -> float:
    """F1 of boolean predictions ``(rows,)`` of boolean labels ``(rows,)``; 0 without either."""
    total = int(any_fired.sum()) + int(on.sum())
    return 2 * int((any_fired & on).sum()) / total if total else 0.0


def two_largest(rows: csr_array, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of a code, the latent of the largest ``z_i weight_i``, that and the next value.

    All three are ``(rows,)``. Values below zero are taken as zero, which is what a
    silent latent contributes; a row without a positive value names the latent -1.
    """
    which = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    parts = rows.data * weight[rows.indices]
    positive = parts > 0
    which, parts, latent = which[positive], parts[positive], rows.indices[positive]
    order = np.lexsort((-parts, which))
    which, parts, latent = which[order], parts[order], latent[order]
    place = np.arange(len(which)) - np.searchsorted(which, which)
    top = np.full(rows.shape[0], -1)
    first, second = np.zeros((2, rows.shape[0]))
    best, next_best = place == 0, place == 1
    top[which[best]], first[which[best]] = latent[best], parts[best]
    second[which[next_best]] = parts[next_best]
    return top, first, second
