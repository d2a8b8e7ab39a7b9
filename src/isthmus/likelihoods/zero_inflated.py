"""Counts with more zeros than their distribution explains."""

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.anatomy.likelihood import Likelihood
from isthmus.errors import IsthmusError
from isthmus.likelihoods.counts import Dispersion, NegativeBinomial, Poisson


class ZeroInflated(Likelihood):
    """A zero with probability pi, else a draw from ``inner``, a likelihood of counts.

    ``params`` ``(..., inner.numbers + 1)`` are those of ``inner``, then the logit of pi (Lambert
    1992, doi:10.2307/1269547).
    """

    discrete = True

    def __init__(self, inner: Likelihood) -> None:
        super().__init__()
        if not inner.discrete or type(inner).element_log_prob is Likelihood.element_log_prob:
            raise IsthmusError(
                f"zero inflation of {inner.name} has no meaning: use a "
                "likelihood of single counts, such as Poisson()"
            )
        self.inner = inner
        self.numbers = inner.numbers + 1
        self.needs = inner.needs
        self.name = f"zero-inflated-{inner.name}"

    def inner_params(self, params: Tensor) -> Tensor:
        """The part of ``params`` that ``inner`` reads."""
        return params[..., 0] if self.inner.numbers == 1 else params[..., :-1]

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(-params[..., -1]) * self.inner.mean(self.inner_params(params))

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        logit = params[..., -1]
        drawn = F.logsigmoid(-logit) + self.inner.element_log_prob(self.inner_params(params), x)
        return torch.where(x == 0, torch.logaddexp(F.logsigmoid(logit), drawn), drawn)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        zero = torch.bernoulli(torch.sigmoid(params[..., -1]), generator=generator)
        drawn = self.inner.sample(self.inner_params(params), generator=generator)
        return torch.where(zero > 0, torch.zeros_like(drawn), drawn)

    def link(self, mean: Tensor) -> Tensor:
        """For a zero logit of pi, where half the draws are zeros."""
        return self.inner.link(2.0 * mean)

    def support(self, x: Tensor) -> Tensor:
        return self.inner.support(x)


class ZeroInflatedPoisson(ZeroInflated):
    """:class:`ZeroInflated` Poisson counts: log rate and logit of pi."""

    def __init__(self) -> None:
        super().__init__(Poisson())


class ZeroInflatedNegativeBinomial(ZeroInflated):
    """:class:`ZeroInflated` negative binomial counts, scVI's ZINB.

    ``params`` are log mu, log theta where the decoder gives it, and the logit of pi. The
    options are those of :class:`NegativeBinomial`.
    """

    def __init__(
        self, shape: tuple[int, ...] | None = None, dispersion: Dispersion = "learned"
    ) -> None:
        super().__init__(NegativeBinomial(shape, dispersion))
