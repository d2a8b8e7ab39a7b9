"""What users call on a fitted model: encode, decode, reconstruct, score, sample."""

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import opening, tree
from isthmus.anatomy.axes import Array, spread_out
from isthmus.anatomy.batch import Batch, Given, all_entries
from isthmus.anatomy.code import Code
from isthmus.anatomy.dictionary import code_of, decodes_latents, of_this_model
from isthmus.anatomy.evaluation_mode import evaluating
from isthmus.anatomy.given_rows import check_mask, cut_rows, length
from isthmus.anatomy.layout import cut, like, named_rows, raw_rows, restored, shown_as
from isthmus.anatomy.masks import unmasked
from isthmus.anatomy.output import View
from isthmus.anatomy.overflow import Overflow
from isthmus.anatomy.randomness import checked_seed, drawing
from isthmus.anatomy.ranges import Extremes, check_units
from isthmus.anatomy.scoring import (
    DRAWS,
    Kind,
    Scoring,
    beyond_all,
    deviation,
    kind_of_score,
    surprise,
)
from isthmus.anatomy.shape_errors import Misfit
from isthmus.anatomy.signal import Signal
from isthmus.anatomy.source import Source
from isthmus.anatomy.spread import Spread, flattened, reads_positions
from isthmus.anatomy.thresholds import below
from isthmus.anatomy.thresholds import threshold as threshold_of
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder

ENCODE_BATCH = 1024
"""Rows that ``encode``, ``score`` and the like push through at once."""

Examples = Any
"""An array, a tensor, a mapping of names to these, a list of rows, a frame, a Source, a Batch, or
the name of any data that ``fit`` opens: a set, a file or a folder."""


class Inference:
    """The deterministic face of an :class:`Autoencoder`; a mixin of that class alone.

    ``X`` is in the user's units everywhere: an array or tensor, a mapping of names to these for a
    model of several, a list of rows of different lengths, a source, or the name of a file, a folder
    or a set, which is opened as ``fit`` does and gives arrays. Another shape or dtype, NaN and
    infinity are an :class:`IsthmusError`. ``given`` holds what a conditional model asks for,
    ``mask`` says what is observed (see :class:`Batch`). The result has the layout of ``X``: an
    array for an array, texts for texts, a list of rows at their lengths for such a list.

    A dictionary of vectors reads arrays of more axes, ``(batch, position, features)``, too: every
    position is a row, and codes, scores and reconstructions have the other axes of ``X``
    (:mod:`isthmus.anatomy.spread`).
    """

    @overload
    def encode(
        self, X: Examples, *, code: Literal[True], batch_size: int = ..., **about: Any
    ) -> Code: ...
    @overload
    def encode(
        self, X: np.ndarray, *, code: Literal[False] = ..., batch_size: int = ..., **about: Any
    ) -> np.ndarray: ...
    @overload
    def encode(
        self, X: Tensor | Source, *, code: Literal[False] = ..., batch_size: int = ..., **about: Any
    ) -> Tensor: ...
    def encode(
        self, X: Examples, *, code: bool = False, batch_size: int = ENCODE_BATCH, **about: Any
    ) -> Array | Code:
        """The latents of ``X``, deterministic: ``(rows, latent)``.

        With ``code=True`` the :class:`Code` itself, so that a sparse code stays sparse.
        """
        model = self._model
        if opening.is_closed(X):
            source = opening.opened(model, X)
            latents = self.encode(source, code=code, batch_size=batch_size, **about)  # type: ignore[call-overload]
            return cast(Array | Code, opening.arrays(latents))
        rows, spread = self._opened(X, about)
        with evaluating(model):
            codes = (model.clean_code(b) for b in self._batches(rows, batch_size, **about))
            if not code:
                z = torch.cat([tree.wide(part.z.cpu()) for part in codes])
                return cast(Array, spread.each(z, lambda array, part: like(array, part)))
            parts = [part.detached() for part in codes]
        return type(parts[0]).join(parts)

    def decode(
        self,
        Z: Array | Code,
        *,
        batch_size: int = ENCODE_BATCH,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        as_read: bool = False,
    ) -> Any:
        """Reconstructions from latents ``(rows, latent)``, in the user's units.

        A decoder that draws does so from ``seed``. A model of texts gives texts, one of images has
        them in the layout and type of those that it was fitted to: bytes as bytes, channels where
        they were; one of tables gives a table. With ``as_read`` images are as the model reads
        them, in fractions, channels first, and tables are the features that they became.
        """
        model = self._model
        model._need_decoder()
        if not isinstance(Z, Code) and not decodes_latents(model):
            raise IsthmusError(
                "this model rebuilds from the whole code, not from z alone: pass "
                "model.encode(X, code=True)"
            )
        if isinstance(Z, (np.ndarray, Tensor)) and Z.ndim > 2 and reads_positions(model):
            axis = -1 if model.signal.axis is None else model.signal.axis
            each = spread_out(Z, axis)
            flat = self.decode(each, batch_size=batch_size, given=given, seed=seed)
            return Spread(Z, axis).each(
                tree.mapped(torch.as_tensor, flat), lambda array, part: like(array, part)
            )
        codes = (
            [of_this_model(model, Z)] if isinstance(Z, Code) else self._dense_codes(Z, batch_size)
        )
        entries = None if given is None else all_entries(given, len(Z))
        generator = torch.Generator(model.device).manual_seed(checked_seed(seed))
        recon, start = [], 0
        try:
            with evaluating(model):
                for code in codes:
                    code, rows = code.to(model.device), len(code)
                    about = _given_batch(entries, start, rows, model)
                    params = model.decode_code(code, batch=about, generator=generator)
                    recon.append(_cpu(model.unscaled(model.likelihood.mean(params))))
                    start += rows
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, Misfit) as problem:
            if isinstance(Z, Code):
                raise
            what = f"latents of shape {tuple(Z.shape)} do not fit this model's decoder"
            if entries is not None:
                first = str(problem.__cause__ or problem).splitlines()[0]
                raise IsthmusError(
                    f"{what}, or what is given does not ({first}): pass as "
                    "many columns as encode returns, and values as in training"
                ) from problem
            raise IsthmusError(f"{what}: pass as many columns as encode returns") from problem
        output = like(Z, self._as_raw(tree.joined(recon), as_read), model.signal)
        return output if as_read else named_rows(self._restored(output, None), Z)

    def reconstruct(
        self,
        X: Examples,
        *,
        batch_size: int = ENCODE_BATCH,
        seed: int = 0,
        as_read: bool = False,
        **about: Any,
    ) -> Any:
        """Encode and decode, deterministic: ``X`` again, in its shape, layout, units and type.

        Bytes and other whole numbers are rounded to their type, so that ``X`` and its
        reconstruction can be subtracted. With ``as_read`` it is a tensor as the model reads it
        (images in fractions, channels first). The decoder sees the code alone, with the mask and
        what is given, and never the rows.
        """
        model = self._model
        if opening.is_closed(X):
            how = {"batch_size": batch_size, "seed": seed, "as_read": as_read, **about}
            output = self.reconstruct(opening.opened(model, X), **how)
            return opening.arrays(output if as_read else self._restored(output, None))
        rows, spread = self._opened(X, about)
        generator = torch.Generator(model.device).manual_seed(checked_seed(seed))
        with evaluating(model):
            batches = self._batches(rows, batch_size, **about)
            parts = [_cpu(self.rebuilt(batch, generator=generator)) for batch in batches]
        recon = tree.joined(parts)
        if as_read:
            return recon
        if model.preparation is None:
            return spread.each(recon, lambda array, part: restored(array, part, model.signal))
        display = shown_as(X, recon, spread.given, model.signal)
        outputs = self._restored(display, X if spread.axis is None else rows)
        if spread.axis is None:
            return outputs
        whole = torch.as_tensor(outputs)
        return spread.each(whole, lambda array, part: restored(array, part, model.signal))

    def _as_raw(self, recon: Tree, as_read: bool) -> Tree:
        """Images in the layout and type of those fitted to; everything else as it is."""
        signal = self._model.signal
        if as_read:
            return recon
        if isinstance(recon, Mapping):
            parts = signal.parts
            return {
                name: raw_rows(leaf, parts[name])
                if name in parts and parts[name].kind == "image"
                else leaf
                for name, leaf in recon.items()
            }
        return raw_rows(recon, signal) if signal.kind == "image" else recon

    def rebuilt(self, x: Tree | Batch, *, generator: torch.Generator | None = None) -> Tree:
        """The deterministic reconstruction of one checked batch, in the user's units."""
        model = self._model
        batch = x if isinstance(x, Batch) else Batch(x)
        code = model.clean_code(batch)
        unseen = Batch(torch.empty(len(batch), 0), batch.rows, batch.mask, batch.given)
        params = model.decode_code(code, batch=unseen, generator=generator)
        recon = model.unscaled(model.likelihood.mean(params), batch.x)
        return recon if model.target is not None else cut(recon, model.signal, batch.mask)

    def looked_at(self, batch: Batch) -> tuple[Tree, Code, Tree, Tree, Tree]:
        """Of a batch in the user's units: itself in the model's, its deterministic code, the
        decoder's output for that with the batch at hand (None without a decoder), the target, and
        the target's mask."""
        model = self._model
        x = model.scaled(batch)
        view = View(x, mask=batch.mask)
        code = model._code_of(view, batch, None, sample=False)
        target, mask = model._target(x, batch, None)
        decoded = model.decoder is not None
        params = model.decode_code(code, view=view, batch=batch) if decoded else None
        return x, code, params, target, mask

    def score(
        self,
        X: Examples,
        *,
        kind: Kind = "auto",
        draws: int = DRAWS,
        seed: int | None = None,
        batch_size: int = ENCODE_BATCH,
        **about: Any,
    ) -> Array:
        """How well each row fits, ``(rows,)``: **higher is more normal**.

        Of a model with a bound on the log-likelihood that bound, in nats, as a density in the
        user's units (``evaluate`` has its mean as ``elbo``): the true one, whatever weights the
        objective gave its terms, under the model's own likelihood. What has no closed form is
        averaged over ``draws`` of the code, the same noise for every row, fixed by ``seed`` (None:
        the seed of the fit); a row's score depends on no other row. A likelihood whose spread the
        decoder tells, without a distribution of codes, gives its log density instead.

        Of all other models, and with ``kind="error"``, minus the mean squared error per element of
        the deterministic reconstruction, in the model's units, of what is observed and of all
        parts; where an element is a class or a token the log-probability per element, in nats.
        ``kind="bound"`` is an :class:`IsthmusError` where there is no bound or density. A model
        without a decoder has no score. Float32; float64 where that cannot hold a row's score.
        """
        model = self._model
        if model.decoder is None:
            kind_of_score(model, Code(torch.empty(0, 0)), kind)
        scoring = Scoring(model, kind, draws, seed)
        measure = Overflow(model, lambda m, b: scoring.by(m).of(b), beyond_all)
        return self._of_rows(measure, X, batch_size, about, wide=False)

    def drivers(
        self,
        X: Examples,
        *,
        kind: Kind = "auto",
        draws: int = DRAWS,
        seed: int | None = None,
        batch_size: int = ENCODE_BATCH,
        as_read: bool = False,
        **about: Any,
    ) -> Array:
        """How much each element speaks against its row, ``(rows, *shape)``: what drives the score.

        Of a table ``(rows, columns)``, the sums of the features that a column became (a 0/1 column
        for each word, marks of gaps); with ``as_read`` these features, ``(rows, features)``.
        In nats where the score is a bound or a density, else squared errors in the model's units:
        :func:`isthmus.anatomy.scoring.surprise`. Rows without columns (texts, graphs, collections)
        are an :class:`IsthmusError`.
        """
        model = self._model
        scoring = Scoring(model, kind, draws, seed)
        measure = Overflow(model, lambda m, b: surprise(m, b, scoring.by(m)), deviation)
        weights = self._of_rows(measure, X, batch_size, about, wide=True)
        whole = as_read or model.preparation is None
        return weights if whole else model.preparation.by_column(weights, X)  # type: ignore[union-attr]

    def _of_rows(
        self,
        measure: Overflow,
        X: Examples,
        batch_size: int,
        about: Mapping[str, Any],
        *,
        wide: bool,
    ) -> Array:
        """What is measured of the rows of each batch, in the layout of ``X``."""
        if opening.is_closed(X):
            source = opening.opened(self._model, X)
            values = self._of_rows(measure, source, batch_size, about, wide=wide)
            return cast(Array, opening.arrays(values))
        rows, spread = self._opened(X, about)
        with evaluating(self._model):
            measures = [measure(b) for b in self._batches(rows, batch_size, **about)]
        return cast(
            Array,
            spread.each(torch.cat(measures), lambda array, part: like(array, part), wide=wide),
        )

    def threshold(
        self,
        *,
        contamination: float | None = None,
        quantile: float | None = None,
        kind: Kind = "auto",
    ) -> float:
        """The score below which a row is an anomaly, by the training rows' scores.

        ``contamination`` is the share of these that are taken for anomalies, ``quantile`` any
        quantile of them. An :class:`IsthmusError` where the run kept none (dictionaries, texts,
        runs of earlier versions), or scores of another ``kind``.
        """
        return threshold_of(self._model.config.get("scores"), contamination, quantile, kind)

    def predict(
        self,
        X: Examples,
        *,
        contamination: float | None = None,
        quantile: float | None = None,
        threshold: float | None = None,
        **scoring: Any,
    ) -> Array:
        """1 for normal rows and -1 for anomalies, int64 ``(rows,)``, as scikit-learn's detectors.

        An anomaly is a row whose score is below the threshold: one of your own, or that of
        :meth:`threshold` by ``contamination`` (0.1 where nothing is said) or ``quantile``.
        ``scoring`` are options of :meth:`score`.
        """
        if threshold is None:
            if contamination is None and quantile is None:
                contamination = 0.1
            kind = scoring.get("kind", "auto")
            threshold = self.threshold(contamination=contamination, quantile=quantile, kind=kind)
        elif contamination is not None or quantile is not None:
            raise IsthmusError("threshold= already says where anomalies begin: pass it alone")
        return cast(Array, 1 - 2 * below(self.score(X, **scoring), threshold))

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        given: Mapping[str, Any] | None = None,
        as_read: bool = False,
    ) -> Any:
        """``n`` new examples from the prior, in the user's units, ``(n, *shape)``.

        Images have the layout and type of those that the model was fitted to, a table is a frame,
        unless ``as_read``.
        """
        model = self._model
        if model.prior is None or model.decoder is None:
            raise IsthmusError("this model has no prior to sample from: it only rebuilds")
        with evaluating(model), drawing(torch.device("cpu"), seed):
            z = model.prior.sample(n).to(model.device, model.dtype)
            entries = None if given is None else all_entries(given, n)
            about = _given_batch(entries, 0, n, model)
            generator = torch.Generator(model.device).manual_seed(checked_seed(seed))
            params = model.decode_code(Code(z), batch=about, generator=generator)
            recon = _cpu(model.unscaled(model.likelihood.mean(params)))
            output = like(None, self._as_raw(recon, as_read), model.signal)
        return output if as_read else self._restored(output, None)

    # --- helpers -----------------------------------------------------------------------------

    @property
    def _model(self) -> "Autoencoder":
        return cast("Autoencoder", self)

    def batches(
        self,
        X: Examples,
        batch_size: int,
        *,
        given: Mapping[str, Any] | None = None,
        mask: Any = None,
    ) -> Iterator[Batch]:
        """Consecutive checked batches of ``X`` on the model's device, in the user's units."""
        rows, _ = self._opened(X, {"mask": mask})
        return self._batches(rows, batch_size, given=given, mask=mask)

    def _opened(self, X: Examples, about: Mapping[str, Any]) -> tuple[Examples, Spread]:
        """``X`` as the model reads it, its positions as rows, and how results are given back."""
        model = self._model
        spread, preparation = Spread.of(model, X), model.preparation
        rows, _ = flattened(model, X, about.get("mask"))
        if preparation is None:
            return rows, spread
        layout = X if spread.axis is not None else preparation.layout(X)
        return preparation.read(rows), Spread(layout, spread.axis)

    def _restored(self, recon: Any, X: Examples) -> Any:
        """A reconstruction as what ``X`` was, where the model has a preparation."""
        model = self._model
        if model.preparation is None:
            return recon
        names: tuple[str, ...] = getattr(model.target, "names", ())
        return model.preparation.restored(recon, X, names[0] if len(names) == 1 else "")

    def _batches(
        self,
        X: Examples,
        batch_size: int,
        *,
        given: Mapping[str, Any] | None = None,
        mask: Any = None,
    ) -> Iterator[Batch]:
        model = self._model
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise IsthmusError(f"batch_size={batch_size} is no number of rows: pass 1 or more")
        if not (
            isinstance(X, (np.ndarray, Tensor, Mapping, list, tuple, Source, tree.Rows, Batch))
        ):
            way = "an array, a tensor or isthmus.data.as_source(X)"
            if hasattr(X, "columns") and hasattr(X, "to_numpy"):
                way = "X.to_numpy() with its columns in the order of the fit, which knew no names"
            raise IsthmusError(f"data of type {type(X).__name__} cannot be read here: pass {way}")
        if isinstance(X, np.ma.MaskedArray):
            X, mask = unmasked(X, mask)
        total = length(X)
        entries = None if given is None else all_entries(given, total)
        check_mask(X, mask, total)
        extremes = Extremes()
        if isinstance(X, Source):
            check_units(X.signal, model.signal)
        for start in range(0, total, batch_size):
            stop = min(start + batch_size, total)
            if isinstance(X, (Source, Batch)):
                index = torch.arange(start, stop)
                batch = X.batch(index) if isinstance(X, Source) else X.part(start, stop)
                ready = model.signal.batch(batch.x, mask=batch.mask, given=batch.given, read=True)
                ready.rows = index if isinstance(X, Source) else batch.rows
            else:
                if isinstance(X, (np.ndarray, Tensor)) and X.ndim < 2:
                    Signal.infer(X)
                ready = model.signal.batch(
                    cut_rows(X, start, stop), mask=cut_rows(mask, start, stop)
                )
            if entries is not None:
                new = {name: v[start:stop] for name, v in entries.items()}
                ready.given = Given({**ready.given, **new})
            extremes.add(ready.x)
            yield ready.checked().to(model.device)
        extremes.told(model.signal)

    def _dense_codes(self, Z: Array, batch_size: int) -> Iterator[Code]:
        if isinstance(Z, Mapping) or (
            not isinstance(Z, Tensor) and np.asarray(Z).dtype.kind not in "biuf"
        ):
            raise IsthmusError(
                f"latents are a matrix of numbers, and this is a {type(Z).__name__}: pass what "
                "encode returns"
            )
        model = self._model
        # A frame hands out memory that must not be written to, which torch warns of.
        rows = Z if isinstance(Z, Tensor) else torch.as_tensor(np.require(Z, requirements="W"))
        rows = rows.to(model.dtype)
        if rows.ndim < 2 or len(rows) == 0:
            raise IsthmusError("latents must be a matrix (rows, latent) with at least one row")
        if not bool(torch.isfinite(rows).all()):
            raise IsthmusError("the latents contain NaN or infinity: drop these rows first")
        return (code_of(model, part.to(model.device)) for part in rows.split(batch_size))


def _given_batch(given: Given | None, start: int, rows: int, model: "Autoencoder") -> Batch | None:
    """A batch without examples, of what is given for some of the rows."""
    if given is None:
        return None
    part = {name: values[start : start + rows] for name, values in given.items()}
    return Batch(torch.empty(rows, 0), given=Given(part)).to(model.device)


def _cpu(values: Tree) -> Tree:
    return tree.wide(tree.moved(values, torch.device("cpu")))
