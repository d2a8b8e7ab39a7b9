"""Shares along the depth of a network that follow a B-spline."""

import torch
from torch import Tensor, nn

from isthmus.errors import IsthmusError

OWN = 0.1
"""How much of a layer's own bias counts."""


def spline_basis(positions: Tensor, control_points: int, degree: int = 3) -> Tensor:
    """B-spline basis functions at ``positions`` in [0, 1], float64 ``(positions, control_points)``.

    Knots are evenly spaced and clamped at both ends, so that the first and the last control point
    are the values there; rows add up to 1. By the recursion of Cox and de Boor.
    """
    if control_points <= degree or degree < 0:
        raise IsthmusError(
            f"{control_points} control points do not carry a spline of degree {degree}: use "
            f"{max(degree, 0) + 1} or more"
        )
    inner = torch.linspace(0, 1, control_points - degree + 1, dtype=torch.float64)
    knots = torch.cat((torch.zeros(degree), inner, torch.ones(degree)))
    x = positions.double()[:, None]
    if bool(((x < 0) | (x > 1)).any()):
        raise IsthmusError("a spline has values from 0 to 1 only: scale the positions")
    # The last piece holds its right end, too.
    piece = torch.searchsorted(inner, x, right=True).clamp_max(control_points - degree) - 1
    basis = (torch.arange(len(knots) - 1) == piece + degree).double()
    for k in range(1, degree + 1):
        first, last = knots[: -k - 1], knots[k + 1 :]
        before, after = knots[k:-1] - first, last - knots[1:-k]
        rise = torch.where(before > 0, (x - first) / before.clamp_min(1e-300), 0.0)
        fall = torch.where(after > 0, (last - x) / after.clamp_min(1e-300), 0.0)
        basis = rise * basis[:, :-1] + fall * basis[:, 1:]
    return basis


class SplineBlend(nn.Module):
    """Shares of the second of two models by layer, ``clamp(B c + 0.1 bias, 0, 1)``.

    ``c`` are control points of a cubic B-spline over the depth, drawn from 0.45 to 0.55; ``bias``
    is a layer's own (Ben Chaliah, Dellagi 2024, arXiv:2501.00530). With ``width`` there is a share
    for every element. The result is ``(layers, width or 1)``.
    """

    basis: Tensor

    def __init__(
        self, layers: int, control_points: int = 16, degree: int = 3, width: int = 1
    ) -> None:
        super().__init__()
        positions = torch.linspace(0, 1, layers, dtype=torch.float64)
        basis = spline_basis(positions, control_points, degree).float()
        self.register_buffer("basis", basis, persistent=False)
        self.control = nn.Parameter(0.45 + 0.1 * torch.rand(control_points, width))
        self.bias = nn.Parameter(torch.zeros(layers, width))

    def forward(self) -> Tensor:
        return (self.basis @ self.control + OWN * self.bias).clamp(0, 1)
