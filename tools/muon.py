"""Muon, an optimiser of matrices (Jordan et al. 2024, "Muon: an optimizer for hidden layers")."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Momentum whose update is replaced by the nearest matrix with equal singular values.

    ``parts`` matrices that lie under one another in one weight are treated apart.
    """

    def __init__(self, groups: Sequence[dict], lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "parts": 1, "decay": 0.0})

    @torch.no_grad()
    def step(self) -> None:
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor, float]]] = defaultdict(list)
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                mean = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                look = weight.grad.lerp(mean, group["momentum"])
                weight.mul_(1 - group["lr"] * group["decay"])
                parts = (weight.chunk(group["parts"]), look.chunk(group["parts"]))
                for part, update in zip(*parts, strict=True):
                    rate = group["lr"] * max(1.0, part.shape[0] / part.shape[1]) ** 0.5
                    if part.shape[0] > part.shape[1]:
                        part, update = part.T, update.T
                    alike[part.shape].append((part, update, rate))
        for entries in alike.values():
            updates = orthogonalised(torch.stack([update for _, update, _ in entries]))
            for (part, _, rate), update in zip(entries, updates, strict=True):
                part.add_(update, alpha=-rate)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Singular values to about one, by the Newton-Schulz polynomial of Jordan et al. 2024.

    ``matrices`` (number, rows, columns) with no more rows than columns; computed in bfloat16, as
    there.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.to(matrices.dtype)
