"""The codes of the rows that a page is made from, and what they say of each latent."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array, vstack

from isthmus.anatomy import Autoencoder, Code, GaussianCode, Source, SparseCode
from isthmus.data import Subset
from isthmus.pages.kit.blocks import short

BATCH = 1024
MOST_ENTRIES = 20_000_000
"""Values that are kept; where a row has very many, fewer rows are looked at."""

BINS = 30


@dataclass
class Codes:
    """Deterministic codes ``(rows, latents)`` of the first ``rows`` rows, by column.

    A latent of a sparse code *fires* where it is not zero, and only values that are not zero
    count; every value of a dense one counts. ``kl`` is the mean divergence of each latent's
    posterior from the prior, for a Gaussian code. ``shape`` is that of one code.
    """

    matrix: csc_array
    sparse: bool
    shape: tuple[int, ...]
    kl: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return int(self.matrix.shape[0])

    def __len__(self) -> int:
        return int(self.matrix.shape[1])

    def values(self, latent: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows on which a latent counts, and its values there."""
        column = slice(self.matrix.indptr[latent], self.matrix.indptr[latent + 1])
        return self.matrix.indices[column], self.matrix.data[column]

    @cached_property
    def counts(self) -> np.ndarray:
        """Rows on which each latent counts."""
        return np.diff(self.matrix.indptr)

    @cached_property
    def means(self) -> np.ndarray:
        """Mean of each latent over the rows on which it counts; NaN without any."""
        total = self._reduced(np.add, self.matrix.data.astype(np.float64), 0.0)
        with np.errstate(invalid="ignore"):
            return total / np.where(self.counts > 0, self.counts, np.nan)

    @cached_property
    def largest(self) -> np.ndarray:
        """Largest value of each latent where it counts; NaN without any."""
        return self._reduced(np.maximum, self.matrix.data, np.nan)

    @cached_property
    def mean_code(self) -> np.ndarray:
        """Mean code over all rows, zeros included, ``(latents,)``."""
        return np.nan_to_num(self.means) * self.counts / self.rows

    @cached_property
    def stds(self) -> np.ndarray:
        """Standard deviation of each latent over all rows, zeros included."""
        centre = self.mean_code
        squares = (self.matrix.data - np.repeat(centre, self.counts)) ** 2
        total = self._reduced(np.add, squares, 0.0)
        return np.sqrt((total + (self.rows - self.counts) * centre**2) / self.rows)

    def _reduced(self, what: np.ufunc, values: np.ndarray, empty: float) -> np.ndarray:
        """A reduction of what stands for each value of a latent; ``empty`` where it has none."""
        reductions = np.full(len(self), empty, dtype=np.float64)
        some = np.flatnonzero(self.counts)
        if len(some):
            reductions[some] = what.reduceat(values, self.matrix.indptr[some])
        return reductions


def codes_of(model: Autoencoder, source: Source) -> Codes:
    """Encode the rows one batch after the other, up to the most values that are kept."""
    parts: list[csr_array] = []
    shape: tuple[int, ...] = ()
    kl, entries, sparse = None, 0, False
    for start in range(0, len(source), BATCH):
        index = torch.arange(start, min(start + BATCH, len(source)))
        code = model.encode(Subset(source, index), code=True)
        sparse = code.is_sparse
        shape = (code.width,) if isinstance(code, SparseCode) else tuple(code.z.shape[1:])
        parts.append(_stored(code))
        if isinstance(code, GaussianCode):
            mean, logvar = code.mean.double().flatten(1), code.logvar.double().flatten(1)
            part = 0.5 * (mean.square() + torch.expm1(logvar) - logvar).sum(0).numpy()
            kl = part if kl is None else kl + part
        entries += parts[-1].nnz
        if entries > MOST_ENTRIES:
            break
    # Stacked by rows, every column's rows come in order: the matrix stays as if built at once.
    matrix = csc_array(vstack(parts, format="csr"))
    return Codes(matrix, sparse, shape, None if kl is None else kl / matrix.shape[0])


def _stored(code: Code) -> csr_array:
    """The values that count; of codes that are not sparse those of ``z``, whatever their kind."""
    matrix = (code if code.is_sparse else Code(code.z)).matrix().astype(np.float32, copy=False)
    if code.is_sparse:
        matrix.sum_duplicates()
    return csr_array(matrix)


def histogram(values: np.ndarray) -> dict[str, object]:
    """Counts of equal bins between the least and the largest value; empty without values."""
    if not len(values):
        return {}
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(values, BINS, (low, high))
    return {"h": counts.tolist(), "hr": short((low, high))}
