"""Signal and noise of the gradients of importance-weighted bounds, on a Gaussian model."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.objectives.importance import Importance

VARIANCE = 2.0 / 3.0
"""Of q(z|x) = N(Ax + b, 2/3 I); the true posterior has 1/2."""


@dataclass(frozen=True)
class Ratios:
    """|mean| / standard deviation of a gradient over repeats, mean over the elements.

    ``mu`` is the generative parameter, ``b`` the inference one, ``b_doubly`` the same by the
    doubly reparameterised gradient (Tucker et al. 2018).
    """

    mu: float
    b: float
    b_doubly: float


class GaussianToy:
    """p(z) = N(mu, I), p(x|z) = N(z, I), q(z|x) = N(Ax + b, 2/3 I): Rainforth et al. 2018, sec. 4.

    The data are ``rows`` draws of the model with a mu from N(0, I). The parameters stand at their
    optimum (mu the mean of the data, A = I/2, b = mu/2), each element moved by a normal draw of
    standard deviation ``offset``.
    """

    def __init__(self, seed: int, *, rows: int = 1024, width: int = 20, offset: float = 0.01):
        self.random = torch.Generator().manual_seed(seed)
        self.x = self._normal(width) + 2.0**0.5 * self._normal(rows, width)
        best = self.x.mean(0)
        self.mu = best + offset * self._normal(width)
        self.A = 0.5 * torch.eye(width) + offset * self._normal(width, width)
        self.b = 0.5 * best + offset * self._normal(width)

    def ratios(self, bound: Importance, draws: int, repeats: int) -> Ratios:
        """Signal to noise of the gradients of the summed bound, with ``draws`` codes per row.

        A ratio below about 0.8 / sqrt(repeats) cannot be told from zero.
        """
        gradients = [
            self.gradients(bound, self._normal(draws, *self.x.shape)) for _ in range(repeats)
        ]
        return Ratios(*(_ratio(torch.stack(one)) for one in zip(*gradients, strict=True)))

    def gradients(self, bound: Importance, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Derivatives of the bound, summed over rows, by mu, b, and b doubly reparameterised.

        ``noise`` is ``(draws, rows, width)``, each derivative ``(width,)``. They are written out:
        d log w / dz = (mu - z) + (x - z), less the derivative of log q where the path alone
        counts, and all else in log w does not move with b.
        """
        middle, spread = self.x @ self.A.T + self.b, VARIANCE**0.5
        z = middle + spread * noise
        squares = (z - self.mu).square_() + (self.x - z).square_() - noise.square()
        logs = -0.5 * squares.sum(-1)
        shares, doubly = bound.shares(logs), bound.doubly(logs)
        at_z, pull = _weighted(shares, z), self.mu + self.x
        by_mu = at_z - len(self.x) * self.mu
        by_b = pull.sum(0) - 2.0 * at_z
        path = doubly.sum(0) @ pull - 2.0 * _weighted(doubly, z)
        return by_mu, by_b, path + _weighted(doubly, noise) / spread

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random)


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Sum of ``(draws, rows, width)`` by weights ``(draws, rows)``, to ``(width,)``."""
    return weights.flatten() @ values.flatten(0, 1)


def _ratio(gradients: Tensor) -> float:
    """|mean| / standard deviation over the first axis, mean over the second."""
    each = gradients.double()
    return float((each.mean(0).abs() / each.std(0)).mean())
