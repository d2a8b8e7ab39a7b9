"""Whole numbers without a bound: events, molecules, reads."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy.likelihood import Likelihood
from isthmus.errors import unknown
from isthmus.likelihoods.limits import FASTEST, WIDEST, bounded

STIRLING = 20.0
"""Dispersions from here on take Stirling's series, exact to 1e-14 there."""

Dispersion = Literal["learned", "decoder"]


def whole(x: Tensor) -> Tensor:
    """Which elements are whole numbers of 0 or more."""
    if not x.is_floating_point():
        return x >= 0
    return (x >= 0) & (x == x.floor()) & torch.isfinite(x)


def as_numbers(x: Tensor, params: Tensor) -> Tensor:
    """x as floats: integers take the dtype of ``params``."""
    return x if x.is_floating_point() else x.to(params.dtype)


class Poisson(Likelihood):
    """Independent Poisson counts; ``params`` are log rates, at most 30 (a rate of 1e13)."""

    name = "poisson"
    discrete = True
    needs = "whole numbers of 0 or more"

    def mean(self, params: Tensor) -> Tensor:
        return bounded(params, None, FASTEST).exp()

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_rate, x = bounded(params, None, FASTEST), as_numbers(x, params)
        return x * log_rate - log_rate.exp() - torch.lgamma(x + 1.0)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson(self.mean(params), generator=generator)

    def link(self, mean: Tensor) -> Tensor:
        return mean.clamp(min=1e-3).log()

    def support(self, x: Tensor) -> Tensor:
        return whole(x)


class NegativeBinomial(Likelihood):
    """Independent counts with mean ``mu`` and variance ``mu + mu^2 / theta``.

    The parametrisation of scVI (Lopez et al. 2018, doi:10.1038/s41592-018-0229-2): theta is the
    inverse dispersion, and a great theta is a Poisson. The decoder gives log mu, at most 30.
    With ``dispersion="learned"`` theta is a parameter of the model: one, or with ``shape`` (one
    that broadcasts to an example's) one for each element. With ``"decoder"`` params are
    ``(..., 2)``, log mu and log theta. theta stays between 1e-6 and 1e6.
    """

    name = "negative-binomial"
    discrete = True
    needs = "whole numbers of 0 or more"

    def __init__(
        self, shape: tuple[int, ...] | None = None, dispersion: Dispersion = "learned"
    ) -> None:
        super().__init__()
        if dispersion not in ("learned", "decoder"):
            raise unknown("dispersion", dispersion, ("learned", "decoder"))
        self.numbers = 1 if dispersion == "learned" else 2
        self.log_theta: nn.Parameter | None = None
        if dispersion == "learned":
            self.log_theta = nn.Parameter(torch.zeros(shape or ()))

    def log_mean_and_theta(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Natural logs of mu and theta, within their limits."""
        learned = self.log_theta
        log_mean = params[..., 0] if learned is None else params
        log_theta = params[..., 1] if learned is None else learned
        return bounded(log_mean, None, FASTEST), bounded(log_theta, -WIDEST, WIDEST)

    def mean(self, params: Tensor) -> Tensor:
        return self.log_mean_and_theta(params)[0].exp()

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_mean, log_theta = self.log_mean_and_theta(params)
        x, theta = as_numbers(x, params), log_theta.exp()
        ways = log_rising(x, theta, log_theta) - torch.lgamma(x + 1.0)
        return ways + x * log_mean - (x + theta) * F.softplus(log_mean - log_theta)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        log_mean, log_theta = self.log_mean_and_theta(params)
        theta = log_theta.exp().expand_as(log_mean)
        rate = torch._standard_gamma(theta, generator=generator) * (log_mean - log_theta).exp()
        return torch.poisson(rate, generator=generator)

    def link(self, mean: Tensor) -> Tensor:
        return mean.clamp(min=1e-3).log()

    def support(self, x: Tensor) -> Tensor:
        return whole(x)


def log_rising(x: Tensor, theta: Tensor, log_theta: Tensor) -> Tensor:
    """``lgamma(x + theta) - lgamma(theta) - x log(theta)``, for x of 0 or more.

    Near the Poisson limit the difference of the two, each of size theta log(theta), is lost in
    rounding (all of it in float32 at a theta of 1e6); there Stirling's series is subtracted term
    by term.
    """
    great = theta > STIRLING
    large = torch.where(great, theta, STIRLING)
    series = (x + large - 0.5) * torch.log1p(x / large) - x + _tail(x + large) - _tail(large)
    small = torch.where(great, STIRLING, theta)
    log_small = torch.where(great, 0.0, log_theta)
    direct = torch.lgamma(x + small) - torch.lgamma(small) - x * log_small
    return torch.where(great, series, direct)


def _tail(z: Tensor) -> Tensor:
    """lgamma(z) less Stirling's ``(z - 1/2) log z - z + log(2 pi) / 2``."""
    inverse = 1.0 / z
    square = inverse.square()
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
