"""Sparse products by the compiled library: float32 in main memory."""

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isthmus.kernels.backend import AdamStep, Backend, Rows, SparseFactor
from isthmus.kernels.library import (
    ABOVE,
    TOP,
    TOP_MAGNITUDE,
    Factor,
    Library,
    RowUpdate,
    Selection,
    pointer,
    threads,
)
from isthmus.kernels.reference_backend import with_rows
from isthmus.kernels.torch_backend import BLOCK

_WITH_VNNI, _WITH_TILES = 3, 4
_LONGEST_IN_INT8 = 1 << 17
"""Elements of an example up to which it is screened in 8 bits: ``127^2 d`` then stays below 2^31,
which the sums hold."""
_local = threading.local()


class NativeBackend(Backend):
    """The library's functions. Latents ascend in a row, and the number of threads changes no bit.

    With products in 8 bits latents are screened, and what may be active is computed again in
    float32.
    """

    name = "native"
    sparse_from = 16
    fused_error = by_rows = exact_rows = True

    def __init__(self, library: Library) -> None:
        self.library = library

    def select_top(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
        magnitude: bool = False,
        priority: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        mode = TOP_MAGNITUDE if magnitude else TOP
        values, indices, _ = self._select(x, weight, bias, mode, k, priority=priority)
        return values, indices

    def select_above(
        self, x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        values, indices, counts = self._select(x, weight, bias, ABOVE, room, cutoff=cutoff)
        fits = len(counts) == 0 or int(counts.min()) >= 0
        most = max(1, int(counts.max())) if fits and len(counts) else 0
        return values[:, :most].contiguous(), indices[:, :most].contiguous(), counts.long()

    def decode(self, values: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        n, k = indices.shape
        values, indices, atoms = values.contiguous(), indices.contiguous(), atoms.contiguous()
        out = atoms.new_empty(n, atoms.shape[1])
        self.library.decode(
            pointer(values), pointer(indices), pointer(atoms), n, k, atoms.shape[1], pointer(out),
            threads(),
        )  # fmt: skip
        return out

    def decode_error(
        self, values: Tensor, indices: Tensor, atoms: Tensor, bias: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        n, k = indices.shape
        d = atoms.shape[1]
        values, indices, target = values.contiguous(), indices.contiguous(), target.contiguous()
        atoms, bias = atoms.contiguous(), bias.contiguous()
        error, squares = target.new_empty(n, d), target.new_empty(n)
        products = values.new_empty(n, k)
        self.library.decode_error(
            pointer(values), pointer(indices), pointer(atoms), pointer(bias), pointer(target),
            n, k, d, pointer(error), pointer(squares), pointer(products), threads(),
        )  # fmt: skip
        return error, squares, products

    def at_places(self, left: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        n, k = indices.shape
        result = left.new_empty(n, k)
        left, indices, atoms = left.contiguous(), indices.contiguous(), atoms.contiguous()
        self.library.at_places(
            pointer(left), pointer(indices), pointer(atoms), n, k, atoms.shape[1], pointer(result),
            threads(),
        )  # fmt: skip
        return result

    def by_latent(
        self, values: Tensor | None, indices: Tensor, width: int
    ) -> tuple[Tensor, Tensor]:
        n, k = indices.shape
        if values is None:
            values = torch.ones(n, k)
        values, indices = values.contiguous(), indices.contiguous()
        order = torch.empty(n * k, dtype=torch.int64)
        offsets = torch.empty(width + 1, dtype=torch.int64)
        self.library.by_latent(
            pointer(values), pointer(indices), n, k, width, pointer(order), pointer(offsets)
        )
        return order, offsets

    def row_gradient(
        self, weight: Tensor, factors: Sequence[SparseFactor], rows: Rows = ()
    ) -> Tensor:
        out = torch.empty_like(weight, memory_format=torch.contiguous_format)
        with _RowPass(self, weight, factors) as update:
            self.library.row_gradient(update, pointer(out))
        return with_rows(out, rows)

    def row_adam(
        self,
        weight: Tensor,
        mean: Tensor,
        square: Tensor,
        factors: Sequence[SparseFactor],
        step: AdamStep,
        *,
        gradient: Tensor | None = None,
        rows: Rows = (),
        skip: Tensor | None = None,
        half: Tensor | None = None,
    ) -> None:
        if skip is not None and bool(skip):
            return
        if rows[1:]:
            gradient = torch.zeros_like(weight) if gradient is None else gradient
            gradient = with_rows(gradient, rows[1:])
        update = _RowPass(
            self,
            weight,
            factors,
            mean=mean,
            square=square,
            gradient=None if gradient is None else gradient.contiguous(),
            rows=rows[0] if rows else None,
            **{**vars(step), "unit": int(step.unit)},
        )
        with update as structure:
            self.library.row_adam(structure)
        if half is not None:
            half.copy_(weight)

    def sum_by_latent(self, values: Tensor, indices: Tensor, width: int) -> Tensor:
        sums = torch.zeros(width, dtype=torch.float64)
        values, indices = values.contiguous(), indices.contiguous()
        self.library.sum_by_latent(pointer(values), pointer(indices), values.numel(), pointer(sums))
        return sums.to(values.dtype)

    def _select(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mode: int,
        k: int,
        *,
        cutoff: Tensor | None = None,
        priority: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        library = self.library
        x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
        rows, width = len(x), len(weight)
        values = x.new_empty(rows, k)
        indices = torch.empty(rows, k, dtype=torch.int64)
        counts = torch.empty(rows, dtype=torch.int32)
        cutoff = None if cutoff is None else cutoff.contiguous()
        priority = None if priority is None else priority.contiguous()

        def job(start: int, stop: int) -> Selection:
            return Selection(
                pointer(x[start:stop]), pointer(weight), pointer(bias), pointer(cutoff),
                pointer(priority), stop - start, width, x.shape[1], k, mode, threads(),
                pointer(values[start:stop]), pointer(indices[start:stop]),
                pointer(counts[start:stop]),
            )  # fmt: skip

        fits_int8 = 4 * k <= width and x.shape[1] <= _LONGEST_IN_INT8
        if library.level >= _WITH_VNNI and fits_int8:
            packed = _scratch("packed", library.packed_bytes(width, x.shape[1]), torch.uint8)
            step, norm, rounding = (_scratch(name, width) for name in ("step", "norm", "rounding"))
            library.pack(
                pointer(weight), width, x.shape[1], pointer(packed), pointer(step), pointer(norm),
                pointer(rounding), threads(),
            )  # fmt: skip
            library.select_int8(
                ctypes.byref(job(0, rows)),
                pointer(packed),
                pointer(step),
                pointer(norm),
                pointer(rounding),
            )
            return values, indices, counts
        block = max(1, min(rows, BLOCK // width))
        buffer = _scratch("products", block * width).view(block, width)
        for start in range(0, rows, block):
            stop = min(rows, start + block)
            products = buffer[: stop - start]
            torch.mm(x[start:stop], weight.T, out=products)
            library.select_products(ctypes.byref(job(start, stop)), pointer(products))
        return values, indices, counts

    def screening(self) -> str:
        """How active latents are found on this processor."""
        if self.library.level < _WITH_VNNI:
            return "products in float32"
        units = "AMX" if self.library.level >= _WITH_TILES else "VNNI"
        return f"products in 8 bits ({units}), what may be active again in float32"


def _scratch(name: str, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A buffer that is kept from call to call, for each thread its own."""
    held: dict[str, Tensor] = _local.__dict__.setdefault("held", {})
    buffer = held.get(name)
    if buffer is None or buffer.dtype != dtype or not size <= buffer.numel() <= 4 * size:
        buffer = held[name] = torch.empty(size, dtype=dtype)
    return buffer[:size]


class _RowPass:
    """The structure of one pass over a weight's rows; keeps alive what it points to."""

    def __init__(
        self,
        backend: NativeBackend,
        weight: Tensor,
        factors: Sequence[SparseFactor] = (),
        *,
        mean: Tensor | None = None,
        square: Tensor | None = None,
        gradient: Tensor | None = None,
        rows: tuple[Tensor, Tensor] | None = None,
        **numbers: float | int,
    ) -> None:
        width, d = weight.shape
        self._alive: list[Any] = [weight, mean, square, gradient]
        array = (Factor * max(1, len(factors)))()
        for place, part in enumerate(factors):
            values, dense = part.values.contiguous(), part.dense.contiguous()
            order, offsets = backend.by_latent(values, part.indices, width)
            array[place] = Factor(
                pointer(values),
                pointer(order),
                pointer(offsets),
                pointer(dense),
                part.indices.shape[1],
            )
            self._alive += [values, dense, order, offsets]
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
            len(factors),
            width,
            d,
            threads=threads(),
            **numbers,
        )

    def __enter__(self) -> Any:
        return ctypes.byref(self.update)

    def __exit__(self, *problem: Any) -> None:
        self._alive.clear()
