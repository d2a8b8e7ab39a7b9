"""The log-likelihood bounds that a model with a Gaussian code gets from ``evaluate``."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import (
    Autoencoder,
    Batch,
    Bernoulli,
    GaussianCode,
    Tree,
    View,
    scoring,
    tree,
)
from isthmus.bottlenecks import StandardNormal
from isthmus.evaluation.arrays import float64
from isthmus.evaluation.likelihood_bounds import ImportanceBound, as_bits_per_dim
from isthmus.evaluation.registry import MeasuredBatch, MeasureOptions, measures
from isthmus.evaluation.result import Result

CHUNK_ELEMENTS = 2**22
"""Elements of data that are decoded at once, over samples and rows: bounds the memory."""


class _Bounds:
    """Importance-weighted bound, ELBO and bits per dimension.

    The noise comes from one stream, row after row, so the draws of a row depend on its number and
    not on the batch size or the device.
    """

    def __init__(self, setting: MeasureOptions) -> None:
        self.model, self.samples = setting.model, setting.samples
        self.noise = np.random.default_rng(setting.seed)
        self.importance = ImportanceBound(self.samples)
        self.likelihood = self.model.likelihood
        self.discrete = self.likelihood.discrete
        self.supported = self.standard = True
        self.masked = False
        self.numel = self.model.signal.numel

    def update(self, batch: MeasuredBatch) -> None:
        code = batch.code
        assert isinstance(code, GaussianCode)
        target, mask = batch.target, batch.mask
        self.masked |= mask is not None
        sizes = [leaf[0].numel() for _, leaf in tree.leaves(target)]
        if self.model.target is not None:
            self.numel = sum(sizes)
        if self.discrete and isinstance(target, Tensor):
            self.supported &= bool(self.likelihood.support(target).all())
        own_units = self.discrete or self.model.target is not None
        shift = 0.0 if own_units else log_jacobian(self.model, batch.mask)
        widest = max(sum(sizes) * self.likelihood.numbers, code.mean[0].numel())
        rows = max(1, CHUNK_ELEMENTS // (self.samples * widest))
        chunk = max(1, CHUNK_ELEMENTS // widest)
        total = len(code)
        for start in range(0, total, rows):
            stop = min(start + rows, total)
            target_rows = Batch(target, None, mask).part(start, stop)
            given = batch.rows.part(start, stop)
            view = View(tree.sliced(batch.scaled, start, stop), mask=given.mask)
            code_rows = code.take(slice(start, stop))
            pieces = list(self._log_weights(code_rows, target_rows, view, given, chunk))
            self.importance.update(torch.cat(pieces) + shift)

    def _log_weights(
        self, code: GaussianCode, target_rows: Batch, view: View, rows: Batch, chunk: int
    ) -> Iterator[Tensor]:
        shape = (len(code), self.samples, *code.mean.shape[1:])
        more = {} if target_rows.mask is None else {"mask": target_rows.mask}
        drawn = torch.from_numpy(self.noise.standard_normal(shape, dtype=np.float32))
        for noise in drawn.to(code.mean).transpose(0, 1).split(chunk):
            z = code.mean + noise * (0.5 * code.logvar).exp()
            posterior = replace(code, z=z, samples=len(noise))
            params = self.model.decode_code(posterior, view=view, batch=rows)
            likelihood = self.likelihood.log_prob(params, target_rows.x, **more)
            q = log_standard_normal(noise) - 0.5 * float64(code.logvar).flatten(1).sum(1)
            yield float64(likelihood) + self._log_prior(z) - q

    def _log_prior(self, z: Tensor) -> Tensor:
        prior, log_prob = self.model.prior, None
        if prior is not None and not isinstance(prior, StandardNormal):
            log_prob = prior.log_prob(z)
        self.standard = log_prob is None
        return log_standard_normal(z) if log_prob is None else float64(log_prob)

    def results(self) -> list[Result]:
        bound, elbo = self._told(self.importance.bound()), self._told(self.importance.elbo())
        if (not self.discrete or self.supported) and not self.masked:
            return [bound, elbo, as_bits_per_dim(bound, self.numel)]
        return [bound, elbo]

    def _told(self, result: Result) -> Result:
        prior = "prior N(0, I)" if self.standard else "the model's own prior"
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
def _bounds(setting: MeasureOptions) -> _Bounds | None:
    return None if setting.model.decoder is None else _Bounds(setting)


def log_jacobian(model: Autoencoder, mask: Tree = None) -> Tensor | float:
    """What turns a log-density in the model's units into one in the user's, in nats.

    A number, or ``(rows,)`` where masks say that rows have different entries.
    """
    return scoring.log_jacobian(model.scaler, model.signal, mask)


def log_standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I): ``(samples, rows, *latent)`` to ``(samples, rows)``, float64."""
    flat = float64(z).flatten(2)
    return -0.5 * (flat.square().sum(-1) + flat.shape[-1] * math.log(2 * math.pi))
