"""Grey levels as what they are: a few values on a line."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy.likelihood import Likelihood
from isthmus.errors import IsthmusError
from isthmus.likelihoods.limits import bounded

NARROWEST = 7.0
"""Log scales stay within this of 0, as in PixelCNN++."""


class DiscretisedLogistic(Likelihood):
    """A logistic distribution summed over each of ``bins`` bins: probabilities of grey levels.

    x takes the ``bins`` equally spaced values from ``low`` to ``high``: bytes as fractions of 255
    by default, ``low=-1`` for the range [-1, 1] of Salimans et al. 2017 (PixelCNN++,
    arXiv:1701.05517, equation 2, one component). Each value stands for the interval of one
    spacing around it, the first and last also for all that lies beyond them.

    ``params`` ``(..., 2)`` are the location, in units of x, and the log of the scale in units of
    half the range, kept between -7 and 7. :meth:`mean` is that of the logistic clamped to the
    range; rounding to the values moves it by less than half a spacing.
    """

    name = "discretised-logistic"
    discrete = True
    numbers = 2

    def __init__(self, bins: int = 256, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        if bins < 2 or high <= low:
            raise IsthmusError(
                f"{bins} bins from {low:g} to {high:g} are no grey levels: use 2 or more, upwards"
            )
        self.bins, self.low, self.high = bins, low, high
        self.fill = low
        self.step = (high - low) / (bins - 1)
        self.needs = f"the {bins} equally spaced values from {low:g} to {high:g}"

    def log_scale(self, params: Tensor) -> Tensor:
        """Natural log of the scale, in units of x."""
        half = math.log(0.5 * (self.high - self.low))
        return half + bounded(params[..., 1], -NARROWEST, NARROWEST)

    def mean(self, params: Tensor) -> Tensor:
        centre, scale = params[..., 0], self.log_scale(params).exp()
        above = F.softplus((centre - self.low) / scale) - F.softplus((centre - self.high) / scale)
        # Far beyond the range the difference is of two great numbers.
        return (self.low + scale * above).clamp(self.low, self.high)

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        inverse = (-self.log_scale(params)).exp()
        centred = x - params[..., 0]
        upper = (centred + 0.5 * self.step) * inverse
        lower = (centred - 0.5 * self.step) * inverse
        first, last = x < self.low + 0.5 * self.step, x > self.high - 0.5 * self.step
        # s(u) - s(l) = s(u) s(-l) (1 - exp(l - u)) for the sigmoid s: three logarithms that are
        # finite wherever the interval lies, and of which the outermost bins lack two.
        width = torch.log(-torch.expm1(-self.step * inverse))
        return (
            torch.where(last, 0.0, F.logsigmoid(upper))
            + torch.where(first, 0.0, F.logsigmoid(-lower))
            + torch.where(first | last, 0.0, width)
        )

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        centre = params[..., 0]
        u = torch.empty_like(centre).uniform_(generator=generator)
        drawn = centre + self.log_scale(params).exp() * torch.logit(u, eps=1e-7)
        level = ((drawn - self.low) / self.step).round().clamp(0, self.bins - 1)
        return self.low + level * self.step

    def support(self, x: Tensor) -> Tensor:
        level = (x - self.low) / self.step
        near = (level - level.round()).abs() < 1e-3
        return near & (level > -0.5) & (level < self.bins - 0.5)
