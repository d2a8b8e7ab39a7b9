"""Sparse code times dictionary, without ever building the dense code."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isthmus.kernels import operators
from isthmus.kernels.dispatch import half_type, sparse_pays
from isthmus.kernels.half_copy import lowered
from isthmus.kernels.row_gradient import RowGradient, sparse_gradient
from isthmus.shapes import Float, Int


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
    if torch.compiler.is_compiling():
        return operators.decode(values, indices, rows)
    return _SparseDecode.apply(values, indices, rows)  # type: ignore[no-untyped-call]


class _SparseDecode(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(values, indices, rows)
        ctx.collector = RowGradient.of(rows)
        ctx.atoms = lowered(rows, half_type(rows.device) or rows.dtype)
        return operators.decode(values, indices, ctx.atoms)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        values, indices, rows = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_values = to_rows = None
        if ctx.needs_input_grad[0]:
            to_values = operators.at_places(gradient, indices, ctx.atoms).to(values.dtype)
        if ctx.needs_input_grad[2]:
            to_rows = sparse_gradient(rows, ctx.collector, values, indices, gradient)
        return to_values, None, to_rows
