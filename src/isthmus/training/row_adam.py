"""Adam that updates a dictionary's weights row by row, from the factors of the gradient."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.anatomy.part import parts_with
from isthmus.kernels import RowGradient
from isthmus.kernels.backend import AdamStep, Backend
from isthmus.kernels.dispatch import backend_for, takes_rows
from isthmus.kernels.operators import row_adam

RowWeights = dict[int, bool]
"""``id`` of a parameter whose gradient comes by rows: whether its rows are kept at norm 1."""


class RowAdam(torch.optim.Adam):
    """``torch.optim.Adam`` whose step on some ``(width, d)`` weights is one pass over rows.

    The pass gathers a row's gradient, removes its part along a unit row, takes Adam's step (Kingma,
    Ba 2015, algorithm 1, in PyTorch's order of operations) and brings the row back to norm 1. With
    ``collect`` the gradients of these weights stay factored (:class:`~isthmus.kernels.RowGradient`)
    and ``grad`` is None; without it, as clipping needs, ``grad`` is dense. The state is that of
    Adam, so a run may go on with either. Call :meth:`release` when training ends.
    """

    def __init__(
        self, params: Iterable[Any], rows: RowWeights, *, collect: bool, **options: Any
    ) -> None:
        super().__init__(params, **options)
        self.skip: Tensor | None = None
        self._unit = rows
        self._collectors: dict[int, RowGradient] = {}
        self._backends: dict[int, Backend] = {}
        for parameter in self._row_parameters():
            # Kept: what collected a gradient also takes the step, whatever is in use by then.
            self._backends[id(parameter)] = backend_for(parameter)
            self._collectors[id(parameter)] = RowGradient(collecting=collect)
            self._collectors[id(parameter)].attach(parameter)

    def _row_parameters(self) -> list[nn.Parameter]:
        everything = (p for group in self.param_groups for p in group["params"])
        return [p for p in everything if id(p) in self._unit]

    def release(self) -> None:
        """Give the weights back to PyTorch's own gradients."""
        for parameter in self._row_parameters():
            RowGradient.detach(parameter)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for collector in self._collectors.values():
            collector.clear()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if id(parameter) in self._unit:
                    self._row_step(parameter, group)
        super().step(closure)

    def _row_step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        collector = self._collectors[id(parameter)]
        gradient, parameter.grad = parameter.grad, None
        if gradient is None and not collector:
            return
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        if state["step"].device.type != "cpu":  # restored: kept where no step waits for it
            state["step"] = state["step"].cpu()
        state["step"] += 1
        step, beta1, beta2 = float(state["step"]), *map(float, group["betas"])
        numbers = AdamStep(
            lr=float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            eps=float(group["eps"]),
            correction1=1.0 - beta1**step,
            correction2=1.0 - beta2**step,
            weight_decay=float(group["weight_decay"]),
            unit=self._unit[id(parameter)],
        )
        moments = (state["exp_avg"], state["exp_avg_sq"])
        row_adam(
            self._backends[id(parameter)], parameter, *moments, collector.factors, numbers,
            gradient=gradient, rows=collector.rows, skip=self.skip,
        )  # fmt: skip


def row_weights(model: nn.Module, parameters: Iterable[nn.Parameter]) -> RowWeights:
    """The weights among ``parameters`` that parts of the model declare by ``row_weights()``."""
    ids = {id(p) for p in parameters}
    declared: RowWeights = {}
    for part in parts_with(model, "row_weights"):
        for parameter, unit in part.row_weights():
            if id(parameter) in ids and _fits(parameter):
                declared[id(parameter)] = declared.get(id(parameter), False) or unit
    return declared


def _fits(parameter: Tensor) -> bool:
    return parameter.ndim == 2 and parameter.is_contiguous() and takes_rows(parameter)
