"""The continuous Bernoulli distribution: what a cross-entropy on grey levels should have been."""

import torch
from torch import Tensor

from isthmus.anatomy.likelihood import Likelihood

NEAR = 0.3
"""Logits this near to 0 take the series, whose first dropped term is then below rounding."""


def log_sinhc(logits: Tensor) -> Tensor:
    """``log(sinh(l / 2) / (l / 2))``, even in l, 0 at 0."""
    near = logits.abs() < NEAR
    square = torch.where(near, logits, 0.0).square()
    series = square * (
        1 / 24
        - square * (1 / 2880 - square * (1 / 181440 - square * (1 / 9676800 - square / 479001600)))
    )
    size = torch.where(near, 1.0, logits).abs()
    far = 0.5 * size + torch.log(-torch.expm1(-size)) - size.log()
    return torch.where(near, series, far)


class ContinuousBernoulli(Likelihood):
    """Independent elements on [0, 1] with density ``exp(l x) l / (exp(l) - 1)``.

    ``params`` are the logits l. It is the Bernoulli's cross-entropy with the constant that makes
    it a density, ``log(l / tanh(l / 2))`` (Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845), taken
    from a series near l = 0. The mean is that of x, ``1 / (1 - exp(-l)) - 1 / l``, and not the
    sigmoid.
    """

    name = "continuous-bernoulli"
    needs = "values between 0 and 1"

    def mean(self, params: Tensor) -> Tensor:
        near = params.abs() < NEAR
        small = torch.where(near, params, 0.0)
        square = small.square()
        series = small * (
            1 / 12
            - square * (1 / 720 - square * (1 / 30240 - square * (1 / 1209600 - square / 47900160)))
        )
        large = torch.where(near, 1.0, params)
        return torch.where(near, 0.5 + series, -1.0 / torch.expm1(-large) - 1.0 / large)

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return params * (x - 0.5) - log_sinhc(params)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        u = torch.empty_like(params).uniform_(generator=generator)
        size = torch.where(params == 0, 1.0, params.abs())
        # By the inverse of the distribution function, mirrored so that nothing overflows.
        falling = torch.log1p(u * torch.expm1(-size)) / -size
        return torch.where(params == 0, u, torch.where(params > 0, 1.0 - falling, falling))

    def link(self, mean: Tensor) -> Tensor:
        """Within 5 percent: the mean is Langevin's function, inverted after Cohen (1991)."""
        y = 2.0 * mean - 1.0
        return 2.0 * y * (3.0 - y.square()) / (1.0 - y.square())

    def support(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)
