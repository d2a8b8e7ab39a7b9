"""Layer-wise adaptive rate scaling, the optimiser of large-batch self-supervised learning."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Steps each layer by a share of its own size (You, Gitman, Ginsburg 2017, arXiv:1708.03888).

    For a weight ``w`` with gradient ``g``::

        d = g + weight_decay w
        d = d eta |w| / |d|          (d as it is where either norm is zero)
        m = momentum m + d
        w = w - lr m

    Parameters of one axis (biases and normalisation) take ``m = momentum m + g`` and
    ``w = w - lr m``, without decay and scaling, as SimCLR, BYOL and Barlow Twins have it. The
    paper scales by ``|g| + weight_decay |w|`` and keeps ``lr`` inside ``m``; the form here is
    that of Barlow Twins' published code, which differs only where decay or rate change fast.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.2,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        eta: float = 1e-3,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "eta": eta}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update; ``closure``, where given, recomputes the loss first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        assert weight.grad is not None
        direction = weight.grad
        if weight.ndim > 1:
            direction = direction.add(weight, alpha=group["weight_decay"])
            size, length = weight.norm(), direction.norm()
            ratio = group["eta"] * size / length
            direction = direction * torch.where((size > 0) & (length > 0), ratio, 1.0)
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].mul_(group["momentum"]).add_(direction)
        weight.add_(state["momentum"], alpha=-group["lr"])
