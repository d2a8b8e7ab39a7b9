"""Sparse code times dictionary, without ever building the dense code."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from isthmus.kernels.dispatch import is_reference, native_for
from isthmus.kernels.library import pointer, threads
from isthmus.kernels.row_gradient import RowGradient, sparse_gradient
from isthmus.shapes import Float, Int

with warnings.catch_warnings():
    # PyTorch says once per process that compressed sparse tensors are in beta; let it say so here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], size=(1, 1))

_SPARSE = 48
_SPARSE_NATIVE = 16
"""Width over k from which the sparse product is the faster one (measured on 2 cores)."""

_CHUNK = 1 << 22
"""Elements of the dictionary that the backward pass gathers at once: it bounds its memory."""


def sparse_pays(width: int, k: int, *tensors: Tensor | None) -> bool:
    """Whether ``k`` of ``width`` latents are few enough for the sparse products to be faster."""
    if is_reference():
        return False
    return width >= (_SPARSE if native_for(*tensors) is None else _SPARSE_NATIVE) * k


def adaptive_decode(
    values: Float[Tensor, "rows k"], indices: Int[Tensor, "rows k"], rows: Float[Tensor, "width d"]
) -> Float[Tensor, "rows d"]:
    """:func:`sparse_decode`, or the same by a dense product where that is faster.

    That is where many latents are active: a product's arithmetic then costs less than gathering
    the same numbers from memory.
    """
    if sparse_pays(rows.shape[0], indices.shape[1], values, rows):
        return sparse_decode(values, indices, rows)
    dense = values.new_zeros(values.shape[0], rows.shape[0]).scatter_add(1, indices, values)
    return dense.to(rows.dtype) @ rows


def sparse_decode(
    values: Float[Tensor, "rows k"], indices: Int[Tensor, "rows k"], rows: Float[Tensor, "width d"]
) -> Float[Tensor, "rows d"]:
    """``sum_j values[:, j] * dictionary[indices[:, j]]``, with a hand-written backward pass.

    ``rows`` is the dictionary, one atom a row. Gradients reach ``values`` and ``rows``; a repeated
    index within a row adds up. Memory beyond the result: O(rows k).
    """
    return _SparseDecode.apply(values, indices, rows)  # type: ignore[no-untyped-call]


class _SparseDecode(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(values, indices, rows)
        ctx.collector = RowGradient.of(rows)
        return weighted_rows(values, indices, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        values, indices, rows = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_values = to_rows = None
        if ctx.needs_input_grad[0]:
            to_values = products_at(gradient, indices, rows).to(values.dtype)
        if ctx.needs_input_grad[2]:
            to_rows = sparse_gradient(rows, ctx.collector, values, indices, gradient)
        return to_values, None, to_rows


def weighted_rows(values: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """``sum_j values[:, j] rows[indices[:, j]]``, ``(rows, d)``, without derivatives."""
    library = native_for(values, rows)
    if library is None:
        weights = values.to(rows.dtype)
        return F.embedding_bag(indices, rows, per_sample_weights=weights, mode="sum")
    n, k = indices.shape
    values, indices, rows = values.contiguous(), indices.contiguous(), rows.contiguous()
    out = rows.new_empty(n, rows.shape[1])
    library.decode(
        pointer(values), pointer(indices), pointer(rows), n, k, rows.shape[1], pointer(out),
        threads(),
    )  # fmt: skip
    return out


def products_at(left: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """``<left[n], rows[indices[n, j]]>`` for each n and j, ``(rows, k)``, without derivatives."""
    n, k = indices.shape
    result = left.new_empty(n, k)
    library = native_for(left, rows)
    if library is not None:
        left, indices, rows = left.contiguous(), indices.contiguous(), rows.contiguous()
        library.at_places(
            pointer(left), pointer(indices), pointer(rows), n, k, rows.shape[1], pointer(result),
            threads(),
        )  # fmt: skip
        return result
    step = max(1, _CHUNK // max(1, k * rows.shape[1]))
    for start in range(0, n, step):
        part = slice(start, start + step)
        gathered = rows[indices[part]]
        torch.bmm(gathered, left[part].unsqueeze(2), out=result[part].unsqueeze(2))
    return result
