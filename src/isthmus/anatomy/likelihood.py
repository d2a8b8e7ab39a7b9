"""Observation models: how a decoder's output becomes a reconstruction and a log-likelihood.

All log-likelihoods are in nats per example, summed over the observed elements, with every
constant. :mod:`isthmus.likelihoods` has the others and lists them all.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import IsthmusError


class Likelihood(nn.Module):
    """``p(x | params)``, where ``params`` is what the decoder returned.

    x is ``(rows, *shape)``. ``params`` are ``(rows, *shape)`` where ``numbers`` is 1, else
    ``(rows, *shape, numbers)``; they may carry leading axes, such as draws of the code.
    ``discrete`` says that :meth:`log_prob` is the logarithm of a probability, not of a density:
    bits are then real bits, and no change of units rescales it.

    A likelihood of your own with independent elements defines :meth:`element_log_prob`,
    :meth:`mean` and :meth:`sample`, and :meth:`support` where not every number is allowed; masks
    and sums are then done here. ``needs`` completes the sentence of :meth:`check`.
    """

    name = "likelihood"
    unit = "nats"
    discrete: bool = False
    numbers: int = 1
    needs: str = "finite numbers"
    tells_spread: bool = False
    """Whether the decoder tells how far off it may be: a model then scores rows by its density."""
    fill: float = 0.0
    """What stands in for x where it is not observed: any value of the support."""

    def mean(self, params: Tensor) -> Tensor:
        """The reconstruction: the mean of x given ``params``, ``(..., rows, *shape)``."""
        raise NotImplementedError

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p of every element in nats, ``(..., rows, *shape)``."""
        raise NotImplementedError

    def log_prob(self, params: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """log p(x | params) in nats: ``x`` ``(rows, *shape)``, ``params`` may carry leading axes.

        The result has the leading axes of ``params`` and the row axis. ``mask`` is True where x
        is observed, over the first axes of x: ``(rows,)``, ``(rows, steps)`` or all of them. What
        is not observed counts 0 and passes no gradient, whatever stands there, NaN included.
        Values outside the support are not looked for here: :meth:`check` does that once.
        """
        self.check_params(params, x)
        return sum_elements(self.element_log_prob(params, filled(x, mask, self.fill)), x, mask)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """One draw of x given ``params``, from ``generator`` where there is one."""
        raise NotImplementedError

    def precision(self) -> Tensor | None:
        """One over the variance of each element, ``()`` or ``(*shape)``; else None.

        Of normal elements whose variance is no function of the code: squared errors then average
        over codes in closed form.
        """
        return None

    def link(self, mean: Tensor) -> Tensor:
        """The decoder's first number where x has that mean, ``(*shape)``: a good start for a bias.

        The mean itself, unless a likelihood says otherwise.
        """
        return mean

    def support(self, x: Tensor) -> Tensor:
        """Which elements of x can occur at all, ``(rows, *shape)``, bool."""
        return torch.isfinite(x)

    def admits(self, x: Tensor) -> Tensor:
        """Which elements of x may be scored; the support, unless a likelihood is read freely."""
        return self.support(x)

    def check(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Refuse observed values that this likelihood cannot score, as :class:`IsthmusError`.

        It waits for the device, so it is for a sample of the data and not for every step.
        """
        if isinstance(x, Mapping):
            raise IsthmusError(
                f"the likelihood {self.name} reads one array, and what is to be rebuilt has the "
                f"parts {', '.join(map(repr, x))}: pass likelihood=Each({{...}}), one for each name"
            )
        bad = ~self.admits(filled(x, mask, self.fill))
        if mask is not None:
            bad = bad & over(mask, x)
        if bool(bad.any()):
            value = x[bad.expand_as(x)][0].item()
            raise IsthmusError(
                f"likelihood {self.name} needs {self.needs}, and the data (in the model's units) "
                f"hold {value:g}: set scaling=none if they were scaled, or use another likelihood"
            )

    def check_params(self, params: Tensor, x: Tensor) -> None:
        """Refuse ``params`` whose axes are not x's (and ``numbers``), by their shape alone."""
        shape = (*x.shape, self.numbers) if self.numbers > 1 else tuple(x.shape)
        if tuple(params.shape[-len(shape) :]) != shape:
            raise IsthmusError(
                f"likelihood {self.name} reads params (..., {', '.join(map(str, shape))}), and the "
                f"decoder returned {tuple(params.shape)}: give it {self.numbers} number(s) for "
                "each element"
            )


# --- masks -----------------------------------------------------------------------------------


def over(mask: Tensor, x: Tensor) -> Tensor:
    """A mask over the first axes of x, with axes of one element for the others."""
    if mask.dtype != torch.bool or mask.shape != x.shape[: mask.ndim]:
        raise IsthmusError(
            f"a mask of {str(mask.dtype).removeprefix('torch.')} {tuple(mask.shape)} does not fit "
            f"data of shape {tuple(x.shape)}: pass bool over its first axes, True where observed"
        )
    return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def filled(x: Tensor, mask: Tensor | None, value: float) -> Tensor:
    """x with ``value`` in place of what is not observed."""
    return x if mask is None else x.masked_fill(~over(mask, x), value)


def sum_elements(values: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Observed elements summed: ``(..., *x.shape)`` to ``(..., rows)``."""
    if mask is not None:
        values = torch.where(over(mask, x), values, 0.0)
    return values.flatten(values.ndim - x.ndim + 1).sum(-1)


# --- the two that everything else starts from ------------------------------------------------


class Gaussian(Likelihood):
    """Independent normal elements with one fixed standard deviation ``sigma``."""

    name = "gaussian"

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        self.sigma = sigma

    def precision(self) -> Tensor:
        return torch.tensor(self.sigma**-2.0)

    def mean(self, params: Tensor) -> Tensor:
        return params

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        constant = math.log(self.sigma) + 0.5 * math.log(2 * math.pi)
        return -0.5 * (params - x).square() / self.sigma**2 - constant

    def log_prob(self, params: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
        squared = sum_elements((params - filled(x, mask, 0.0)).square(), x, mask)
        numel: int | Tensor = math.prod(x.shape[1:])
        if mask is not None:
            numel = over(mask, x).expand(x.shape).flatten(1).sum(1).to(squared)
        constant = numel * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))
        return -0.5 * squared / self.sigma**2 - constant

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return params + self.sigma * torch.empty_like(params).normal_(generator=generator)


class Bernoulli(Likelihood):
    """Independent Bernoulli elements; ``params`` are logits.

    Elements strictly between 0 and 1 are scored by the cross-entropy, the usual reading of grey
    levels as probabilities. It is a log-likelihood only for binary data: evaluation says so.
    """

    name = "bernoulli"
    discrete = True
    needs = "values between 0 and 1"

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)

    def element_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(params, x.expand_as(params), reduction="none")

    def log_prob(self, params: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
        target = filled(x, mask, 0.0).expand_as(params)
        loss = F.binary_cross_entropy_with_logits(params, target, reduction="none")
        return -sum_elements(loss, x, mask)

    def sample(self, params: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(torch.sigmoid(params), generator=generator)

    def link(self, mean: Tensor) -> Tensor:
        return mean.logit()

    def support(self, x: Tensor) -> Tensor:
        return (x == 0) | (x == 1)

    def admits(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)
