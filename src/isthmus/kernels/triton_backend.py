"""Sparse products by programs in Triton: float32 and half precision on CUDA."""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from isthmus.kernels.backend import AdamStep, Backend, Rows, SparseFactor
from isthmus.kernels.reference_backend import adam
from isthmus.kernels.torch_backend import rows_at_once
from isthmus.kernels.triton import decoding_programs as decoding
from isthmus.kernels.triton import selection_programs as selection
from isthmus.kernels.triton import update_programs as update

GROUP = 32
"""Latents of a group."""
MOST_LISTED = 4096
"""Latents that one program looks at together."""
MOST_GROUPS = 8192
"""Groups that one program picks from; of more, groups of groups are picked first."""
TILE = 2048
SEGMENT = 128
"""Entries of a latent that are summed by a program of their own."""
WHOLE_ROW = 8192
"""Elements up to which a program holds a whole row."""


class TritonBackend(Backend):
    """Programs of our own. Latents ascend in a row, the lowest wins where latents tie, and the same
    inputs give the same bits.

    In half precision the products are PyTorch's in that type, with sums in float32; the bias is
    added in float32, and what is selected has the type that the two promote to.
    """

    name = "triton"
    sparse_from = 64
    """Estimated from the rates of products and of gathers; not measured."""
    fused_error = by_rows = True

    def select_top(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
        magnitude: bool = False,
        priority: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        values = x.new_empty(len(x), k, dtype=torch.promote_types(x.dtype, bias.dtype))
        indices = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
        by = (bias.contiguous(), bias if priority is None else priority.contiguous())
        with _on(x):
            for place, u in _products(x, weight):
                pick(
                    u, *by, values[place], indices[place], k, magnitude=magnitude,
                    weighted=priority is not None,
                )  # fmt: skip
        return values, indices

    def select_above(
        self, x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = torch.promote_types(x.dtype, bias.dtype)
        bias, cutoff = bias.contiguous(), cutoff.contiguous()
        parts = []
        with _on(x):
            for _, u in _products(x, weight):
                rows, width = u.shape
                tiles = triton.cdiv(width, TILE)
                tiled = torch.empty(rows, tiles, dtype=torch.int32, device=x.device)
                grid = (rows, tiles)
                selection.count_above[grid](u, bias, cutoff, tiled, width, tiles, tile=TILE)
                counts = tiled.sum(1)
                most = int(counts.max())
                if most > room:
                    nothing = x.new_empty(len(x), 0, dtype=dtype)
                    return nothing, nothing.long(), counts.new_full((len(x),), -1)
                most = max(1, most)
                values = torch.zeros(rows, most, dtype=dtype, device=x.device)
                indices = torch.zeros(rows, most, dtype=torch.int64, device=x.device)
                first = torch.arange(rows, device=x.device)[:, None] * most
                starts = tiled.cumsum(1) - tiled + first
                selection.write_above[grid](
                    u, bias, cutoff, starts, values, indices, width, tiles, tile=TILE
                )
                parts.append((values, indices, counts))
        if not parts:  # no rows
            nobody = torch.zeros(0, 1, dtype=torch.int64, device=x.device)
            return x.new_empty(0, 1, dtype=dtype), nobody, nobody.flatten()
        widest = max(values.shape[1] for values, _, _ in parts)
        pad = torch.nn.functional.pad
        return (
            torch.cat([pad(values, (0, widest - values.shape[1])) for values, _, _ in parts]),
            torch.cat([pad(indices, (0, widest - indices.shape[1])) for _, indices, _ in parts]),
            torch.cat([counts for _, _, counts in parts]),
        )

    def decode(self, values: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        (n, k), d = indices.shape, atoms.shape[1]
        out = atoms.new_empty(n, d)
        block = min(1024, triton.next_power_of_2(d))
        with _on(atoms):
            decoding.decode[(n, triton.cdiv(d, block))](
                values.contiguous(), indices.contiguous(), atoms.contiguous(), out, d, k,
                block=block, num_warps=_warps(block),
            )  # fmt: skip
        return out

    def decode_error(
        self, values: Tensor, indices: Tensor, atoms: Tensor, bias: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (n, k), d = indices.shape, atoms.shape[1]
        if d > WHOLE_ROW:
            error = self.decode(values, indices, atoms) + bias - target
            products = self.at_places(error, indices, atoms).to(values.dtype)
            return error.to(target.dtype), error.square().sum(1).to(target.dtype), products
        error, squares = target.new_empty(n, d), target.new_empty(n)
        products = values.new_empty(n, k)
        block = triton.next_power_of_2(d)
        with _on(atoms):
            decoding.decode_error[(n,)](
                values.contiguous(), indices.contiguous(), atoms.contiguous(), bias.contiguous(),
                target.contiguous(), error, squares, products, d, k, block=block,
                num_warps=_warps(block),
            )  # fmt: skip
        return error, squares, products

    def at_places(self, left: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        (n, k), d = indices.shape, atoms.shape[1]
        out = left.new_empty(n, k)
        block = min(1024, triton.next_power_of_2(d))
        with _on(atoms):
            decoding.at_places[(n,)](
                left.contiguous(), indices.contiguous(), atoms.contiguous(), out, d, k,
                block=block, num_warps=_warps(block),
            )  # fmt: skip
        return out

    def by_latent(
        self, values: Tensor | None, indices: Tensor, width: int
    ) -> tuple[Tensor, Tensor]:
        _, order, offsets = _sorted(_latents(values, indices, width), width)
        return order, offsets

    def row_gradient(
        self, weight: Tensor, factors: Sequence[SparseFactor], rows: Rows = ()
    ) -> Tensor:
        width, d = weight.shape
        out = torch.empty_like(weight, memory_format=torch.contiguous_format)
        entries = _Entries.of(factors, rows, width)
        if entries is None:
            return out.zero_()
        block = min(1024, triton.next_power_of_2(d))
        with _on(weight):
            update.row_gradient[(width, triton.cdiv(d, block))](
                *entries.gathered(), out, d=d, segment=SEGMENT, block=block,
                num_warps=_warps(block),
            )  # fmt: skip
        return out

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
        width, d = weight.shape
        if d > WHOLE_ROW:
            total = self.row_gradient(weight, factors, rows)
            adam(weight, mean, square, total if gradient is None else total + gradient, step, skip)
            if half is not None:
                half.copy_(weight)
            return
        if skip is None:
            skip = torch.zeros((), device=weight.device)
        entries = _Entries.of(factors, rows, width)
        block = triton.next_power_of_2(d)
        with _on(weight):
            sources = [weight] * 5 if entries is None else entries.gathered()
            update.row_adam[(width,)](
                *sources, weight if gradient is None else gradient.contiguous(), weight, mean,
                square, weight if half is None else half, skip, step.lr / step.correction1,
                1.0 - step.beta1, step.beta2, 1.0 - step.beta2, step.eps, step.correction2**0.5,
                step.weight_decay, d=d, segment=SEGMENT, block=block, unit=step.unit,
                sparse=entries is not None, whole=gradient is not None, halved=half is not None,
                num_warps=_warps(block),
            )  # fmt: skip

    def sum_by_latent(self, values: Tensor, indices: Tensor, width: int) -> Tensor:
        _, order, offsets = _sorted(_latents(values, indices, width), width)
        out = values.new_empty(width)
        with _on(values):
            update.sum_entries[(width,)](
                values.flatten()[order], offsets, out, block=SEGMENT, num_warps=1
            )
        return out


def pick(
    u: Tensor, bias: Tensor, priority: Tensor, values: Tensor, indices: Tensor, k: int,
    *, magnitude: bool, weighted: bool,
) -> None:  # fmt: skip
    """Write the k largest of each row of stored products, and their latents, ascending."""
    rows, width = u.shape
    flags = {"magnitude": magnitude, "weighted": weighted}
    groups, block = triton.cdiv(width, GROUP), triton.next_power_of_2(k)
    if width <= MOST_LISTED:
        listed = triton.next_power_of_2(width)
        selection.pick_from_row[(rows,)](
            u, bias, priority, values, indices, width, k=k, block=listed,
            num_warps=_warps(listed), **flags,
        )  # fmt: skip
        return
    if block * GROUP > MOST_LISTED:
        selection.pick_many[(rows,)](
            u, bias, priority, values, indices, width, k, tile=TILE, num_warps=16, **flags
        )
        return
    picked = torch.empty(rows, k, dtype=torch.int32, device=u.device)
    maxima = torch.empty(rows, groups, dtype=torch.int32, device=u.device)
    selection.group_maxima[(rows, triton.cdiv(width, TILE))](
        u, bias, priority, maxima, width, groups, tile=TILE, group=GROUP, **flags
    )
    if groups <= MOST_GROUPS:
        _pick_groups(maxima, picked, k)
    else:
        supers = triton.cdiv(groups, GROUP)
        above = torch.empty(rows, supers, dtype=torch.int32, device=u.device)
        parents = torch.empty_like(picked)
        selection.maxima_of_maxima[(rows, triton.cdiv(groups, TILE))](
            maxima, above, groups, supers, tile=TILE, group=GROUP
        )
        _pick_groups(above, parents, k)
        selection.pick_groups_within[(rows,)](
            maxima, parents, picked, groups, group=GROUP, k=k, block=block,
            num_warps=_warps(block * GROUP),
        )  # fmt: skip
    selection.pick_latents[(rows,)](
        u, bias, priority, picked, values, indices, width, group=GROUP, k=k, block=block,
        num_warps=_warps(block * GROUP), **flags,
    )  # fmt: skip


def _pick_groups(maxima: Tensor, picked: Tensor, k: int) -> None:
    rows, groups = maxima.shape
    block = triton.next_power_of_2(groups)
    selection.pick_groups[(rows,)](
        maxima, picked, groups, block=block, k=k, num_warps=_warps(block)
    )


def _products(x: Tensor, weight: Tensor) -> Any:
    """Which rows, and their products with the weight, few rows at a time."""
    x, step = x.contiguous(), rows_at_once(x, len(weight))
    for start in range(0, len(x), step):
        place = slice(start, min(len(x), start + step))
        yield place, x[place] @ weight.T


def _warps(block: int) -> int:
    """Of 32 threads, each with at most 16 elements of a block."""
    return max(1, min(16, block // 512)) if block > 128 else 1


def _on(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    if tensor.device.type != "cuda":
        return contextlib.nullcontext()
    return torch.cuda.device(tensor.device)


def _latents(values: Tensor | None, indices: Tensor, width: int) -> Tensor:
    """The latent of each entry, and ``width`` where its value is zero."""
    latents = indices.flatten().int()
    return latents if values is None else latents.masked_fill(values.flatten() == 0, width)


def _sorted(latents: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents in order, their entries, and where each latent's begin; no step waits for it."""
    ordered, order = torch.sort(latents, stable=True)
    every = torch.arange(width + 1, dtype=ordered.dtype, device=ordered.device)
    return ordered, order, torch.searchsorted(ordered, every)


class _Entries(NamedTuple):
    """All parts of a gradient as entries sorted by latent."""

    values: Tensor
    rows: Tensor
    latents: Tensor
    offsets: Tensor
    dense: Tensor

    @classmethod
    def of(cls, factors: Sequence[SparseFactor], rows: Rows, width: int) -> "_Entries | None":
        parts = [f for f in factors if f.indices.numel()]
        for some, part in rows:
            if len(some):
                parts.append(SparseFactor(part.new_ones(len(part), 1), some[:, None], part))
        if not parts:
            return None
        values: list[Tensor] = []
        latents: list[Tensor] = []
        places: list[Tensor] = []
        dense: list[Tensor] = []
        starts: dict[int, int] = {}
        total = 0
        for factor in parts:
            n, k = factor.indices.shape
            start = starts.get(id(factor.dense))
            if start is None:  # factors of one matrix, as the encoder's are, share it
                start = starts[id(factor.dense)] = total
                dense.append(factor.dense)
                total += n
            values.append(factor.values.flatten().float())
            latents.append(_latents(factor.values, factor.indices, width))
            entry = torch.arange(n * k, dtype=torch.int32, device=factor.values.device)
            places.append(torch.div(entry, k, rounding_mode="floor") + start)
        ordered, order, offsets = _sorted(torch.cat(latents), width)
        kind = dense[0].dtype
        for one in dense[1:]:
            kind = torch.promote_types(kind, one.dtype)
        matrix = torch.cat([one.to(kind) for one in dense]) if dense[1:] else dense[0].contiguous()
        return cls(torch.cat(values)[order], torch.cat(places)[order], ordered, offsets, matrix)

    def gathered(self) -> list[Tensor]:
        """What the programs over rows take: the sums of whole segments are made here."""
        entries, d = len(self.values), self.dense.shape[1]
        segments = entries // SEGMENT
        sums = torch.empty(max(1, segments), d, device=self.dense.device)
        block = min(1024, triton.next_power_of_2(d))
        if segments:
            update.sum_segments[(segments, triton.cdiv(d, block))](
                self.values, self.rows, self.latents, self.dense, sums, entries,
                len(self.offsets) - 1, d=d, segment=SEGMENT, block=block,
                num_warps=_warps(block),
            )  # fmt: skip
        return [self.values, self.rows, self.dense, self.offsets, sums]
