"""Normal elements whose variance is learned: one, one per element, or one per element and row."""

import math

import torch
from torch import Tensor, nn

from isthmus.anatomy.likelihood import Likelihood, filled, over
from isthmus.errors import IsthmusError
from isthmus.likelihoods.limits import WIDEST, bounded

_LOG_ROOT_TAU = 0.5 * math.log(2.0 * math.pi)


class LearnedGaussian(Likelihood):
    """Independent normal elements whose standard deviation is a parameter of the model.

    ``shape=None`` is one sigma for all elements, the sigma-VAE of Rybkin, Daniilidis & Levine 2021
    (arXiv:2006.13202); a shape that broadcasts to an example's gives each element
    its own. ``sigma`` is where it starts, in the model's units; its square stays between 1e-6 and
    1e6. :meth:`solve` sets it to the optimum for given data.
    """

    name = "learned-gaussian"

    def __init__(self, shape: tuple[int, ...] | None = None, sigma: float = 1.0) -> None:
        super().__init__()
        if sigma <= 0:
            raise IsthmusError(f"sigma={sigma} is no standard deviation: use a number above 0")
        self.log_sigma = nn.Parameter(torch.full(shape or (), math.log(sigma)))

    def bounded_log_sigma(self) -> Tensor:
        """Natural log of the standard deviation, within its limits."""
        return bounded(self.log_sigma, -0.5 * WIDEST, 0.5 * WIDEST)

    def precision(self) -> Tensor:
        return (-2.0 * self.bounded_log_sigma()).exp()

    def mean(self, params: Tensor) -> Tensor:
        return params

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_sigma = self.bounded_log_sigma()
        return -0.5 * ((params - x) * (-log_sigma).exp()).square() - log_sigma - _LOG_ROOT_TAU

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.empty_like(params).normal_(generator=generator)
        return params + self.bounded_log_sigma().exp() * noise

    @torch.no_grad()
    def solve(self, params: Tensor, x: Tensor, mask: Tensor | None = None) -> None:
        """Set sigma to its maximum-likelihood value for these rows: the root mean squared error.

        The optimal sigma of Rybkin et al. 2021, as an assignment and not within the loss,
        which so stays a sum over examples. What is never observed keeps its sigma. ``params`` may
        carry leading axes.
        """
        self.check_params(params, x)
        squared = (params - filled(x, mask, 0.0)).square()
        ones = torch.ones_like(x)
        if mask is not None:
            weight = over(mask, x).to(x.dtype)
            squared, ones = squared * weight, ones * weight
        squared = squared.reshape(-1, *x.shape).mean(0)
        size = tuple(self.log_sigma.shape)
        total = squared.sum(0).sum_to_size(size)
        count = ones.sum(0).sum_to_size(size)
        optimum = 0.5 * (total / count.clamp(min=1)).clamp(min=math.exp(-WIDEST)).log()
        self.log_sigma.copy_(torch.where(count > 0, optimum.to(self.log_sigma), self.log_sigma))


class FullGaussian(Likelihood):
    """Independent normal elements, mean and log variance both from the decoder.

    ``params`` ``(..., 2)`` are the mean and the natural log of the variance (Kingma & Welling
    2013, appendix C.2). The variance stays between 1e-6 and 1e6 in the model's units, without
    which a constant element has no bound; beyond these the gradient is that at the limit.
    """

    name = "full-gaussian"
    numbers = 2

    def logvar(self, params: Tensor) -> Tensor:
        """Natural log of each element's variance, within its limits."""
        return bounded(params[..., 1], -WIDEST, WIDEST)

    def mean(self, params: Tensor) -> Tensor:
        return params[..., 0]

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        logvar = self.logvar(params)
        squared = ((params[..., 0] - x) * (-0.5 * logvar).exp()).square()
        return -0.5 * (squared + logvar) - _LOG_ROOT_TAU

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        mean = self.mean(params)
        noise = torch.empty_like(mean).normal_(generator=generator)
        return mean + (0.5 * self.logvar(params)).exp() * noise
