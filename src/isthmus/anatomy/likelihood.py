"""Observation models: how a decoder's output becomes a reconstruction and a log-likelihood.

All log-likelihoods are in nats per example, summed over the elements, with every constant.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Likelihood(nn.Module):
    """``p(x | params)``, where ``params`` is what the decoder returned."""

    name = "likelihood"

    def mean(self, params: Tensor) -> Tensor:
        """The reconstruction: the mean of x given ``params``, same shape."""
        raise NotImplementedError

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x | params) in nats: ``x`` ``(rows, *shape)``, ``params`` may carry leading axes.

        The result has the leading axes of ``params`` and the row axis.
        """
        raise NotImplementedError

    def sample(self, params: Tensor) -> Tensor:
        """One draw of x given ``params``."""
        raise NotImplementedError


def _sum_elements(values: Tensor, x: Tensor) -> Tensor:
    return values.flatten(values.ndim - x.ndim + 1).sum(-1)


class Gaussian(Likelihood):
    """Independent normal elements with one fixed standard deviation ``sigma``."""

    name = "gaussian"

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        self.sigma = sigma

    def mean(self, params: Tensor) -> Tensor:
        return params

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        squared = _sum_elements((params - x).square(), x)
        constant = x[0].numel() * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 * squared / self.sigma**2 - constant

    def sample(self, params: Tensor) -> Tensor:
        return params + self.sigma * torch.randn_like(params)


class Bernoulli(Likelihood):
    """Independent Bernoulli elements; ``params`` are logits.

    Elements strictly between 0 and 1 are scored by the cross-entropy, the usual reading of grey
    levels as probabilities. It is a log-likelihood only for binary data: evaluation says so.
    """

    name = "bernoulli"

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(params, x.expand_as(params), reduction="none")
        return -_sum_elements(loss, x)

    def sample(self, params: Tensor) -> Tensor:
        return torch.bernoulli(torch.sigmoid(params))
