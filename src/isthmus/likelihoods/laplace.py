"""Elements with the heavier tails of the Laplace distribution."""

import math

import torch
from torch import Tensor

from isthmus.anatomy.likelihood import Likelihood
from isthmus.errors import IsthmusError
from isthmus.likelihoods.limits import WIDEST, bounded


class Laplace(Likelihood):
    """Independent Laplace elements, ``exp(-|x - mu| / b) / 2b``: the absolute error in nats.

    ``scale`` is b in the model's units, one for all; the standard deviation is sqrt(2) b. With
    ``scale=None`` the decoder gives ``(..., 2)``, mu and log b, and b stays between 1e-3 and 1e3.
    """

    name = "laplace"

    def __init__(self, scale: float | None = 1.0) -> None:
        super().__init__()
        if scale is not None and scale <= 0:
            raise IsthmusError(f"scale={scale} is no scale: use a number above 0, or None")
        self.scale = scale
        self.numbers = 1 if scale is not None else 2

    def log_scale(self, params: Tensor) -> Tensor:
        """Natural log of b: of each element where the decoder gives it, else one number."""
        if self.scale is not None:
            return params.new_full((), math.log(self.scale))
        return bounded(params[..., 1], -0.5 * WIDEST, 0.5 * WIDEST)

    def mean(self, params: Tensor) -> Tensor:
        return params if self.scale is not None else params[..., 0]

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_scale, error = self.log_scale(params), (self.mean(params) - x).abs()
        return -error * (-log_scale).exp() - log_scale - math.log(2.0)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        mean = self.mean(params)
        # The difference of two exponentials has no logarithm of zero at the ends.
        up, down = (torch.empty_like(mean).exponential_(generator=generator) for _ in range(2))
        return mean + self.log_scale(params).exp() * (up - down)
