"""The gradient of a dictionary's weight, kept as its factors until the optimiser wants it.

With k active latents the gradient of a ``(width, d)`` weight is a sparse matrix, transposed, times
a dense one. An optimiser that takes it in that form reads and writes each row of the weight once.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from isthmus.kernels import operators
from isthmus.kernels.backend import SparseFactor
from isthmus.kernels.dispatch import backend_for

_ATTRIBUTE = "_isthmus_row_gradient"


class RowGradient:
    """The claim of an optimiser on one weight: it projects the gradient and normalises the rows.

    While ``collecting``, the products below leave ``weight.grad`` alone and add their parts here.
    """

    def __init__(self, *, collecting: bool = True) -> None:
        self.collecting = collecting
        self.factors: list[SparseFactor] = []
        self.rows: list[tuple[Tensor, Tensor]] = []

    def __bool__(self) -> bool:
        return bool(self.factors or self.rows)

    def clear(self) -> None:
        self.factors.clear()
        self.rows.clear()

    def add(self, factor: SparseFactor) -> None:
        """A part of the gradient, by its factor."""
        self.factors.append(factor)

    def add_rows(self, latents: Tensor, rows: Tensor) -> None:
        """A part that is ``rows`` ``(some, d)`` for ``latents`` ``(some,)``, and zero elsewhere."""
        self.rows.append((latents, rows))

    def attach(self, weight: Tensor) -> None:
        """Make the claim, until :meth:`detach`."""
        setattr(weight, _ATTRIBUTE, self)

    @staticmethod
    def detach(weight: Tensor) -> None:
        if hasattr(weight, _ATTRIBUTE):
            delattr(weight, _ATTRIBUTE)

    @staticmethod
    def of(weight: Tensor) -> "RowGradient | None":
        """What collects the gradient of that weight, if anything does."""
        claim: RowGradient | None = getattr(weight, _ATTRIBUTE, None)
        return claim if claim is not None and claim.collecting else None

    @staticmethod
    def claims(weight: Tensor) -> bool:
        """Whether an optimiser projects and normalises that weight."""
        return hasattr(weight, _ATTRIBUTE)


class Divided(RowGradient):
    """The claims on weights that stand side by side in one: each gets the columns that are its."""

    def __init__(self, parts: Sequence[RowGradient], columns: Sequence[int]) -> None:
        super().__init__()
        self.parts, self.columns = parts, list(columns)

    def add(self, factor: SparseFactor) -> None:
        for part, dense in zip(self.parts, factor.dense.split(self.columns, 1), strict=True):
            part.add(SparseFactor(factor.values, factor.indices, dense.contiguous()))

    def add_rows(self, latents: Tensor, rows: Tensor) -> None:
        for part, part_rows in zip(self.parts, rows.split(self.columns, 1), strict=True):
            part.add_rows(latents, part_rows.contiguous())


def beside(weights: Sequence[Tensor]) -> Tensor:
    """Weights ``(width, d)`` of one width side by side, each collecting its gradient as alone."""
    whole = torch.cat(list(weights), 1)
    collectors = [RowGradient.of(weight) for weight in weights]
    if all(collector is not None for collector in collectors):
        parts = [collector for collector in collectors if collector is not None]
        Divided(parts, [weight.shape[1] for weight in weights]).attach(whole)
    return whole


def sparse_gradient(
    weight: Tensor, collector: RowGradient | None, values: Tensor, indices: Tensor, dense: Tensor
) -> Tensor | None:
    """The gradient ``(width, d)`` of a weight from one factor, or None where it was collected."""
    if collector is not None:
        collector.add(SparseFactor(values, indices, dense))
        return None
    return operators.row_gradient(values, indices, dense, len(weight), weight.dtype)


def dense_gradient(weight: Tensor, factors: Iterable[SparseFactor]) -> Tensor:
    """The sum of the factors as a tensor like ``weight``."""
    parts = list(factors)
    backend = backend_for(weight, *(t for part in parts for t in (part.values, part.dense)))
    return backend.row_gradient(weight, parts)
