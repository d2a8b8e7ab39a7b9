"""How many directions the latents use, and how far they spread."""

import math

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from isthmus.anatomy import Array, Code, SparseCode
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import flat_rows, rounding
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.result import Result

RANK_TOLERANCE = 1e-5
"""Singular values below this share of the largest are not counted; float32 codes are noisy."""

_NOISE = 1e-7
"""Share of the largest singular value below which the eigenvalues of a float64 covariance are
rounding only (their error is eps times the largest, and singular values are square roots)."""


class Spectrum:
    """Singular values of centred codes, streamed through their covariance in float64.

    Holds one ``(latents, latents)`` matrix. Batches are merged by the pairwise update of Chan,
    Golub & LeVeque (1983), so a large mean cancels nothing.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None
        self._eps = 0.0
        self._values: np.ndarray | None = None

    def update(self, code: Array | Code) -> "Spectrum":
        """Take in dense ``(rows, *latent)`` values or a code; a thin sparse one stays sparse."""
        if isinstance(code, SparseCode) and 8 * code.values.shape[1] <= code.width:
            return self._sparse(code)
        z = code.z if isinstance(code, Code) else code
        flat = flat_rows(z, "codes")
        self._eps = max(self._eps, rounding(z))
        mean = flat.mean(0)
        centred = flat - mean
        return self._take(len(flat), mean, centred.T @ centred)

    def _sparse(self, code: SparseCode) -> "Spectrum":
        values = flat_rows(code.values, "codes").cpu().numpy()
        rows, k = values.shape
        columns = code.indices.cpu().numpy().ravel()
        starts = np.arange(0, rows * k + 1, k)
        z = sparse.csr_array((values.ravel(), columns, starts), shape=(rows, code.width))
        mean = np.asarray(z.sum(0)).ravel() / rows
        scatter = (z.T @ z).toarray()
        scatter -= rows * np.outer(mean, mean)
        self._eps = max(self._eps, rounding(code.values))
        return self._take(rows, torch.from_numpy(mean), torch.from_numpy(scatter))

    def _take(self, count: int, mean: Tensor, scatter: Tensor) -> "Spectrum":
        self._values = None
        if self._mean is None or self._scatter is None:
            self.count, self._mean, self._scatter = count, mean, scatter
            return self
        if mean.shape != self._mean.shape:
            raise IsthmusError(
                f"codes of {len(mean)} latents follow codes of {len(self._mean)}: pass codes of "
                "one width"
            )
        total = self.count + count
        delta = mean - self._mean
        self._scatter += scatter
        self._scatter.addr_(delta, delta, alpha=self.count * count / total)
        self._mean += delta * (count / total)
        self.count = total
        return self

    def singular_values(self) -> np.ndarray:
        """Singular values of the centred codes over sqrt(rows), largest first, ``(latents,)``.

        They are the standard deviations along the principal axes. NaN where a code is not finite.
        """
        if self._mean is None or self._scatter is None:
            raise IsthmusError("no codes have been seen: update with at least one row")
        if self._values is None:
            if bool(torch.isfinite(self._scatter).all()):
                eigenvalues = torch.linalg.eigvalsh(self._scatter).cpu().numpy()[::-1]
                self._values = np.sqrt(np.clip(eigenvalues, 0, None) / self.count)
            else:
                self._values = np.full(len(self._mean), np.nan)
        return self._values

    def effective_rank(self) -> Result:
        """Effective rank; see :func:`latent_rank`."""
        values, note = self.singular_values(), self._problem()
        rank = math.nan
        if not note:
            kept = values[values > _NOISE * values[0]]
            share = kept / kept.sum()
            rank = float(np.exp(-(share * np.log(share)).sum()))
        how = "exp of the entropy of the normalised singular values of the centred codes, float64"
        return self._result("latent_rank", rank, how, note)

    def numerical_rank(self, tolerance: float = RANK_TOLERANCE) -> Result:
        """Numerical rank; see :func:`numerical_rank`."""
        values, note = self.singular_values(), self._problem()
        rank = float(np.count_nonzero(values > tolerance * values[0]))
        if note:
            rank = math.nan if np.isnan(values).any() else 0.0
        how = f"singular values of the centred codes over {tolerance:g} of the largest, float64"
        return self._result("numerical_rank", rank, how, note)

    def _problem(self) -> str:
        values, mean = self.singular_values(), self._mean
        if np.isnan(values).any() or mean is None:
            return "the codes contain NaN or infinity"
        # Equal rows need not come out of a matrix product as equal floats.
        if math.sqrt(float((values**2).sum())) <= 8 * self._eps * float(mean.norm()):
            return "the codes do not vary"
        return ""

    def _result(self, name: str, value: float, how: str, note: str) -> Result:
        per = self.singular_values()
        how = f"{how}; no interval"
        return Result(name, value, None, None, self.count, how, "dimensions", per, note)


def latent_rank(z: Array | Code) -> Result:
    """Effective rank of codes ``(rows, *latent)``: how many directions they spread over.

    The exponential of the Shannon entropy of the normalised singular values of the centred codes
    (Roy & Vetterli 2007, "The effective rank", eq. 4). Between 1 and the number of latents;
    invariant to rotation, shift and one common scale. ``per`` has the singular values over
    sqrt(rows), largest first. Codes that do not vary give NaN with a note; no rows are an
    :class:`IsthmusError`.
    """
    return Spectrum().update(z).effective_rank()


def numerical_rank(z: Array | Code, tolerance: float = RANK_TOLERANCE) -> Result:
    """Number of singular values of the centred codes above ``tolerance`` times the largest.

    ``per`` as for :func:`latent_rank`; codes that do not vary have rank 0.
    """
    return Spectrum().update(z).numerical_rank(tolerance)


class Spread:
    """Standard deviation of each latent over the rows, streamed."""

    def __init__(self) -> None:
        self._moments = Moments()
        self._shape: tuple[int, ...] = ()

    def update(self, z: Array) -> "Spread":
        """Take in ``(rows, *latent)``."""
        self._moments.update(flat_rows(z, "codes"))
        self._shape = tuple(z.shape[1:])
        return self

    def result(self) -> Result:
        """See :func:`latent_std`."""
        std = np.sqrt(self._moments.variance())
        how = "mean over latents of the standard deviation over rows; no interval"
        value, n, per = float(std.mean()), self._moments.count, std.reshape(self._shape)
        return Result("latent_std", value, None, None, n, how, "latent units", per)


def latent_std(z: Array) -> Result:
    """Mean standard deviation of the latents of ``z`` ``(rows, *latent)``; ``per`` has each.

    A representation that has collapsed has dimensions of (nearly) zero spread.
    """
    return Spread().update(z).result()
