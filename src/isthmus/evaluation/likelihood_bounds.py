"""Bounds on the log-likelihood, and what the latents of a Gaussian posterior carry."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import flat_rows, float64
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.result import Result

ACTIVE_VARIANCE = 0.01
"""Variance over the data above which a posterior mean counts as active (Burda et al. 2015)."""


def log_mean_exp(log_weights: Array) -> Tensor:
    """Log of the mean weight over the first axis: ``(K, rows)`` to ``(rows,)``, float64."""
    weights = float64(log_weights)
    return torch.logsumexp(weights, 0) - math.log(len(weights))


class ImportanceBound:
    """Importance-weighted bound on log p(x), streamed; see :func:`importance_bound`."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._bound = Moments()
        self._elbo = Moments()

    def update(self, log_weights: Array) -> "ImportanceBound":
        """Take in log p(x, z) - log q(z | x), ``(K, rows)`` in nats."""
        if log_weights.ndim != 2 or len(log_weights) != self.samples:
            raise IsthmusError(
                f"log-weights of shape {tuple(log_weights.shape)} do not fit: pass "
                f"({self.samples}, rows)"
            )
        self._bound.update(log_mean_exp(log_weights))
        self._elbo.update(float64(log_weights).mean(0))
        return self

    def bound(self) -> Result:
        """The bound with all K samples."""
        k = self.samples
        return Result.of_mean(
            "importance_bound",
            self._bound,
            higher_is_better=True,
            what=f"the log of the mean of K = {k} importance weights, a lower bound in expectation",
            unit="nats per example",
        )

    def elbo(self) -> Result:
        """The bound with K = 1, averaged over the samples."""
        return Result.of_mean(
            "elbo",
            self._elbo,
            higher_is_better=True,
            what=f"the log importance weight (K = 1), averaged over {self.samples} draws",
            unit="nats per example",
        )


def importance_bound(log_weights: Array) -> Result:
    """Importance-weighted lower bound on the log-likelihood, in nats per example.

    ``log_weights`` ``(K, rows)`` are log p(x, z_k) - log q(z_k | x) with z_k drawn from q. The
    value is the mean over rows of log (1/K) sum_k exp: Burda, Grosse & Salakhutdinov 2015,
    arXiv:1509.00519, eq. 8. It rises with K towards log p(x) and equals it where q is the exact
    posterior. Another number of axes, or no row, is an :class:`IsthmusError`.
    """
    return ImportanceBound(len(log_weights)).update(log_weights).bound()


def bits_per_dim(nats: float, numel: int) -> float:
    """Bits per element from a log-likelihood in nats per example: -nats / (numel ln 2)."""
    return -nats / (numel * math.log(2))


def as_bits_per_dim(bound: Result, numel: int) -> Result:
    """A log-likelihood :class:`Result` in nats as bits per element, where lower is better."""
    interval = bound.interval
    if interval is not None:
        interval = (bits_per_dim(interval[1], numel), bits_per_dim(interval[0], numel))
    return replace(
        bound,
        name="bits_per_dim",
        value=bits_per_dim(bound.value, numel),
        higher_is_better=False,
        interval=interval,
        estimator=f"{bound.name} / (-{numel} ln 2); {bound.estimator}",
        unit="bits per element",
    )


class GaussianPosterior:
    """What a diagonal Gaussian posterior carries, streamed: KL divergence and active units."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._kl = Moments()
        self._kl_per_dimension = Moments()
        self._means = Moments()

    def update(self, mean: Array, logvar: Array) -> "GaussianPosterior":
        """Take in posterior means and natural-log variances, both ``(rows, *latent)``."""
        if tuple(mean.shape) != tuple(logvar.shape):
            raise IsthmusError(
                f"means of shape {tuple(mean.shape)} and log-variances of shape "
                f"{tuple(logvar.shape)} do not fit: pass arrays of the same shape"
            )
        mu, lv = flat_rows(mean, "means"), flat_rows(logvar, "log-variances")
        kl = 0.5 * (mu.square() + torch.expm1(lv) - lv)
        self._shape = tuple(mean.shape[1:])
        self._kl.update(kl.sum(1))
        self._kl_per_dimension.update(kl)
        self._means.update(mu)
        return self

    def kl(self) -> Result:
        """KL divergence to N(0, I), summed over dimensions; ``per`` is that of each."""
        return Result.of_mean(
            "kl",
            self._kl,
            higher_is_better=None,
            what="the closed-form KL divergence from the posterior to N(0, I)",
            unit="nats per example",
            per=self._kl_per_dimension.mean.reshape(self._shape),
        )

    def active_units(self, threshold: float = ACTIVE_VARIANCE) -> Result:
        """Number of active units; see :func:`active_units`."""
        return _active(self._means, self._shape, threshold)


def kl_per_dimension(mean: Array, logvar: Array) -> Result:
    """KL divergence of diagonal Gaussian posteriors to N(0, I), in nats.

    ``mean`` and ``logvar`` are ``(rows, *latent)``. The value is the sum over dimensions, averaged
    over rows; ``per`` has the average of each dimension. Kingma & Welling 2013, appendix B.
    """
    return GaussianPosterior().update(mean, logvar).kl()


def active_units(means: Array, threshold: float = ACTIVE_VARIANCE) -> Result:
    """Number of latents whose posterior mean varies over the data by more than ``threshold``.

    ``means`` is ``(rows, *latent)``; ``per`` is the variance of each (population variance). Burda,
    Grosse & Salakhutdinov 2015, arXiv:1509.00519, section 4.2.
    """
    return _active(Moments().update(flat_rows(means, "means")), tuple(means.shape[1:]), threshold)


def _active(means: Moments, shape: tuple[int, ...], threshold: float) -> Result:
    variance = means.variance()
    how = f"latents whose posterior mean has variance over {threshold:g} across rows; no interval"
    value = float(np.count_nonzero(variance > threshold))
    per = variance.reshape(shape)
    return Result("active_units", value, None, None, means.count, how, "latents", per)
