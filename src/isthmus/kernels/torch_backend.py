"""Sparse products by PyTorch's own operators: everywhere, in any type, without compiled code."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.kernels.backend import Rows, SparseFactor
from isthmus.kernels.reference_backend import ReferenceBackend, with_rows

with warnings.catch_warnings():
    # PyTorch says once per process that compressed sparse tensors are in beta; let it say so here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], size=(1, 1))

BLOCK = 1 << 22
"""Pre-activations that are held at once in main memory where they have to be stored."""
DEVICE_BYTES = 1 << 30
"""Bytes of them that are held at once on a device, which small products would leave idle."""
_GROUP = 32
_CHUNK = 1 << 22
"""Elements of the dictionary that are gathered at once: it bounds the memory."""


class TorchBackend(ReferenceBackend):
    """Products with the active latents only.

    Which of two latents that are as large as each other is selected is free, and latents are in no
    order. On CUDA PyTorch adds up with atomic additions in places, so that the last bits of two
    runs may differ.
    """

    name = "torch"

    def select_top(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
        magnitude: bool = False,
        priority: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        rows = [
            _top_of(u, k, magnitude, priority) for u in blocks(x, weight, bias)
        ]  # each block's result is small
        return torch.cat([v for v, _ in rows]), torch.cat([i for _, i in rows])

    def select_above(
        self, x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = []
        for u in blocks(x, weight, bias):
            active = u > cutoff
            counts = active.sum(1)
            most = int(counts.max()) if len(u) else 0
            if most > room:
                nothing = u.new_zeros(len(x), 0)
                return nothing, nothing.long(), counts.new_full((len(x),), -1)
            values, indices = torch.where(active, u, -torch.inf).topk(max(1, most), dim=1)
            pad = torch.arange(max(1, most), device=u.device) >= counts[:, None]
            parts.append((values.masked_fill_(pad, 0.0), indices.masked_fill_(pad, 0), counts))
        widest = max(v.shape[1] for v, _, _ in parts)
        wide = [
            (_padded(values, widest), _padded(indices, widest), counts)
            for values, indices, counts in parts
        ]
        values, indices, counts = (torch.cat(list(column)) for column in zip(*wide, strict=True))
        return values, indices, counts

    def decode(self, values: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        weights = values.to(atoms.dtype)
        return F.embedding_bag(indices, atoms, per_sample_weights=weights, mode="sum")

    def at_places(self, left: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        n, k = indices.shape
        result = left.new_empty(n, k)
        step = max(1, _CHUNK // max(1, k * atoms.shape[1]))
        for start in range(0, n, step):
            part = slice(start, start + step)
            gathered = atoms[indices[part]].to(left.dtype)
            torch.bmm(gathered, left[part].unsqueeze(2), out=result[part].unsqueeze(2))
        return result

    def row_gradient(
        self, weight: Tensor, factors: Sequence[SparseFactor], rows: Rows = ()
    ) -> Tensor:
        total = torch.zeros_like(weight)
        for factor in factors:
            total += self._by_compressed_product(factor, weight)
        return with_rows(total, rows)

    def _by_compressed_product(self, factor: SparseFactor, weight: Tensor) -> Tensor:
        n, k = factor.indices.shape
        width = weight.shape[0]
        order, offsets = self.by_latent(None, factor.indices, width)
        # PyTorch's compressed product knows no half precision.
        half = factor.dense.dtype in (torch.bfloat16, torch.float16)
        dense = factor.dense.float() if half else factor.dense
        matrix = torch.sparse_csr_tensor(
            offsets,
            torch.div(order, k, rounding_mode="floor"),
            factor.values.flatten()[order].to(dense.dtype),
            size=(width, n),
            check_invariants=False,
        )
        return (matrix @ dense).to(weight.dtype)

    def sum_by_latent(self, values: Tensor, indices: Tensor, width: int) -> Tensor:
        sums = values.new_zeros(width)
        return sums.index_add_(0, indices.flatten(), values.flatten())


def rows_at_once(x: Tensor, width: int) -> int:
    """How many rows of pre-activations are held at once."""
    if x.device.type == "cpu":
        return max(1, BLOCK // max(1, width))
    return max(1, DEVICE_BYTES // max(1, width * x.element_size()))


def blocks(x: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    """The pre-activations of all rows, few rows at a time."""
    step = rows_at_once(x, weight.shape[0])
    if bias.dtype != x.dtype:  # a product in half precision, and what is added to it in full
        return [part @ weight.T + bias for part in x.split(step)]
    return [torch.addmm(bias, part, weight.T) for part in x.split(step)]


def _padded(values: Tensor, width: int) -> Tensor:
    return F.pad(values, (0, width - values.shape[1]))


def _top_of(u: Tensor, k: int, magnitude: bool, priority: Tensor | None) -> tuple[Tensor, Tensor]:
    """Exact top-k of each row, the maxima of groups of columns first.

    The k largest lie within the k groups whose maxima are largest, so that only these groups have
    to be searched.
    """
    key = u.abs() if magnitude else u
    key = key if priority is None else key * priority
    n, width = key.shape
    groups = width // _GROUP
    if k * 4 > groups:
        return _at(u, key.topk(k, dim=1, sorted=False).indices)
    whole = groups * _GROUP
    # A group is a set of strided columns: its maximum is then a maximum of contiguous rows.
    maxima = key[:, :whole].view(n, _GROUP, groups).amax(1)
    best = maxima.topk(k, dim=1, sorted=False).indices
    places = (best[:, None, :] + torch.arange(_GROUP, device=u.device)[:, None] * groups).flatten(1)
    if whole < width:
        rest = torch.arange(whole, width, device=u.device).expand(n, -1)
        places = torch.cat([places, rest], 1)
    winners = key.gather(1, places).topk(k, dim=1, sorted=False).indices
    return _at(u, places.gather(1, winners))


def _at(u: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    return u.gather(1, indices), indices
