"""Every product densely and in the plainest way, in any type: what the others are held against."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.kernels.backend import AdamStep, Backend, Rows, SparseFactor


class ReferenceBackend(Backend):
    """Dense PyTorch, on any device and in any type.

    Of latents that are as large as each other the lowest are selected; latents ascend in a row.
    """

    name = "reference"

    def select_top(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
        magnitude: bool = False,
        priority: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        u = torch.addmm(bias, x, weight.T)
        key = u.abs() if magnitude else u
        key = key if priority is None else key * priority
        best = key.sort(dim=1, descending=True, stable=True).indices[:, :k]
        indices = best.sort(dim=1).values
        return u.gather(1, indices), indices

    def select_above(
        self, x: Tensor, weight: Tensor, bias: Tensor, cutoff: Tensor, room: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        u = torch.addmm(bias, x, weight.T)
        active = u > cutoff
        counts = active.sum(1)
        most = int(counts.max()) if len(counts) else 0
        if most > room:
            return u[:, :0], counts.new_zeros(len(x), 0), counts.where(counts <= room, -1)
        indices = active.byte().sort(dim=1, descending=True, stable=True).indices[:, : max(1, most)]
        used = torch.arange(indices.shape[1], device=x.device) < counts[:, None]
        values = u.gather(1, indices).masked_fill(~used, 0.0)
        return values, indices.masked_fill(~used, 0), counts

    def decode(self, values: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        return self._code(values, indices, len(atoms)).to(atoms.dtype) @ atoms

    def decode_error(
        self, values: Tensor, indices: Tensor, atoms: Tensor, bias: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        error = self.decode(values, indices, atoms) + bias - target
        return error, error.square().sum(1), self.at_places(error, indices, atoms)

    def at_places(self, left: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        return (left @ atoms.T.to(left.dtype)).gather(1, indices)

    def by_latent(
        self, values: Tensor | None, indices: Tensor, width: int
    ) -> tuple[Tensor, Tensor]:
        latents = indices.flatten()
        if values is not None:
            latents = torch.where(values.flatten() == 0, width, latents)
        order = torch.argsort(latents, stable=True)
        counts = torch.bincount(latents, minlength=width)[:width]
        return order, F.pad(counts.cumsum(0), (1, 0))

    def row_gradient(
        self, weight: Tensor, factors: Sequence[SparseFactor], rows: Rows = ()
    ) -> Tensor:
        total = torch.zeros_like(weight)
        for factor in factors:
            code = self._code(factor.values, factor.indices, len(weight))
            total += code.T.to(weight.dtype) @ factor.dense.to(weight.dtype)
        return with_rows(total, rows)

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
        total = self.row_gradient(weight, factors, rows)
        adam(weight, mean, square, total if gradient is None else total + gradient, step, skip)
        if half is not None:
            half.copy_(weight)

    def sum_by_latent(self, values: Tensor, indices: Tensor, width: int) -> Tensor:
        return self._code(values, indices, width).sum(0)

    def _code(self, values: Tensor, indices: Tensor, width: int) -> Tensor:
        return values.new_zeros(len(values), width).scatter_add(1, indices, values)


def with_rows(gradient: Tensor, rows: Rows) -> Tensor:
    """A gradient to which parts that are rows were added, in place."""
    for latents, part in rows:
        gradient.index_add_(0, latents, part.to(gradient.dtype))
    return gradient


def adam(
    weight: Tensor,
    mean: Tensor,
    square: Tensor,
    gradient: Tensor,
    step: AdamStep,
    skip: Tensor | None = None,
) -> None:
    """Adam's step from the whole gradient, in place (Kingma, Ba 2015, algorithm 1)."""
    g, w = gradient, weight
    if step.unit:
        g = g - (g * w).sum(1, keepdim=True) * w
    g = g + step.weight_decay * w
    m = mean + (1.0 - step.beta1) * (g - mean)
    s = step.beta2 * square + (1.0 - step.beta2) * g * g
    w = w - step.lr / step.correction1 * m / (s.sqrt() / step.correction2**0.5 + step.eps)
    if step.unit:
        w = w / w.norm(dim=1, keepdim=True).clamp_min(1e-12)
    for old, new in ((weight, w), (mean, m), (square, s)):
        old.copy_(new if skip is None else torch.where(skip.bool(), old, new))
