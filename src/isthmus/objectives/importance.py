"""Bounds on log p(x) from several draws of a Gaussian code, and the gradients that each gives."""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from isthmus.anatomy import Autoencoder, Output, Term
from isthmus.objectives.divergence import gaussian

_LEAST = 1e-12
"""Least weight of a draw for the decoder, as a share of its weight for the encoder."""


def _seen(out: Output) -> dict[str, Any]:
    """The mask of the target, where there is one."""
    return {} if out.mask is None else {"mask": out.mask}


def log_weights(model: Autoencoder, out: Output) -> Tensor:
    """``log p(x, z_k) - log q(z_k | x)`` of each draw, in nats, ``(samples, rows)``.

    The prior is the model's own where it has a ``log_prob``, else N(0, I).
    """
    code = gaussian(out)
    likelihood = model.likelihood.log_prob(out.need_params(), out.target, **_seen(out))
    z = code.z
    if code.samples is None:
        z, likelihood = z.unsqueeze(0), likelihood.unsqueeze(0)
    return likelihood + log_prior(model, z) - log_normal(z, code.mean, code.logvar)


def log_prior(model: Autoencoder, z: Tensor) -> Tensor:
    """log p(z), ``(samples, rows)``, by the model's own prior where it has a ``log_prob``."""
    zero = torch.zeros_like(z[0])
    log_prob = None if model.prior is None else model.prior.log_prob(z)
    return log_normal(z, zero, zero) if log_prob is None else log_prob


def log_normal(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mean, exp(logvar)), ``z (samples, rows, *latent)`` to ``(samples, rows)``."""
    z, mean, logvar = (_precise(t) for t in (z, mean, logvar))
    terms = logvar + (z - mean).square() * (-logvar).exp() + math.log(2 * math.pi)
    return -0.5 * terms.flatten(2).sum(2)


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


@runtime_checkable
class Bound(Protocol):
    """A lower bound on log p(x) as a function of log-weights ``(samples, rows)``.

    ``value`` is the bound, ``(rows,)``; ``shares`` its derivative by each log-weight, and
    ``doubly`` that minus the second derivative: the weight that a draw's path has in the doubly
    reparameterised gradient. Both are ``(samples, rows)``.
    """

    def value(self, logs: Tensor) -> Tensor: ...

    def shares(self, logs: Tensor) -> Tensor: ...

    def doubly(self, logs: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Importance:
    """``(1/M) sum_m log (1/K) sum_k w_mk``: the mean of M ``groups`` of importance-weighted bounds.

    One group is L_K of Burda et al. 2015 (equation 8), several are the MIWAE's bound of Rainforth
    et al. 2018. The number of draws must be a multiple of ``groups``.
    """

    groups: int = 1

    def value(self, logs: Tensor) -> Tensor:
        grouped = logs.unflatten(0, (self.groups, -1))
        return (grouped.logsumexp(1) - math.log(grouped.shape[1])).mean(0)

    def shares(self, logs: Tensor) -> Tensor:
        return logs.unflatten(0, (self.groups, -1)).softmax(1).flatten(0, 1) / self.groups

    def doubly(self, logs: Tensor) -> Tensor:
        # Tucker et al. 2018: the squares of the normalised weights.
        return self.shares(logs).square() * self.groups


@dataclass(frozen=True)
class Average:
    """``(1/K) sum_k log w_k``: the evidence lower bound, averaged over the draws."""

    def value(self, logs: Tensor) -> Tensor:
        return logs.mean(0)

    def shares(self, logs: Tensor) -> Tensor:
        return torch.full_like(logs, 1.0 / len(logs))

    def doubly(self, logs: Tensor) -> Tensor:
        return self.shares(logs)


class Combination(nn.Module):
    """``beta Average + (1 - beta) Importance``: the CIWAE's bound (Rainforth et al. 2018).

    A learnt beta, in (0, 1), is the sigmoid of the parameter ``logit``; otherwise it is a number.
    """

    def __init__(self, beta: float, *, learnt: bool = False) -> None:
        super().__init__()
        self.fixed = beta
        start = torch.tensor(math.log(beta) - math.log1p(-beta)) if learnt else None
        self.logit = None if start is None else nn.Parameter(start)

    def beta(self) -> Tensor | float:
        """The weight of the ELBO now."""
        return self.fixed if self.logit is None else self.logit.sigmoid()

    def value(self, logs: Tensor) -> Tensor:
        return self._mixed(Average().value(logs), Importance().value(logs))

    def shares(self, logs: Tensor) -> Tensor:
        return self._mixed(Average().shares(logs), Importance().shares(logs))

    def doubly(self, logs: Tensor) -> Tensor:
        return self._mixed(Average().doubly(logs), Importance().doubly(logs))

    def _mixed(self, average: Tensor, importance: Tensor) -> Tensor:
        beta = self.beta()
        return beta * average + (1.0 - beta) * importance


class ImportanceWeightedBound(Term):
    """``-log (1/K) sum_k w_k``, ``w_k = p(x, z_k) / q(z_k | x)`` over the K draws of a code.

    Minus the bound L_K of Burda et al. (2015), equation 8. Its gradient is minus
    ``sum_k (w_k / sum_j w_j) grad log w_k`` (section 3).
    """

    name = "iwae"
    unit = "nats"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return -Importance().value(log_weights(model, out))


class AveragedBound(Term):
    """``-(1/K) sum_k log w_k``: the ELBO with K draws, which only lowers its variance.

    The paper's control (its VAE with k samples, table 1): what the importance weights do, more
    draws alone do not.
    """

    name = "elbo"
    unit = "nats"

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        return -Average().value(log_weights(model, out))


class RoutedBound(Term):
    """Minus a bound whose gradient is put together draw by draw.

    The value is minus ``decoder``, and so is the gradient by the decoder (and by a prior that is
    learnt). The gradient by the encoder is that of ``encoder`` (the same bound by default), from
    the same draws and one pass through the decoder (the PIWAE, Rainforth et al. 2018).

    With ``doubly`` the encoder's is the doubly reparameterised gradient (Tucker et al. 2018,
    arXiv:1810.04152): an estimate of the same expectation without the score of q, whose signal
    does not drown in noise as K grows. For the average it is the path derivative of Roeder et al.
    2017 (arXiv:1703.09194).
    """

    name = "bound"
    unit = "nats"
    rebuilds = False  # it decodes itself, since the decoder's gradient by z is weighted anew

    def __init__(self, decoder: Bound, encoder: Bound | None = None, *, doubly: bool = False):
        self.decoder, self.own_encoder, self.doubly = decoder, encoder, doubly

    @property
    def encoder(self) -> Bound:
        """The bound whose gradient the encoder follows."""
        return self.own_encoder or self.decoder

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = gaussian(out)
        if code.samples is None:
            code = replace(code, z=code.z.unsqueeze(0), samples=1)
        path = code.z.view_as(code.z)
        params = model.decode_code(replace(code, z=path))
        joint = model.likelihood.log_prob(params, out.target, **_seen(out))
        joint = joint + log_prior(model, path)
        held = (code.mean.detach(), code.logvar.detach())
        mean, logvar = held if self.doubly else (code.mean, code.logvar)
        posterior = log_normal(code.z, mean, logvar)

        logs = (joint - posterior).detach()
        with torch.no_grad():
            through = self.encoder.doubly(logs) if self.doubly else self.encoder.shares(logs)
            # The decoder's backward pass serves both weights: it runs with the decoder's, and what
            # arrives at z is rescaled to the encoder's. A weight that vanishes for the decoder but
            # not for the encoder could not be rescaled, hence the least weight.
            shares = torch.maximum(self.decoder.shares(logs), _LEAST * through)
            ratio = torch.where(shares > 0, through / shares, 0.0)
        if path.requires_grad and (self.doubly or self.encoder is not self.decoder):
            wide = ratio.reshape(*ratio.shape, *[1] * (path.ndim - 2))
            path.register_hook(lambda gradient: (gradient * wide).to(gradient.dtype))
        surrogate = (shares * joint - through * posterior).sum(0)
        # Only what the bound itself has to learn (a weight) gets a gradient from its value.
        return -self.decoder.value(logs) - (surrogate - surrogate.detach())
