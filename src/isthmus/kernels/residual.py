"""Decoding and comparing in one: the error of a sparse reconstruction."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from isthmus.kernels import operators
from isthmus.kernels.dispatch import fuses_error, half_type, sparse_pays
from isthmus.kernels.half_copy import lowered
from isthmus.kernels.row_gradient import RowGradient, sparse_gradient


class Residual(NamedTuple):
    """``error`` = reconstruction - target ``(rows, d)`` and its squared length ``(rows,)``."""

    error: Tensor
    squares: Tensor


def residual(
    values: Tensor, indices: Tensor, rows: Tensor, bias: Tensor, target: Tensor
) -> Residual | None:
    """The residual of ``values`` at ``indices`` ``(rows, k)`` of the dictionary ``rows``.

    Each atom is read once for the reconstruction and for the gradient of a squared error. None
    where only decoding and comparing one after the other will do: without compiled kernels, where
    many latents are active, or where the target needs a gradient.
    """
    k = indices.shape[1]
    fits = fuses_error(values, rows, bias, target) and not target.requires_grad
    if not fits or not torch.is_grad_enabled() or not sparse_pays(len(rows), k, values, rows):
        return None
    if torch.compiler.is_compiling():
        error, squares, _ = operators.decode_error(values, indices, rows, bias, target)
        return Residual(error, squares)
    error, squares = _Residual.apply(  # type: ignore[no-untyped-call]
        values, indices, rows, bias, target
    )
    return Residual(error, squares)


class _Residual(Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, indices: Tensor, rows: Tensor, bias: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        atoms = lowered(rows, half_type(rows.device) or rows.dtype)
        error, squares, products = operators.decode_error(values, indices, atoms, bias, target)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(values, indices, rows, error, products)
        ctx.collector, ctx.atoms = RowGradient.of(rows), atoms
        return error, squares

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        values, indices, rows, error, products = ctx.saved_tensors
        to_error, to_squares = gradients
        if to_error is None and to_squares is None:
            return None, None, None, None, None
        if to_error is None:
            # The gradient of the error is a multiple of it in each row: nothing of the size of the
            # batch has to be computed.
            assert to_squares is not None
            factor = 2.0 * to_squares
            to_values = products * factor[:, None]
            weights, dense, to_bias = values * factor[:, None], error, factor @ error
        else:
            dense = to_error.contiguous()
            if to_squares is not None:
                dense = torch.addcmul(dense, error, to_squares[:, None], value=2.0)
            to_values, weights, to_bias = (
                operators.at_places(dense, indices, ctx.atoms),
                values,
                dense.sum(0),
            )
        need_values, _, need_rows, need_bias, _ = ctx.needs_input_grad
        to_rows = (
            sparse_gradient(rows, ctx.collector, weights, indices, dense) if need_rows else None
        )
        return (
            to_values if need_values else None,
            None,
            to_rows,
            to_bias if need_bias else None,
            None,
        )
