"""Counts that share a total, such as the words of a document."""

import torch
from torch import Tensor

from isthmus.anatomy.likelihood import Likelihood, filled, over, sum_elements
from isthmus.errors import IsthmusError
from isthmus.likelihoods.counts import as_numbers, whole


class Multinomial(Likelihood):
    """Counts over the last axis of x, whose total is taken from x itself.

    ``params`` are logits, softmaxed over the last axis. A missing count is left out together with
    its share of the total: what is scored are the others given *their* total, whose probabilities
    are those of the rest, made to sum to 1. A one-hot row is a total of 1, so that this is also
    the likelihood of a one-hot block.

    ``total`` is how many to draw in :meth:`sample` and what :meth:`mean` sums to, since neither
    sees x: 1 by default, which makes the mean the probabilities.
    """

    name = "multinomial"
    discrete = True
    needs = "whole numbers of 0 or more"

    def __init__(self, total: int = 1) -> None:
        super().__init__()
        if total < 1:
            raise IsthmusError(f"total={total} draws nothing: use 1 or more")
        self.total = total

    def mean(self, params: Tensor) -> Tensor:
        return self.total * params.softmax(-1)

    def log_prob(self, params: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.check_params(params, x)
        counts = as_numbers(filled(x, mask, 0.0), params)
        if mask is None:
            logs = params.log_softmax(-1)
        else:
            # Finite, so that a group without any observed count is not the log of 0 / 0.
            least = torch.finfo(params.dtype).min
            seen = over(mask, x)
            logs = torch.where(seen, torch.where(seen, params, least).log_softmax(-1), 0.0)
        ways = sum_elements(torch.lgamma(counts.sum(-1, keepdim=True) + 1.0), x)
        return ways + sum_elements(counts * logs - torch.lgamma(counts + 1.0), x)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        flat = params.softmax(-1).flatten(0, -2)
        drawn = torch.multinomial(flat, self.total, replacement=True, generator=generator)
        ones = torch.ones_like(drawn, dtype=params.dtype)
        return torch.zeros_like(flat).scatter_add_(1, drawn, ones).reshape(params.shape)

    def link(self, mean: Tensor) -> Tensor:
        return mean.clamp(min=1e-3).log()

    def support(self, x: Tensor) -> Tensor:
        return whole(x)
