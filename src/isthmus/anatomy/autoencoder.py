"""The autoencoder: corruption, encoder, bottleneck, decoder, target and objective, put together."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.anatomy.code import Code
from isthmus.anatomy.likelihood import Gaussian, Likelihood
from isthmus.anatomy.objective import MODEL, Critics, Objective, Term
from isthmus.anatomy.output import Output, View
from isthmus.anatomy.scaler import Scaler
from isthmus.anatomy.schedule import Clock
from isthmus.anatomy.signal import Array, Signal
from isthmus.anatomy.source import Source
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.solver import Solver

ENCODE_BATCH = 1024
"""Rows that ``encode``, ``score`` and the like push through at once."""


class Bottleneck(Protocol):
    """What makes it an autoencoder: any module with this call."""

    def __call__(self, h: Any, *, sample: bool = False) -> Code: ...


class Prior(Protocol):
    """A distribution of codes that can be sampled: ``prior(n)`` is ``(n, latent)``."""

    def __call__(self, n: int, /) -> Tensor: ...


class Autoencoder(nn.Module):
    """Parts put together.

    encoder
        Any module from ``(rows, *shape)`` to what the bottleneck reads. A module with the
        attribute ``reads = "view"`` gets the whole :class:`View` (visible patches included);
        with ``reads = "model"`` it gets the view and this autoencoder, and may find the code by
        optimisation through :meth:`decode_code` (a model without an encoder).
    bottleneck
        A module ``(h, sample=False) -> Code``. With the attribute ``reads = "clock"`` the training
        path also passes ``clock=``, where the run stands, or None outside a run.
    decoder
        Any module from ``z`` to the parameters of the likelihood, ``(rows, *shape)``; None for a
        joint embedding. With the attribute ``reads = "code"`` it gets the code itself. With a
        method ``residual(code, target)`` it may offer its error directly, or return None.
    objective
        A term or a sum of terms.
    corruption
        A module from a batch to a :class:`View`, or to a list of several.
    target
        What is to be rebuilt, as a function of the clean batch; the batch itself by default. A
        corruption that redraws the data (see :attr:`View.target`) takes the clean batch's place.
    likelihood
        How the decoder's output becomes a reconstruction; unit Gaussian by default.
    critics
        The networks of further players, by the name that their terms carry.
    prior
        Samples codes, for :meth:`sample`.
    scaler
        The affine map from the user's units to the model's. Without one, ``fit`` chooses it as it
        does for a recipe; ``Scaler(signal.shape, "none")`` leaves the data as they are.
    solver
        Fits the model in closed form, instead of the gradient trainer.

    ``fit`` leaves ``config`` (recipe, options), ``history`` (the log's records) and
    ``reference_rows`` (a few inputs, in the user's units) on the model.

    Any part may define ``prepare(model, x)`` (set up from a sample of the data, before the first
    step), ``before_update()`` and ``after_update()`` (around each optimiser step: projections,
    counters), and ``constrain()`` (bring the weights back to where they must lie, after they were
    averaged). They are found by name; nothing has to be inherited.
    """

    def __init__(
        self,
        signal: Signal,
        *,
        encoder: nn.Module,
        bottleneck: nn.Module,
        decoder: nn.Module | None,
        objective: Objective | Term,
        corruption: nn.Module | None = None,
        target: Callable[[Tensor], Tensor] | None = None,
        likelihood: Likelihood | None = None,
        critics: dict[str, nn.Module] | None = None,
        prior: Prior | None = None,
        scaler: Scaler | None = None,
        solver: "Solver | None" = None,
    ) -> None:
        super().__init__()
        self.signal = signal
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.objective = objective if isinstance(objective, Objective) else objective * 1.0
        self.corruption = corruption
        self.target = target
        self.likelihood = likelihood or Gaussian()
        self.critics = Critics(critics or {})
        self.prior = prior
        self.scaler_given = scaler is not None
        self.scaler = scaler or Scaler(signal.shape)
        self.solver = solver
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.reference_rows: Tensor | None = None
        strangers = set(self.objective.players) - {MODEL} - set(self.critics)
        if strangers:
            raise ValueError(f"no critic is named {strangers.pop()!r}, but a term is its")

    # --- the training path -------------------------------------------------------------------

    def forward(self, x: Tensor, clock: Clock | None = None) -> Output:
        """The path that the objective sees: corrupted, sampled. ``x`` is in the user's units."""
        x = self.scaler(x)
        views = self._views(x)
        timed = getattr(self.bottleneck, "reads", "h") == "clock"
        more = {"clock": clock} if timed else {}
        codes = [self.bottleneck(self._encode(view), sample=True, **more) for view in views]
        target = x if views[0].target is None else views[0].target
        if self.target is not None:
            target = self.target(target)
        out = Output(x, target, views, codes, clock=clock or Clock())
        if self.decoder is not None and self.objective.rebuilds:
            out.likelihood = self.likelihood
            direct = getattr(self.decoder, "residual", None)
            if direct is not None and isinstance(self.likelihood, Gaussian):
                out.residual = direct(codes[0], target)
            if out.residual is None:
                out.params = self.decode_code(codes[0])
        return out

    def _views(self, x: Tensor) -> list[View]:
        if self.corruption is None:
            return [View(x)]
        views = self.corruption(x)
        return views if isinstance(views, list) else [views]

    def _encode(self, view: View) -> Any:
        reads = getattr(self.encoder, "reads", "x")
        if reads == "model":
            return self.encoder(view, self)
        return self.encoder(view if reads == "view" else view.x)

    def decode_code(self, code: Code) -> Tensor:
        """Parameters of the likelihood for a code, sample axis kept, in the model's units."""
        if self.decoder is None:
            raise IsthmusError("this model has no decoder: it embeds, it does not rebuild")
        if getattr(self.decoder, "reads", "z") == "code":
            return self.decoder(code)
        if code.samples is None:
            return self.decoder(code.z)
        params = self.decoder(code.z.flatten(0, 1))
        return params.unflatten(0, (code.samples, -1))

    def clean_code(self, x: Tensor) -> Code:
        """The deterministic code of uncorrupted rows ``x``, in the model's units."""
        code: Code = self.bottleneck(self._encode(View(x)), sample=False)
        return code

    # --- what users call ---------------------------------------------------------------------

    @overload
    def encode(self, X: Array | Source, *, code: Literal[True], batch_size: int = ...) -> Code: ...
    @overload
    def encode(
        self, X: np.ndarray, *, code: Literal[False] = ..., batch_size: int = ...
    ) -> np.ndarray: ...
    @overload
    def encode(
        self, X: Tensor | Source, *, code: Literal[False] = ..., batch_size: int = ...
    ) -> Tensor: ...
    def encode(
        self, X: Array | Source, *, code: bool = False, batch_size: int = ENCODE_BATCH
    ) -> Array | Code:
        """The latents of ``X``, deterministic: ``(rows, latent)``, an array for an array.

        With ``code=True`` the :class:`Code` itself, so that a sparse code stays sparse. ``X`` is
        in the user's units; another shape, dtype, NaN or infinity is an :class:`IsthmusError`.
        """
        with self._inference():
            batches = (self.clean_code(self.scaler(x)) for x in self.batches(X, batch_size))
            if not code:
                return _like(X, torch.cat([part.z.cpu() for part in batches]))
            codes = [part.detached() for part in batches]
        return type(codes[0]).join(codes)

    def decode(self, Z: Array | Code, *, batch_size: int = ENCODE_BATCH) -> Array:
        """Reconstructions from latents ``(rows, latent)``, in the user's units."""
        if not isinstance(Z, Code) and getattr(self.decoder, "reads", "z") == "code":
            wanted = getattr(self.decoder, "from_latent", None)
            if wanted is None:
                raise IsthmusError(
                    "this model rebuilds from the whole code, not from z alone: pass "
                    "model.encode(X, code=True)"
                )
        codes = [Z] if isinstance(Z, Code) else _dense_codes(self, Z, batch_size)
        try:
            with self._inference():
                params = (self.decode_code(_moved(c, self)) for c in codes)
                recon = [self.scaler.inverse(self.likelihood.mean(p)).cpu() for p in params]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as problem:
            if isinstance(Z, Code):
                raise
            raise IsthmusError(
                f"latents of shape {tuple(Z.shape)} do not fit this model's decoder: pass as many "
                "columns as encode returns"
            ) from problem
        return _like(Z, torch.cat(recon))

    def reconstruct(self, X: Array | Source, *, batch_size: int = ENCODE_BATCH) -> Array:
        """Encode and decode, deterministic, in the user's units."""
        with self._inference():
            recon = [self.rebuilt(x).cpu() for x in self.batches(X, batch_size)]
        return _like(X, torch.cat(recon))

    def rebuilt(self, x: Tensor) -> Tensor:
        """The deterministic reconstruction of one checked batch, in the user's units."""
        params = self.decode_code(self.clean_code(self.scaler(x)))
        return self.scaler.inverse(self.likelihood.mean(params))

    def score(self, X: Array | Source, *, batch_size: int = ENCODE_BATCH) -> Array:
        """How well each row fits, ``(rows,)``: **higher is more normal**.

        Minus the mean squared error per element of the deterministic reconstruction, in the
        model's units. A model without a decoder has no score.
        """
        if self.decoder is None:
            raise IsthmusError(
                "this model has no decoder and so no error to score rows by: score its codes "
                "(model.encode) with a density or neighbour method"
            )
        scores = []
        with self._inference():
            for raw in self.batches(X, batch_size):
                x = self.scaler(raw)
                target = x if self.target is None else self.target(x)
                recon = self.likelihood.mean(self.decode_code(self.clean_code(x)))
                scores.append(-(recon - target).square().flatten(1).mean(1).cpu())
        return _like(X, torch.cat(scores))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """``n`` new examples from the prior, in the user's units, ``(n, *shape)``."""
        if self.prior is None or self.decoder is None:
            raise IsthmusError("this model has no prior to sample from: it only rebuilds")
        with self._inference(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            z = self.prior(n).to(self.device)
            return self.scaler.inverse(self.likelihood.mean(self.decode_code(Code(z)))).cpu()

    # --- helpers -----------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the model's parameters (or, without any, its buffers) are."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")

    def prepare(self, x: Tensor) -> None:
        """Set the model up from a sample of the data, in the user's units (see the class)."""
        self.scaler.fit(x)
        x = self.scaler(x)
        for part in self.modules():
            if part is not self and hasattr(part, "prepare"):
                part.prepare(self, x)  # type: ignore[operator]

    def player_parameters(self, player: str) -> Iterator[nn.Parameter]:
        """The parameters that a player trains."""
        if player != MODEL:
            yield from self.critics[player].parameters()
            return
        theirs = {id(p) for p in self.critics.parameters()}
        yield from (p for p in self.parameters() if id(p) not in theirs)

    def batches(self, X: Array | Source, batch_size: int) -> Iterator[Tensor]:
        """Consecutive checked batches of ``X`` on the model's device, in the user's units."""
        if not (isinstance(X, (np.ndarray, Tensor)) or hasattr(X, "rows")):
            raise IsthmusError(
                f"data of type {type(X).__name__} cannot be read here: pass an array, a tensor or "
                "isthmus.data.as_source(X)"
            )
        total = len(X)
        if total == 0:
            raise IsthmusError("the data are empty: pass at least one row")
        for start in range(0, total, batch_size):
            stop = min(start + batch_size, total)
            if isinstance(X, (np.ndarray, Tensor)):
                if X.ndim < 2:
                    Signal.infer(X)
                yield self.signal.tensor(X[start:stop]).to(self.device)
            else:
                rows = X.rows(torch.arange(start, stop))
                yield self.signal.tensor(rows).to(self.device)

    def _inference(self) -> "_Inference":
        return _Inference(self)


class _Inference:
    """Evaluation mode without gradients, the earlier mode restored after."""

    def __init__(self, model: Autoencoder) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.modes = [(part, part.training) for part in self.model.modules()]
        self.model.eval()
        self.no_grad = torch.no_grad()
        self.no_grad.__enter__()

    def __exit__(self, *problem: Any) -> None:
        self.no_grad.__exit__(*problem)
        for part, training in self.modes:
            part.training = training


def _like(X: Any, result: Tensor) -> Array:
    return result.numpy() if isinstance(X, np.ndarray) else result


def _dense_codes(model: Autoencoder, Z: Array, batch_size: int) -> Iterator[Code]:
    rows = torch.as_tensor(np.asarray(Z) if not isinstance(Z, Tensor) else Z)
    rows = rows.to(torch.float32)
    if rows.ndim < 2 or len(rows) == 0:
        raise IsthmusError("latents must be a matrix (rows, latent) with at least one row")
    if not bool(torch.isfinite(rows).all()):
        raise IsthmusError("the latents contain NaN or infinity: drop these rows first")
    make = getattr(model.decoder, "from_latent", Code)
    return (make(part.to(model.device)) for part in rows.split(batch_size))


def _moved(code: Code, model: Autoencoder) -> Code:
    moved = {name: t.to(model.device) for name, t in code.tensors().items()}
    return code._rebuilt(moved)
