"""The log-likelihood bounds that a model with a Gaussian code gets from ``evaluate``."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Autoencoder, Bernoulli, GaussianCode, View
from isthmus.anatomy import Batch as Rows
from isthmus.anatomy.tree import elements, observed
from isthmus.evaluation._arrays import float64
from isthmus.evaluation.density import ImportanceBound, as_bits_per_dim
from isthmus.evaluation.registry import Batch, Setting, measures
from isthmus.evaluation.result import Result

CHUNK_ELEMENTS = 2**22
"""Elements of data that are decoded at once, over samples and rows: bounds the memory."""


@runtime_checkable
class Density(Protocol):
    """A prior that says its own density: nats of codes ``(samples, rows, *latent)``."""

    def log_prob(self, z: Tensor, /) -> Tensor: ...


class _Bounds:
    """Importance-weighted bound, ELBO and bits per dimension.

    The noise comes from one stream, row after row, so the draws of a row depend on its number and
    not on the batch size or the device.
    """

    def __init__(self, setting: Setting) -> None:
        self.model, self.samples = setting.model, setting.samples
        self.noise = np.random.default_rng(setting.seed)
        self.importance = ImportanceBound(self.samples)
        self.likelihood = self.model.likelihood
        self.discrete = self.likelihood.discrete
        self.supported = True
        self.numel, self.rows = 0, 0

    def update(self, batch: Batch) -> None:
        code = batch.code
        assert isinstance(code, GaussianCode)
        target, mask = batch.target, batch.mask
        assert isinstance(target, Tensor)
        counts = torch.as_tensor(elements(target, mask)).expand(len(target))
        self.numel, self.rows = self.numel + int(counts.sum()), self.rows + len(target)
        if self.discrete:
            supported = self.likelihood.support(target)
            self.supported &= bool(observed(~supported, mask).logical_not().all())
        shift = 0.0 if self.discrete or self.model.target else log_jacobian(self.model)
        widest = max(target[0].numel() * self.likelihood.numbers, code.mean[0].numel())
        rows = max(1, CHUNK_ELEMENTS // (self.samples * widest))
        chunk = max(1, CHUNK_ELEMENTS // widest)
        for start in range(0, len(target), rows):
            part = slice(start, start + rows)
            seen = batch.rows.part(start, start + rows)
            own = None if mask is None else mask[part]
            pieces = list(self._log_weights(code.take(part), target[part], own, seen, chunk))
            self.importance.update(torch.cat(pieces) + shift)

    def _log_weights(
        self, code: GaussianCode, x: Tensor, mask: Tensor | None, rows: Rows, chunk: int
    ) -> Iterator[Tensor]:
        view, more = View(self.model.scaler(rows.x), mask=rows.mask), {}
        if mask is not None:
            more["mask"] = mask
        shape = (len(x), self.samples, *code.mean.shape[1:])
        drawn = torch.from_numpy(self.noise.standard_normal(shape, dtype=np.float32))
        for noise in drawn.to(code.mean).transpose(0, 1).split(chunk):
            z = code.mean + noise * (0.5 * code.logvar).exp()
            posterior = replace(code, z=z, samples=len(noise))
            likelihood = self.likelihood.log_prob(
                self.model.decode_code(posterior, view=view, batch=rows), x, **more
            )
            q = log_standard_normal(noise) - 0.5 * float64(code.logvar).flatten(1).sum(1)
            yield float64(likelihood) + self._log_prior(z) - q

    def _log_prior(self, z: Tensor) -> Tensor:
        prior = self.model.prior
        return float64(prior.log_prob(z)) if isinstance(prior, Density) else log_standard_normal(z)

    def results(self) -> list[Result]:
        bound, elbo = self._told(self.importance.bound()), self._told(self.importance.elbo())
        if not self.discrete or self.supported:
            return [bound, elbo, as_bits_per_dim(bound, self.numel / self.rows)]
        return [bound, elbo]

    def _told(self, result: Result) -> Result:
        own = isinstance(self.model.prior, Density)
        prior = "the model's own prior" if own else "prior N(0, I)"
        return replace(result, note=self._note(), estimator=f"{result.estimator}; {prior}")

    def _note(self) -> str:
        if self.discrete and not self.supported:
            binary = isinstance(self.likelihood, Bernoulli)
            what = "binary" if binary else self.likelihood.needs
            bounds = "a cross-entropy" if binary else "a formula beyond its support"
            return (
                f"the data are not {what}, so this bounds {bounds}, not the log-likelihood of the "
                "data"
            )
        if self.model.target is not None and not self.discrete:
            return "of the model's target, in the model's units"
        if self.discrete:
            return ""
        if self.model.signal.dtype == "uint8" and self.model.signal.kind == "image":
            return "a density over bytes read as fractions of 255, not a probability of bytes"
        return "a density in the units of the data"


@measures(GaussianCode)
def _bounds(setting: Setting) -> _Bounds | None:
    whole = setting.model.decoder is not None and isinstance(setting.first.target, Tensor)
    return _Bounds(setting) if whole else None


def log_jacobian(model: Autoencoder) -> float:
    """What turns a log-density in the model's units into one in the user's, in nats."""
    if model.scaler.mode == "none":
        return 0.0
    scale = float64(model.scaler.scale).expand(model.signal.shape)
    return -float(scale.log().sum())


def log_standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I): ``(samples, rows, *latent)`` to ``(samples, rows)``, float64."""
    flat = float64(z).flatten(2)
    return -0.5 * (flat.square().sum(-1) + flat.shape[-1] * math.log(2 * math.pi))
