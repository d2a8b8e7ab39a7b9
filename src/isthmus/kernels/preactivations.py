"""The pre-activations of a linear encoder, not computed until somebody says which are wanted."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from isthmus.kernels import operators
from isthmus.kernels.dispatch import exact_rows, half_type, sparse_pays, stays_dense
from isthmus.kernels.half_copy import lowered
from isthmus.kernels.row_gradient import RowGradient, beside, sparse_gradient
from isthmus.kernels.select import select_above, select_top
from isthmus.shapes import Float, Int

_BLOCK = 1 << 22
"""Pre-activations that are held at once where all are looked at."""
_MOST = 8
"""A row may have width / 8 latents above a cutoff before the dense product is preferred."""


class Preactivations:
    """``u = (x - centre) W^T + b``, ``(rows, width)``.

    ``x`` ``(rows, d)``; ``weight`` ``(width, d)``; ``bias`` ``(width,)``; ``centre`` ``(d,)`` or
    None. A bottleneck asks for what it needs, and gradients reach all four: :meth:`top` and
    :meth:`above` never hold the whole matrix, :meth:`dense` is it.
    """

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor, centre: Tensor | None) -> None:
        self.x, self.weight, self.bias, self.centre = x, weight, bias, centre
        self._dense: Tensor | None = None
        self._centred: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def width(self) -> int:
        return len(self.weight)

    def take(self, rows: Tensor) -> "Preactivations":
        """Those of some rows, by an int64 index."""
        return Preactivations(self.x[rows], self.weight, self.bias, self.centre)

    def dense(self) -> Float[Tensor, "rows width"]:
        """All of them."""
        if self._dense is None:
            x, bias = self.x, self.bias
            if self.centre is not None and torch.is_autocast_enabled(x.device.type):
                # Rounded first, large and nearly equal x W and c W would leave only rounding.
                x = x - self.centre
            elif self.centre is not None:
                # (x - c) W = x W - c W: the gradient of c is then a matrix-vector product.
                bias = torch.addmv(bias, self.weight, self.centre, alpha=-1.0)
            self._dense = F.linear(x, self.weight, bias)
        return self._dense

    def top(
        self, k: int, *, magnitude: bool = False, priority: Tensor | None = None
    ) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
        """The k largest of each row, as they are (negative ones too), and their latents.

        ``magnitude`` takes the largest by absolute value; ``priority`` ``(width,)`` are positive
        factors to compare by, which no gradient reaches.
        """
        if self._stay_dense(k):
            u = self.dense()
            key = u.detach().abs() if magnitude else u.detach()
            key = key if priority is None else key * priority.detach()
            indices = key.topk(k, dim=1, sorted=False).indices
            return u.gather(1, indices), indices
        fixed = None if priority is None else priority.detach()
        if torch.compiler.is_compiling():
            return select_top(
                self._centred_x(), self.weight, self.bias, k, magnitude=magnitude, priority=fixed
            )
        with torch.no_grad():
            values, indices = select_top(
                self._inner(), self._factor(), self.bias, k, magnitude=magnitude, priority=fixed
            )
        return self._differentiable(values, indices), indices

    def best_of_groups(
        self, groups: int
    ) -> tuple[Float[Tensor, "rows groups"], Int[Tensor, "rows groups"]]:
        """The largest of each of so many groups of neighbours, and their latents.

        Latent i is in group ``floor(i groups / width)``. Of equal ones it is the first.
        """
        return self._picked(groups, lambda u, _: _best(u, groups))

    def best(
        self, k: int, key: Callable[[Tensor, slice], Tensor]
    ) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
        """The k of each row with the largest keys, and their latents, in no order.

        ``key(u, rows)`` makes ``(n, width)`` keys of the pre-activations of those rows, which no
        gradient reaches: for rules that compare latents otherwise in each row. All pre-activations
        are computed, a block of rows at a time; gradients are those of the k alone.
        """
        return self._picked(k, lambda u, rows: key(u, rows).topk(k, dim=1, sorted=False).indices)

    def _picked(self, k: int, pick: Callable[[Tensor, slice], Tensor]) -> tuple[Tensor, Tensor]:
        """The pre-activations of the ``k`` latents of each row that ``pick`` names, and these."""
        if self._stay_dense(k):
            u = self.dense()
            indices = pick(u.detach(), slice(None))
            return u.gather(1, indices), indices
        with torch.no_grad():
            inner, size = self._inner(), max(1, _BLOCK // self.width)
            parts = []
            for start in range(0, max(len(inner), 1), size):
                rows = slice(start, start + size)
                u = torch.addmm(self.bias, inner[rows], self.weight.T)
                latents = pick(u, rows)
                parts.append((u.gather(1, latents), latents))
            values, indices = (torch.cat(column) for column in zip(*parts, strict=True))
        return self._differentiable(values, indices), indices

    def above(
        self, cutoff: Float[Tensor, " width"], *, fill: float = 0.0
    ) -> tuple[Float[Tensor, "rows most"], Int[Tensor, "rows most"]] | None:
        """All that exceed ``cutoff``, and their latents; None if a row has too many.

        Rows that have fewer than others are filled up with the value ``fill``, which no gradient
        leaves, at latent 0. They come last.
        """
        room = self.width // _MOST
        if room == 0 or self._stay_dense(1) or torch.compiler.is_compiling():
            # How many there are is not known while a graph is traced.
            return None
        with torch.no_grad():
            entries = select_above(self._inner(), self._factor(), self.bias, cutoff.detach(), room)
        if entries is None:
            return None
        values, indices, counts = entries
        real = torch.arange(values.shape[1], device=values.device) < counts[:, None]
        return torch.where(real, self._differentiable(values, indices), fill), indices

    def at(self, indices: Int[Tensor, "rows k"]) -> Float[Tensor, "rows k"]:
        """The pre-activations of given latents."""
        return self.dense().gather(1, indices)

    def of(self, latents: Int[Tensor, " some"]) -> "Preactivations":
        """Those of some latents only; gradients reach the whole weight."""
        return Preactivations(
            self.x, take_rows(self.weight, latents), self.bias[latents], self.centre
        )

    @classmethod
    def added(cls, parts: Sequence["Preactivations"], bias: Tensor) -> "Preactivations":
        """The sum of several of one width and of ``bias`` ``(width,)``, as one.

        Inputs, weights and centres stand side by side; a part without a centre has zero.
        """
        centre = None
        if any(part.centre is not None for part in parts):
            centre = torch.cat(
                [part.x.new_zeros(part.x.shape[1]) if part.centre is None else part.centre
                 for part in parts]
            )  # fmt: skip
        for part in parts:
            bias = bias + part.bias
        weight = beside([part.weight for part in parts])
        return cls(torch.cat([part.x for part in parts], 1), weight, bias, centre)

    def _stay_dense(self, k: int) -> bool:
        if self._dense is not None or stays_dense(self.x.device):
            return True
        if not torch.is_grad_enabled() and exact_rows(self.x, self.weight):
            # Without gradients to scatter it pays earlier; and the last bits of what is selected
            # natively do not depend on the other rows.
            return self.width < 4 * k
        return not sparse_pays(self.width, k, self.x, self.weight)

    def _inner(self) -> Tensor:
        if self._centred is None:
            with torch.no_grad():
                self._centred = self._centred_x().to(half_type(self.x.device) or self.x.dtype)
        return self._centred

    def _factor(self) -> Tensor:
        """The weight as it is multiplied with, without derivatives."""
        return lowered(self.weight, half_type(self.x.device) or self.weight.dtype)

    def _centred_x(self) -> Tensor:
        return self.x if self.centre is None else self.x - self.centre

    def _differentiable(self, values: Tensor, indices: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return values
        return _Selected.apply(  # type: ignore[no-untyped-call]
            self.x, self.centre, self.weight, self.bias, self._inner(), values, indices
        )


def _best(u: Tensor, groups: int) -> Tensor:
    """The place of the largest of each group of neighbours, ``(rows, groups)``."""
    width = u.shape[1]
    if width % groups == 0:
        starts = torch.arange(0, width, width // groups, device=u.device)
        return u.unflatten(1, (groups, -1)).max(2).indices + starts
    starts = (torch.arange(groups + 1, device=u.device) * width + groups - 1) // groups
    places = starts[:-1, None] + torch.arange(-(-width // groups), device=u.device)
    beyond = places >= starts[1:, None]
    within = u[:, places.clamp_max(width - 1)].masked_fill(beyond, -torch.inf)
    return within.max(2).indices + starts[:-1]


class _Selected(Function):
    """Values already computed, with the gradients of the product that they come from."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        centre: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        inner: Tensor,
        values: Tensor,
        indices: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(weight, inner, indices)
        ctx.collector = RowGradient.of(weight)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, inner, indices = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_x = to_centre = to_weight = to_bias = None
        need_x, need_centre, need_weight, need_bias = ctx.needs_input_grad[:4]
        if need_bias or need_centre:
            to_bias = sum_by_latent(gradient, indices, len(weight)).to(weight.dtype)
        if need_centre:
            to_centre = -(to_bias @ weight)
        if need_weight:
            to_weight = sparse_gradient(weight, ctx.collector, gradient, indices, inner)
        if need_x:
            to_x = operators.decode(gradient, indices, weight)
        return to_x, to_centre, to_weight, to_bias if need_bias else None, None, None, None


def sum_by_latent(values: Tensor, indices: Tensor, width: int) -> Tensor:
    """``sum of values[n, j] over indices[n, j] == i`` for each latent i, ``(width,)``."""
    return operators.sum_by_latent(values, indices, width)


def take_at(parameter: Float[Tensor, " width"], indices: Int[Tensor, "rows k"]) -> Tensor:
    """``parameter[indices]``, ``(rows, k)``, with a backward pass that sums by latent."""
    return _TakeAt.apply(parameter, indices)  # type: ignore[no-untyped-call]


class _TakeAt(Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.width = len(parameter)
        return parameter[indices]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        gradient = gradients[0]
        return sum_by_latent(gradient, indices, ctx.width).to(gradient.dtype), None


def take_rows(weight: Float[Tensor, "width d"], latents: Int[Tensor, " some"]) -> Tensor:
    """``weight[latents]``, ``(some, d)``; the latents are distinct."""
    return _TakeRows.apply(weight, latents)  # type: ignore[no-untyped-call]


class _TakeRows(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, latents: Tensor) -> Tensor:
        ctx.save_for_backward(latents)
        ctx.collector, ctx.like = RowGradient.of(weight), weight.shape
        return weight.index_select(0, latents)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (latents,) = ctx.saved_tensors
        if ctx.collector is not None:
            ctx.collector.add_rows(latents, gradients[0])
            return None, None
        whole = gradients[0].new_zeros(ctx.like)
        return whole.index_copy_(0, latents, gradients[0]), None
