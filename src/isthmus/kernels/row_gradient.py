"""The gradient of a dictionary's weight, kept as its factors until the optimiser wants it.

With k active latents the gradient of a ``(width, d)`` weight is a sparse matrix, transposed, times
a dense one. An optimiser that takes it in that form reads and writes each row of the weight once.
"""

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.kernels.dispatch import native_for
from isthmus.kernels.library import Factor, Library, RowUpdate, pointer, threads

_ATTRIBUTE = "_isthmus_row_gradient"


@dataclass(frozen=True, eq=False)
class SparseFactor:
    """``sum_n sum_j values[n, j] dense[n]`` to row ``indices[n, j]``.

    ``values``, ``indices`` ``(rows, k)``; ``dense`` ``(rows, d)``.
    """

    values: Tensor
    indices: Tensor
    dense: Tensor


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
    return dense_gradient(weight, [SparseFactor(values, indices, dense)])


def dense_gradient(weight: Tensor, factors: Iterable[SparseFactor]) -> Tensor:
    """The sum of the factors as a tensor like ``weight``."""
    parts = list(factors)
    library = native_for(weight, *(t for part in parts for t in (part.values, part.dense)))
    if library is None:
        total = torch.zeros_like(weight)
        for part in parts:
            total += _by_compressed_product(part, weight)
        return total
    out = torch.empty_like(weight, memory_format=torch.contiguous_format)
    with RowPass(library, weight, parts) as update:
        library.row_gradient(update, pointer(out))
    return out


def _by_compressed_product(part: SparseFactor, weight: Tensor) -> Tensor:
    n, k = part.indices.shape
    width = weight.shape[0]
    flat = part.indices.flatten()
    order = torch.argsort(flat, stable=True)
    offsets = F.pad(torch.bincount(flat, minlength=width).cumsum(0), (1, 0))
    # PyTorch's compressed product knows no half precision.
    half = part.dense.dtype in (torch.bfloat16, torch.float16)
    dense = part.dense.float() if half else part.dense
    matrix = torch.sparse_csr_tensor(
        offsets,
        torch.div(order, k, rounding_mode="floor"),
        part.values.flatten()[order].to(dense.dtype),
        size=(width, n),
        check_invariants=False,
    )
    return (matrix @ dense).to(weight.dtype)


class RowPass:
    """The structure of one native pass over a weight's rows; keeps alive what it points to."""

    def __init__(
        self,
        library: Library,
        weight: Tensor,
        factors: Iterable[SparseFactor] = (),
        *,
        mean: Tensor | None = None,
        square: Tensor | None = None,
        gradient: Tensor | None = None,
        rows: tuple[Tensor, Tensor] | None = None,
        **numbers: float | int,
    ) -> None:
        width, d = weight.shape
        parts = list(factors)
        self._alive: list[Any] = [weight, mean, square, gradient]
        array = (Factor * max(1, len(parts)))()
        for place, part in enumerate(parts):
            values, indices = part.values.contiguous(), part.indices.contiguous()
            dense = part.dense.contiguous()
            n, k = indices.shape
            order = torch.empty(n * k, dtype=torch.int64)
            offsets = torch.empty(width + 1, dtype=torch.int64)
            library.by_latent(
                pointer(values), pointer(indices), n, k, width, pointer(order), pointer(offsets)
            )
            array[place] = Factor(
                pointer(values), pointer(order), pointer(offsets), pointer(dense), k
            )
            self._alive += [values, indices, dense, order, offsets]
        places = extra = None
        if rows is not None:
            latents, extra = rows[0], rows[1].contiguous()
            places = torch.full((width,), -1, dtype=torch.int64)
            places[latents] = torch.arange(len(latents))
            self._alive += [places, extra]
        self._alive.append(array)
        self.update = RowUpdate(
            pointer(weight),
            pointer(mean),
            pointer(square),
            pointer(gradient),
            ctypes.cast(array, ctypes.c_void_p),
            pointer(places),
            pointer(extra),
            len(parts),
            width,
            d,
            threads=threads(),
            **numbers,
        )

    def __enter__(self) -> Any:
        return ctypes.byref(self.update)

    def __exit__(self, *problem: Any) -> None:
        self._alive.clear()
