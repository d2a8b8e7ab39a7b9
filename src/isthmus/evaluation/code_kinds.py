"""The measures that each kind of code gets from ``evaluate``."""

from dataclasses import replace

import torch
from torch import Tensor

from isthmus.anatomy import AnySparseCode, Autoencoder, Code, DiscreteCode, GaussianCode
from isthmus.anatomy.tree import elements, leaves, like
from isthmus.evaluation.codebook import CodebookCounts
from isthmus.evaluation.likelihood_bounds import GaussianPosterior
from isthmus.evaluation.rank import Spectrum, Spread
from isthmus.evaluation.reconstruction import FVU, ErrorPerElement, MaskedFVU
from isthmus.evaluation.registry import MeasuredBatch, MeasureOptions, measures
from isthmus.evaluation.result import Result
from isthmus.evaluation.sparsity import Firing
from isthmus.evaluation.token_measures import TokenMeasures, same_rows

WIDEST = 4096
"""Latents up to which the rank is measured: it needs a square matrix of that size."""


class _Reconstruction:
    """In the user's units, or in the model's where the target is not the input.

    Of several named parts one result each, ``fvu.image`` say. Only what is observed counts: of rows
    of different lengths each step is a row.
    """

    def __init__(self, setting: MeasureOptions) -> None:
        self.model = setting.model
        self.foreign = self.model.target is not None
        self.unit = (
            "squared units of the target, as the model scales it"
            if self.foreign
            else "squared units of the data"
        )
        self.parts: dict[str, tuple[FVU | MaskedFVU, ErrorPerElement]] = {}

    def update(self, batch: MeasuredBatch) -> None:
        recon = self.model.likelihood.mean(batch.params)
        target = batch.target
        if not self.foreign:
            target, recon = batch.x, self.model.scaler.inverse(recon, batch.x)
        rebuilt = dict(leaves(recon))
        masks = dict(leaves(batch.mask))
        for name, x in leaves(target):
            if isinstance(x, Tensor) and x.is_floating_point():
                self._update(name, x, rebuilt[name], masks.get(name, masks.get("")))

    def _update(self, name: str, x: Tensor, recon: Tensor, mask: Tensor | None) -> None:
        signal = self.model.signal.parts.get(name, self.model.signal)
        if mask is not None and (mask.ndim == 1 or signal.ragged):
            x, recon, mask = x[mask], recon[mask], None
        if len(x) == 0:
            return
        if name not in self.parts:
            measure = FVU() if mask is None else MaskedFVU()
            self.parts[name] = measure, ErrorPerElement(self.unit)
        fvu, error = self.parts[name]
        if isinstance(fvu, MaskedFVU):
            seen = torch.ones_like(x, dtype=torch.bool) if mask is None else like(mask, x)
            fvu.update(x, recon, seen.expand_as(x))
            return
        fvu.update(x, recon)
        error.update(x, recon)

    def results(self) -> list[Result]:
        results = []
        for name, (fvu, error) in self.parts.items():
            part_results = (
                [fvu.result()] if isinstance(fvu, MaskedFVU) else [fvu.result(), error.result()]
            )
            results += [
                replace(r, name=f"{r.name}.{name}" if name else r.name) for r in part_results
            ]
        return results


class _Tokens:
    """Of ids: what is told of each by those before it, and what is rebuilt without them."""

    def __init__(self, model: Autoencoder) -> None:
        self.model, self.tokens = model, TokenMeasures(bytes_=model.signal.text is not None)

    def update(self, batch: MeasuredBatch) -> None:
        params, target, mask = batch.params, batch.target, batch.mask
        more = {} if mask is None else {"mask": mask}
        self.tokens.update(
            self.model.likelihood.log_prob(params, target, **more),
            self.model.likelihood.mean(params) == target,
            mask,
            elements(batch.rows.x, batch.rows.mask),
            same_rows(self.model.rebuilt(batch.rows), batch.rows),
        )

    def results(self) -> list[Result]:
        return self.tokens.results()


class _Rank:
    def __init__(self) -> None:
        self.spectrum = Spectrum()

    def update(self, batch: MeasuredBatch) -> None:
        self.spectrum.update(batch.code.by_position())

    def results(self) -> list[Result]:
        return [self.spectrum.effective_rank(), self.spectrum.numerical_rank()]


class _Spread:
    def __init__(self) -> None:
        self.spread = Spread()

    def update(self, batch: MeasuredBatch) -> None:
        self.spread.update(batch.code.z)

    def results(self) -> list[Result]:
        return [self.spread.result()]


@measures(Code)
def _reconstruction(setting: MeasureOptions) -> _Reconstruction | _Tokens | None:
    if setting.model.decoder is None:
        return None
    target = setting.first.target
    whole = isinstance(target, Tensor) and not target.is_floating_point()
    return _Tokens(setting.model) if whole else _Reconstruction(setting)


@measures(Code)
def _rank(setting: MeasureOptions) -> _Rank | None:
    code = setting.first.code
    # A codebook's entries are many more than the elements of z, whose rank it is.
    width = code.width if code.is_sparse else Code(code.z).width
    return _Rank() if width <= WIDEST else None


@measures(Code)
def _spread(setting: MeasureOptions) -> _Spread | None:
    return _Spread() if setting.model.decoder is None else None


@measures(AnySparseCode)
class _Sparsity:
    def __init__(self, setting: MeasureOptions) -> None:
        self.firing = Firing()

    def update(self, batch: MeasuredBatch) -> None:
        self.firing.update(batch.code)

    def results(self) -> list[Result]:
        return [self.firing.l0(), self.firing.dead_share(), self.firing.dense_share()]


@measures(DiscreteCode)
class _Codebook:
    def __init__(self, setting: MeasureOptions) -> None:
        code = setting.first.code
        assert isinstance(code, DiscreteCode)
        self.counts = CodebookCounts(code.codebook_size, per_position=code.per_position)

    def update(self, batch: MeasuredBatch) -> None:
        assert isinstance(batch.code, DiscreteCode)
        self.counts.update(batch.code.indices)

    def results(self) -> list[Result]:
        return [self.counts.use(), self.counts.perplexity()]


@measures(GaussianCode)
class _Posterior:
    def __init__(self, setting: MeasureOptions) -> None:
        self.posterior = GaussianPosterior()

    def update(self, batch: MeasuredBatch) -> None:
        assert isinstance(batch.code, GaussianCode)
        self.posterior.update(batch.code.mean, batch.code.logvar)

    def results(self) -> list[Result]:
        return [self.posterior.kl(), self.posterior.active_units()]
