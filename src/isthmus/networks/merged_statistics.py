"""Statistics of rows that merge: what a partition of the data sends instead of its rows.

Moments (Chan et al. 1979), the span of the rows (SVD of concatenated ``U S``, Iwen, Ong 2016) and
ROLANN's ridge regression through an activation (Fontenla-Romero et al. 2021). All in float64.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from isthmus.errors import IsthmusError

_RANK = 1e-12
"""Singular values below this share of the largest are rounding."""

_TIE = 1e-6

S = TypeVar("S", bound="Statistics")


class Statistics:
    """Sums over the rows of one partition, or of several merged; ``rows`` counts them."""

    rows: int

    def merge(self: S, other: S) -> S:
        """The statistics of the rows of both."""
        raise NotImplementedError


@dataclass(frozen=True)
class MergedMoments(Statistics):
    """Row count, mean and summed squared deviation of each element, both ``(d,)``."""

    rows: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, chunks: Iterable[Tensor]) -> "MergedMoments":
        """Of rows ``(n, d)``, chunk by chunk."""
        parts = ((x, x.mean(0)) for x in chunks)
        return merge([cls(len(x), mean, (x - mean).square().sum(0)) for x, mean in parts])

    def merge(self, other: "MergedMoments") -> "MergedMoments":
        rows = self.rows + other.rows
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.rows / rows)
        between = gap.square() * (self.rows * other.rows / rows)
        return MergedMoments(rows, mean, self.squares + other.squares + between)


@dataclass(frozen=True)
class Span(Statistics):
    """``U S`` of rows as columns, ``X = U S V'``: ``factor`` ``(d, rank)``."""

    rows: int
    factor: Tensor

    @classmethod
    def of(cls, chunks: Iterable[Tensor]) -> "Span":
        """Of rows ``(n, d)``, chunk by chunk."""
        rows, R = 0, None
        for x in chunks:
            rows, R = rows + len(x), _triangle(x, R)
        assert R is not None
        return cls(rows, _scaled_left(R.T))

    def merge(self, other: "Span") -> "Span":
        both = torch.cat([self.factor, other.factor], dim=1)
        return Span(self.rows + other.rows, _scaled_left(both))

    def leading(self, width: int) -> Tensor:
        """The first ``width`` left singular vectors, ``(d, width)``; zeros beyond the rank.

        Their signs are settled: the first entry of (nearly) the largest size is positive.
        """
        if self.rows < width:
            raise IsthmusError(
                f"the data have {self.rows} rows, fewer than the {width} latents: set latent_dim "
                f"to {self.rows} or less"
            )
        U, S, _ = torch.linalg.svd(self.factor, full_matrices=False)
        U = U[:, :width] * (S[:width] > _RANK * S[0])
        size = U.abs()
        # Of entries equal but for rounding (a column and its negative) always take the first.
        first = (size >= (1.0 - _TIE) * size.max(0).values).to(torch.uint8).argmax(0)
        return U * U[first, torch.arange(width)].sign()


@dataclass(frozen=True)
class Ridge(Statistics):
    """ROLANN: ``factor`` ``(targets or 1, d + 1, rank)`` and ``M`` ``(d + 1, targets)``.

    ``factor[j]`` is ``U S`` of ``X F_j``, where X has a row of ones on top, and column j of M is
    ``X F_j F_j f^-1(d_j)``, with ``F_j = diag(f'(f^-1(d_j)))``. Where every F is the identity (f
    is linear), one factor serves all targets.
    """

    rows: int
    factor: Tensor
    M: Tensor

    @classmethod
    def of(cls, chunks: Iterable[tuple[Tensor, Tensor, Tensor | None]]) -> "Ridge":
        """Of triples: inputs ``(n, d)``, ``f^-1`` of the targets ``(n, k)`` and ``f'`` there.

        None for the last stands for ones.
        """
        rows, M, gram = 0, torch.zeros(()), torch.zeros(())
        for inputs, targets, slope in chunks:
            X = torch.cat([torch.ones_like(inputs[:, :1]), inputs], dim=1)
            weighted = [X] if slope is None else [X * s[:, None] for s in slope.T]
            gram = gram + torch.stack([x.T @ x for x in weighted])
            M = M + X.T @ (targets if slope is None else slope.square() * targets)
            rows += len(X)
        # U and S^2 are the eigenpairs of X F F X'. That costs a quarter of a QR, and loses nothing
        # that the rounding of M, a sum of the same squares, has not lost already.
        squares, U = torch.linalg.eigh(gram)
        return cls(rows, U * squares.clamp_min(0.0).sqrt().unsqueeze(-2), M)

    def merge(self, other: "Ridge") -> "Ridge":
        both = torch.cat([self.factor, other.factor], dim=2)
        return Ridge(self.rows + other.rows, _scaled_left(both), self.M + other.M)

    def solve(self, penalty: float) -> Tensor:
        """``w_j = U (S^2 + penalty I)^-1 U' M_j`` for every target, ``(d + 1, targets)``.

        The first row belongs to the row of ones: it is the bias, penalised like the others.
        """
        U, S, _ = torch.linalg.svd(self.factor, full_matrices=False)
        rotated = U.mT @ self.M.T[:, :, None]
        w = U @ (rotated / (S.square() + penalty)[:, :, None])
        return w.squeeze(2).T


def merge(parts: Sequence[S]) -> S:
    """The statistics of several partitions of the data as one."""
    total = parts[0]
    for part in parts[1:]:
        total = total.merge(part)
    return total


def _triangle(rows: Tensor, so_far: Tensor | None) -> Tensor:
    """R of the QR of the stacked rows: it has their singular values and left vectors."""
    stacked = rows if so_far is None else torch.cat([so_far, rows])
    return torch.linalg.qr(stacked, mode="r").R


def _scaled_left(matrix: Tensor) -> Tensor:
    """``U S`` of a matrix, or of each of a batch."""
    U, S, _ = torch.linalg.svd(matrix, full_matrices=False)
    return U * S.unsqueeze(-2)
