"""The sparse products as operators of PyTorch, ``torch.ops.isthmus.*``.

So compilers, exporters, the profiler and autocast know them: each has a schema, a form without data
(what it returns, by shape and type) and derivatives made of the others. Whatever serves the tensors
computes them (:func:`~isthmus.kernels.dispatch.backend_for`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from isthmus.kernels.backend import AdamStep, Backend, Rows, SparseFactor
from isthmus.kernels.dispatch import backend_for, is_portable
from isthmus.kernels.half_copy import copy_of, is_current

_LIBRARY = torch.library.Library("isthmus", "DEF")
Gradients = tuple[Tensor | None, ...]


class Operator:
    """A function that is an operator of PyTorch as well.

    Where operations are counted or traced one by one the function itself is called.
    """

    def __init__(
        self, schema: str, function: Callable[..., Any], empty: Callable[..., Any]
    ) -> None:
        self.name = schema.partition("(")[0]
        self.function = function
        _LIBRARY.define(schema)
        _LIBRARY.impl(self.name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"isthmus::{self.name}", empty, lib=_LIBRARY)
        self.overload = getattr(torch.ops.isthmus, self.name).default

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments) if is_portable() else self.overload(*arguments)

    def differentiate(
        self, backward: Callable[..., Gradients], save: Callable[[Any, Any, Any], None]
    ) -> None:
        """Register the derivatives: ``save`` keeps what ``backward`` needs."""
        torch.library.register_autograd(
            f"isthmus::{self.name}", backward, setup_context=save, lib=_LIBRARY
        )

    def in_half_on(self, *places: int) -> None:
        """Under CUDA's autocast, take these arguments, which are large matrices, in its type."""

        def lowered(*arguments: Any) -> Any:
            dtype = torch.get_autocast_dtype("cuda")
            half = [
                a.to(dtype) if place in places and isinstance(a, Tensor) else a
                for place, a in enumerate(arguments)
            ]
            with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
                return self.overload(*half)

        _LIBRARY.impl(self.name, lowered, "AutocastCUDA")


_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    tensors = [t if isinstance(t, Tensor) else None for t in inputs]
    ctx.save_for_backward(*tensors)


# --- selection -------------------------------------------------------------------------------


def _select_top(
    x: Tensor, weight: Tensor, bias: Tensor, k: int, magnitude: bool, priority: Tensor | None
) -> tuple[Tensor, Tensor]:
    backend = backend_for(x, weight, bias, priority)
    return backend.select_top(x, weight, bias, k, magnitude, priority)


def _select_top_empty(
    x: Tensor, weight: Tensor, bias: Tensor, k: int, magnitude: bool, priority: Tensor | None
) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(x.dtype, bias.dtype)
    return x.new_empty(x.shape[0], k, dtype=dtype), x.new_empty(x.shape[0], k, dtype=torch.int64)


def _selected_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight = inputs[:2]
    ctx.save_for_backward(x, weight, *output[1:])
    ctx.rest = len(inputs) - 3


def _selected_backward(ctx: Any, to_values: Tensor, *rest: Any) -> Gradients:
    x, weight, indices, *counts = ctx.saved_tensors
    for used in counts:  # what fills a row up is a constant
        places = torch.arange(indices.shape[1], device=indices.device)
        to_values = torch.where(places < used[:, None], to_values, 0.0)
    need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
    return (
        decode(to_values, indices, weight) if need_x else None,
        row_gradient(to_values, indices, x, weight.shape[0], weight.dtype) if need_weight else None,
        sum_by_latent(to_values, indices, weight.shape[0]) if need_bias else None,
        *[None] * ctx.rest,
    )


select_top = Operator(
    "select_top(Tensor x, Tensor weight, Tensor bias, int k, bool magnitude, Tensor? priority)"
    " -> (Tensor, Tensor)",
    _select_top,
    _select_top_empty,
)
select_top.differentiate(_selected_backward, _selected_save)
select_top.in_half_on(0, 1)


def _select_above(
    x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
) -> tuple[Tensor, Tensor, Tensor]:
    return backend_for(x, weight, bias, cutoff).select_above(x, weight, bias, cutoff, room)


def _select_above_empty(
    x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
) -> tuple[Tensor, Tensor, Tensor]:
    most = torch.library.get_ctx().new_dynamic_size()
    rows = x.shape[0]
    values = x.new_empty(rows, most, dtype=torch.promote_types(x.dtype, bias.dtype))
    return (
        values,
        values.new_empty(rows, most, dtype=torch.int64),
        values.new_empty(rows, dtype=torch.int64),
    )


select_above = Operator(
    "select_above(Tensor x, Tensor weight, Tensor bias, Tensor cutoff, int room)"
    " -> (Tensor, Tensor, Tensor)",
    _select_above,
    _select_above_empty,
)
select_above.differentiate(_selected_backward, _selected_save)
select_above.in_half_on(0, 1)

# --- with the active latents -----------------------------------------------------------------


def _decode(values: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
    return backend_for(values, atoms).decode(values, indices, atoms)


def _decode_backward(ctx: Any, gradient: Tensor) -> Gradients:
    values, indices, atoms = ctx.saved_tensors
    gradient = gradient.contiguous()
    need_values, _, need_atoms = ctx.needs_input_grad
    return (
        at_places(gradient, indices, atoms).to(values.dtype) if need_values else None,
        None,
        row_gradient(values, indices, gradient, atoms.shape[0], atoms.dtype)
        if need_atoms
        else None,
    )


decode = Operator(
    "decode(Tensor values, Tensor indices, Tensor atoms) -> Tensor",
    _decode,
    lambda values, indices, atoms: atoms.new_empty(values.shape[0], atoms.shape[1]),
)
decode.differentiate(_decode_backward, _keep_inputs)
decode.in_half_on(2)


def _decode_error(
    values: Tensor, indices: Tensor, atoms: Tensor, bias: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    backend = backend_for(values, atoms, bias, target)
    return backend.decode_error(values, indices, atoms, bias, target)


def _decode_error_empty(
    values: Tensor, indices: Tensor, atoms: Tensor, bias: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(target), target.new_empty(target.shape[0]), torch.empty_like(values)


def _decode_error_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    values, indices, atoms, _, _ = inputs
    ctx.save_for_backward(values, indices, atoms, output[0])


def _decode_error_backward(
    ctx: Any, to_error: Tensor | None, to_squares: Tensor | None, to_products: Tensor | None
) -> Gradients:
    values, indices, atoms, error = ctx.saved_tensors
    need_values, _, need_atoms, need_bias, need_target = ctx.needs_input_grad
    whole = torch.zeros_like(error) if to_error is None else to_error
    if to_squares is not None:
        whole = whole + 2.0 * to_squares[:, None] * error
    if to_products is not None:
        whole = whole + decode(to_products, indices, atoms)
    whole = whole.contiguous()
    to_atoms = None
    if need_atoms:
        to_atoms = row_gradient(values, indices, whole, len(atoms), atoms.dtype)
        if to_products is not None:
            to_atoms = to_atoms + row_gradient(to_products, indices, error, len(atoms), atoms.dtype)
    return (
        at_places(whole, indices, atoms) if need_values else None,
        None,
        to_atoms,
        whole.sum(0) if need_bias else None,
        -whole if need_target else None,
    )


decode_error = Operator(
    "decode_error(Tensor values, Tensor indices, Tensor atoms, Tensor bias, Tensor target)"
    " -> (Tensor, Tensor, Tensor)",
    _decode_error,
    _decode_error_empty,
)
decode_error.differentiate(_decode_error_backward, _decode_error_save)
decode_error.in_half_on(2)


def _at_places(left: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
    return backend_for(left, atoms).at_places(left, indices, atoms)


def _at_places_backward(ctx: Any, gradient: Tensor) -> Gradients:
    left, indices, atoms = ctx.saved_tensors
    need_left, _, need_atoms = ctx.needs_input_grad
    return (
        decode(gradient, indices, atoms) if need_left else None,
        None,
        row_gradient(gradient, indices, left, len(atoms), atoms.dtype) if need_atoms else None,
    )


at_places = Operator(
    "at_places(Tensor left, Tensor indices, Tensor atoms) -> Tensor",
    _at_places,
    lambda left, indices, atoms: left.new_empty(indices.shape),
)
at_places.differentiate(_at_places_backward, _keep_inputs)
at_places.in_half_on(2)

# --- by latent -------------------------------------------------------------------------------


def _by_latent(values: Tensor | None, indices: Tensor, width: int) -> tuple[Tensor, Tensor]:
    return backend_for(values).by_latent(values, indices, width)


by_latent = Operator(
    "by_latent(Tensor? values, Tensor indices, int width) -> (Tensor, Tensor)",
    _by_latent,
    lambda values, indices, width: (
        indices.new_empty(indices.numel()),
        indices.new_empty(width + 1),
    ),
)


def _row_gradient(
    values: Tensor, indices: Tensor, dense: Tensor, width: int, dtype: torch.dtype
) -> Tensor:
    weight = _row_gradient_empty(values, indices, dense, width, dtype)
    backend = backend_for(weight, values, dense)
    return backend.row_gradient(weight, [SparseFactor(values, indices, dense)])


def _row_gradient_empty(
    values: Tensor, indices: Tensor, dense: Tensor, width: int, dtype: torch.dtype
) -> Tensor:
    return dense.new_empty(width, dense.shape[1], dtype=dtype)


def _row_gradient_backward(ctx: Any, gradient: Tensor) -> Gradients:
    values, indices, dense, *_ = ctx.saved_tensors
    need_values, _, need_dense, *_ = ctx.needs_input_grad
    return (
        at_places(dense, indices, gradient).to(values.dtype) if need_values else None,
        None,
        decode(values, indices, gradient).to(dense.dtype) if need_dense else None,
        None,
        None,
    )


row_gradient = Operator(
    "row_gradient(Tensor values, Tensor indices, Tensor dense, int width, ScalarType dtype)"
    " -> Tensor",
    _row_gradient,
    _row_gradient_empty,
)
row_gradient.differentiate(_row_gradient_backward, _keep_inputs)


def _sum_by_latent(values: Tensor, indices: Tensor, width: int) -> Tensor:
    return backend_for(values).sum_by_latent(values, indices, width)


def _sum_by_latent_backward(ctx: Any, gradient: Tensor) -> Gradients:
    _, indices, _ = ctx.saved_tensors
    return gradient[indices], None, None


sum_by_latent = Operator(
    "sum_by_latent(Tensor values, Tensor indices, int width) -> Tensor",
    _sum_by_latent,
    lambda values, indices, width: values.new_empty(width),
)
sum_by_latent.differentiate(_sum_by_latent_backward, _keep_inputs)


def _row_adam(
    weight: Tensor,
    mean: Tensor,
    square: Tensor,
    values: list[Tensor],
    indices: list[Tensor],
    dense: list[Tensor],
    latents: list[Tensor],
    rows: list[Tensor],
    gradient: Tensor | None,
    skip: Tensor | None,
    half: Tensor | None,
    *numbers: Any,
) -> None:
    factors = [SparseFactor(*parts) for parts in zip(values, indices, dense, strict=True)]
    backend_for(weight, gradient).row_adam(
        weight, mean, square, factors, AdamStep(*numbers), gradient=gradient,
        rows=list(zip(latents, rows, strict=True)), skip=skip, half=half,
    )  # fmt: skip


_ROW_ADAM = Operator(
    "row_adam(Tensor(a!) weight, Tensor(b!) mean, Tensor(c!) square, Tensor[] values,"
    " Tensor[] indices, Tensor[] dense, Tensor[] latents, Tensor[] rows, Tensor? gradient,"
    " Tensor? skip, Tensor(d!)? half, float lr, float beta1, float beta2, float eps,"
    " float correction1, float correction2, float weight_decay, bool unit) -> ()",
    _row_adam,
    lambda *arguments: None,
)


def row_adam(
    backend: Backend,
    weight: Tensor,
    mean: Tensor,
    square: Tensor,
    factors: Sequence[SparseFactor],
    step: AdamStep,
    *,
    gradient: Tensor | None = None,
    rows: Rows = (),
    skip: Tensor | None = None,
) -> None:
    """:meth:`Backend.row_adam` as an operator; ``backend`` where operations are counted.

    A copy of the weight in half precision, where there is one, goes along.
    """
    if is_portable():
        backend.row_adam(
            weight, mean, square, factors, step, gradient=gradient, rows=rows, skip=skip
        )
        return
    half = copy_of(weight)
    _ROW_ADAM(
        weight, mean, square, [f.values for f in factors], [f.indices for f in factors],
        [f.dense for f in factors], [latents for latents, _ in rows],
        [part for _, part in rows],
        gradient, skip, half, *vars(step).values(),
    )  # fmt: skip
    if half is not None:
        is_current(weight, half)
