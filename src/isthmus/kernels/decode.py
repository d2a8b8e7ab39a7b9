"""Sparse code times dictionary, without ever building the dense code."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from isthmus._shapes import Float, Int

with warnings.catch_warnings():
    # PyTorch says once per process that compressed sparse tensors are in beta; let it say so here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], size=(1, 1))

_SPARSE = 48
"""Width over k from which the sparse product is the faster one (measured on 2 cores)."""

_CHUNK = 1 << 22
"""Elements of the dictionary that the backward pass gathers at once: it bounds its memory."""


def adaptive_decode(
    values: Float[Tensor, "rows k"], indices: Int[Tensor, "rows k"], rows: Float[Tensor, "width d"]
) -> Float[Tensor, "rows d"]:
    """:func:`sparse_decode`, or the same by a dense product where that is faster.

    That is where more than one latent in 48 is active: a product's arithmetic then costs less
    than gathering the same numbers from memory.
    """
    if rows.shape[0] >= _SPARSE * indices.shape[1]:
        return sparse_decode(values, indices, rows)
    dense = values.new_zeros(len(values), rows.shape[0]).scatter_add(1, indices, values)
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
        return F.embedding_bag(indices, rows, per_sample_weights=values.to(rows.dtype), mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        values, indices, rows = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_values = to_rows = None
        if ctx.needs_input_grad[0]:
            to_values = _values_gradient(gradient, indices, rows).to(values.dtype)
        if ctx.needs_input_grad[2]:
            to_rows = _rows_gradient(gradient, values, indices, rows)
        return to_values, None, to_rows


def _values_gradient(gradient: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """``<gradient[n], dictionary[indices[n, j]]>`` for each n and j, a chunk of rows at a time."""
    n, k = indices.shape
    result = gradient.new_empty(n, k)
    step = max(1, _CHUNK // max(1, k * rows.shape[1]))
    for start in range(0, n, step):
        part = slice(start, start + step)
        gathered = rows[indices[part]]
        torch.bmm(gathered, gradient[part].unsqueeze(2), out=result[part].unsqueeze(2))
    return result


def _rows_gradient(gradient: Tensor, values: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """The sparse code, transposed, times the gradient: a compressed sparse product."""
    n, k = indices.shape
    order = torch.argsort(indices.flatten(), stable=True)
    counts = torch.bincount(indices.flatten(), minlength=rows.shape[0])
    offsets = F.pad(counts.cumsum(0), (1, 0))
    matrix = torch.sparse_csr_tensor(
        offsets,
        torch.div(order, k, rounding_mode="floor"),
        values.flatten()[order].to(gradient.dtype),
        size=(rows.shape[0], n),
        check_invariants=False,
    )
    return (matrix @ gradient).to(rows.dtype)
