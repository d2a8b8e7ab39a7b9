"""How normal a row is: its bound on the log-likelihood, its density, or minus its error.

A score must not depend on what else is scored with a row, nor on their order, nor on how often it
is asked for. Bounds that need draws of the code therefore use *common random numbers*: the same
``draws`` points of the noise for every row, a function of a seed and of the latent's shape alone.
The points come in blocks ``± r Q``, ``Q`` a random rotation: their mean is zero and, where
``2 x latents`` of them fit, their covariance is the identity, so that quadratic functions are
averaged exactly. Of one linear layer with a Gaussian likelihood nothing is drawn.
"""

import math
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from isthmus.anatomy import tree
from isthmus.anatomy.batch import Batch
from isthmus.anatomy.code import Code
from isthmus.anatomy.each import Each, EachScaler
from isthmus.anatomy.output import View
from isthmus.anatomy.randomness import checked_seed
from isthmus.anatomy.scaler import Scaler
from isthmus.anatomy.signal import Signal
from isthmus.anatomy.tree import Tree
from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder

Kind = Literal["auto", "bound", "error"]
KINDS = ("auto", "bound", "error")
DRAWS = 32
"""Draws of the code that a bound is computed from, the same for every row."""

CHUNK_ELEMENTS = 2**22
"""Elements of data that are decoded at once, over draws and rows: bounds the memory."""


@runtime_checkable
class Posterior(Protocol):
    """A code that is a distribution of codes: what a bound is computed from.

    ``drawn_at(noise)`` makes draws of standard normal ``noise`` ``(draws, *latent)``, the same
    for every row. It returns the code with these draws on a leading axis and the weight of each,
    ``(draws, rows)``, which sum to 1 over the draws. ``log_prob(z)`` is log q(z) in nats,
    ``(draws, rows, *latent)`` to ``(draws, rows)``.
    """

    def drawn_at(self, noise: Tensor) -> tuple[Code, Tensor]: ...

    def log_prob(self, z: Tensor) -> Tensor: ...


def kind_of_score(model: "Autoencoder", code: Code, kind: str) -> str:
    """``"bound"``, ``"density"`` or ``"error"``: what a model scores by, of codes of that kind."""
    if kind not in KINDS:
        raise unknown("kind of score", kind, KINDS)
    if model.decoder is None:
        raise IsthmusError(
            "this model has no decoder and so no error to score rows by: score its codes "
            "(model.encode) with a density or neighbour method"
        )
    if kind != "error" and isinstance(code, Posterior):
        return "bound"
    if kind != "error" and getattr(model.likelihood, "tells_spread", False):
        return "density"
    if kind == "bound":
        raise IsthmusError(
            "this model has no bound on the log-likelihood: score it by kind='error', or fit a "
            "variational recipe"
        )
    return "error"


class Scoring:
    """Scores of consecutive batches; what they have in common is made once.

    ``seed`` and ``draws`` say which points of the noise the code is drawn at.
    """

    def __init__(
        self, model: "Autoencoder", kind: str = "auto", draws: int = DRAWS, seed: int | None = None
    ) -> None:
        if not isinstance(draws, (int, Integral)) or draws < 1:
            raise IsthmusError(f"draws={draws} is no number of draws: pass 1 or more")
        self.model, self.kind, self.draws = model, kind, draws
        default = (model.config.get("training") or {}).get("seed") or 0
        self.seed = int(default) if seed is None else checked_seed(seed)
        self._noise: Tensor | None = None

    def by(self, model: "Autoencoder") -> "Scoring":
        """The same scores by another copy of the model, in the precision of that."""
        return self if model is self.model else Scoring(model, self.kind, self.draws, self.seed)

    def of(self, batch: Batch) -> Tensor:
        """The score of each row of a checked batch, ``(rows,)``, higher is more normal.

        In double precision of a model in that, else float32.
        """
        model = self.model
        x, code, params, target, mask = model.looked_at(batch)
        params, target = tree.wide(params), tree.wide(target)
        kind = kind_of_score(model, code, self.kind)
        if kind == "error":
            return minus_error(model, params, target, mask)
        shift = self._shift(batch)
        if kind == "density":
            return self._narrow(log_prob(model, params, target, mask).double() + shift)
        view = View(x, mask=batch.mask)
        return self._narrow(self.bound(code, view, batch, target, mask) + shift)

    def _narrow(self, scores: Tensor) -> Tensor:
        return scores if self.model.dtype == torch.float64 else scores.float()

    def _shift(self, batch: Batch) -> Tensor | float:
        """From the model's units to the user's, where that means something."""
        model = self.model
        unitless = model.likelihood.discrete or model.target is not None
        return 0.0 if unitless else log_jacobian(model.scaler, model.signal, batch.mask)

    def bound(self, code: Any, view: View, batch: Batch, target: Tree, mask: Tree) -> Tensor:
        """The bound on log p of each row, in nats and the model's units, float64 ``(rows,)``.

        Of a bottleneck that draws several codes a row, as importance-weighted models do, the
        importance-weighted bound; otherwise the evidence lower bound, by the true weight of the
        KL divergence whatever the objective's. That divergence is in closed form where the prior
        knows it.
        """
        draws, share = self.drawn(code)
        weighted = (getattr(self.model.bottleneck, "samples", None) or 1) > 1
        divergence = None if weighted else self._divergence(code)
        spread = None if weighted else self.spread(code, target, mask)
        if spread is not None and divergence is not None:
            params = self.model.decode_code(code, view=view, batch=batch)
            mean = log_prob(self.model, params, target, mask).double()
            return mean - 0.5 * spread.sum(1) - divergence
        logs = []
        for part in self._parts(draws, len(batch), target):
            params = self.model.decode_code(part, view=view, batch=batch)
            logs.append(log_prob(self.model, params, target, mask).double())
        joint = torch.cat(logs)
        if divergence is not None:
            return (share * joint).sum(0) - divergence
        joint = joint + self._log_prior(draws.z).double() - code.log_prob(draws.z).double()
        if weighted:
            return (joint + share.log()).logsumexp(0)
        return (share * joint).sum(0)

    def spread(self, code: Any, target: Tree, mask: Tree) -> Tensor | None:
        """What the spread of the code adds to the squared residuals over sigma^2, on average.

        ``(rows, elements)``, float64, where the decoder is one linear layer and the likelihood
        normal with a sigma of its own; else None: then the code has to be drawn.
        """
        decoder, precision = self.model.decoder, self.model.likelihood.precision()
        if not isinstance(decoder, nn.Linear) or not isinstance(target, Tensor):
            return None
        if precision is None or not hasattr(code, "logvar"):
            return None
        weight = decoder.weight.double()
        each = code.logvar.double().exp() @ weight.square().T
        each = (each.view_as(target) * precision.double()).flatten(1)
        if isinstance(mask, Tensor):
            wide_mask = mask.reshape(*mask.shape, *[1] * (target.ndim - mask.ndim)).expand_as(
                target
            )
            each = torch.where(wide_mask.flatten(1), each, 0.0)
        return each

    def drawn(self, code: Any) -> tuple[Any, Tensor]:
        """The code at the common points of the noise, and the weight of each draw."""
        shape = tuple(getattr(code, "mean", code.z).shape[1:])
        if self._noise is None or self._noise.shape[1:] != shape:
            self._noise = points(self.draws, shape, self.seed)
        code, share = code.drawn_at(self._noise.to(code.z))
        return code, share.double()

    def _parts(self, draws: Any, rows: int, target: Tree) -> Iterator[Any]:
        """The draws in pieces that fit into memory."""
        widest = max(sum(leaf[0].numel() for _, leaf in tree.leaves(target)), draws.z[0, 0].numel())
        size = max(1, CHUNK_ELEMENTS // (widest * self.model.likelihood.numbers * rows))
        for z in draws.z.split(size):
            yield draws.replaced(z=z, samples=len(z))

    def _divergence(self, code: Any) -> Tensor | None:
        """The KL divergence from the prior in closed form, ``(rows,)``; else None."""
        mean, logvar = getattr(code, "mean", None), getattr(code, "logvar", None)
        if mean is None or logvar is None:
            return None
        mean, logvar = mean.double().flatten(1), logvar.double().flatten(1)
        prior = self.model.prior
        divergence = None if prior is None else prior.kl(mean, logvar)
        if divergence is not None:
            return divergence
        if prior is not None and prior.log_prob(mean[:1].to(code.z.dtype)) is not None:
            return None
        return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(1)

    def _log_prior(self, z: Tensor) -> Tensor:
        prior = self.model.prior
        density = None if prior is None else prior.log_prob(z)
        if density is not None:
            return density
        flat = z.double().flatten(2)
        return -0.5 * (flat.square() + math.log(2 * math.pi)).sum(2)


def points(draws: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Points of standard normal noise, ``(draws, *shape)``, a function of its arguments alone.

    Antithetic pairs along random rotations; whole blocks of ``2 x latents`` have the identity as
    their covariance, so that quadratic functions are averaged exactly. A single draw is the mean.
    """
    latents = math.prod(shape)
    if draws == 1:
        return torch.zeros(1, *shape)
    generator = torch.Generator().manual_seed(seed)
    pairs = draws // 2
    whole = max(1, pairs // latents)
    rotations, radii = [], []
    for _ in range(whole):
        square = torch.randn(latents, min(latents, pairs), generator=generator, dtype=torch.float64)
        rotations.append(torch.linalg.qr(square).Q.T)
        radii.append(torch.randn(latents, generator=generator, dtype=torch.float64).square().sum())
    # The blocks' squared radii have the mean that the normal distribution's have.
    size = torch.stack(radii)
    size = (size * latents / size.mean()).sqrt()
    one = torch.cat([r * q for r, q in zip(size, rotations, strict=True)])
    return torch.cat([one, -one]).float().unflatten(1, shape)


def log_prob(model: "Autoencoder", params: Tree, target: Tree, mask: Tree) -> Tensor:
    """log p(target | params) in nats, ``(..., rows)``."""
    more = {} if mask is None else {"mask": mask}
    return model.likelihood.log_prob(params, target, **more)


def minus_error(model: "Autoencoder", params: Tree, target: Tree, mask: Tree) -> Tensor:
    """Minus the mean squared error per observed element in the model's units, ``(rows,)``.

    Where an element is a class or a token, the log-probability per element instead, in nats.
    """
    likelihood = model.likelihood
    counts = [n for _, n in tree.leaves(tree.mapped(tree.elements, target, mask))]
    size = sum(counts[1:], start=counts[0])
    size = size.clamp_min(1) if isinstance(size, Tensor) else size
    if any(not leaf.is_floating_point() for _, leaf in tree.leaves(target)):
        return log_prob(model, params, target, mask) / size
    recon = likelihood.mean(params)
    if isinstance(target, Tensor) and mask is None:
        return -(recon - target).square().flatten(1).mean(1)
    errors = tree.mapped(
        lambda t, r, m: tree.observed(r - t, m).square().flatten(1).sum(1), target, recon, mask
    )
    return -torch.stack([e for _, e in tree.leaves(errors)]).sum(0) / size


def beyond_all(model: "Autoencoder", batch: Batch) -> Tensor:
    """The score of rows for which double precision has no number, either: none is less normal."""
    return torch.full((len(batch),), -math.inf)


def log_jacobian(scaler: Scaler, signal: Signal, mask: Tree = None) -> Tensor | float:
    """What turns a log-density in the model's units into one in the user's, in nats.

    A number, or ``(rows,)`` where masks say that rows have different entries.
    """
    if isinstance(scaler, EachScaler):
        masks = mask if isinstance(mask, Mapping) else {}
        total: Tensor | float = 0.0
        for name, part in scaler.items():
            total = total + log_jacobian(part, signal.parts[name], masks.get(name))
        return total
    if scaler.mode == "none":
        return 0.0
    if scaler.by_row:
        raise IsthmusError(
            "rows that are each scaled by itself (scaling=rows) have no density in the data's "
            "units: score by kind=error, or fit with another scaling"
        )
    scale = scaler.scale.double().log()
    if mask is None:
        return -float(scale.expand(signal.shape).sum())
    inner = signal.shape[mask.ndim - 1 :]
    whole = scale.expand(mask.shape[1:] + inner) if scale.ndim == 0 else scale
    wide_mask = mask.reshape(*mask.shape, *[1] * len(inner))
    return -torch.where(wide_mask, whole, 0.0).flatten(1).sum(1)


# --- which elements a score comes from -------------------------------------------------------


def surprise(model: "Autoencoder", batch: Batch, scoring: Scoring) -> Tensor:
    """How much each element of the target speaks against a row, ``(rows, *shape)``.

    In nats: by how much the likelihood of the element falls short of that of its reconstruction
    (half the squared residual in units of sigma, of a Gaussian one), averaged over the draws of
    the code; what is not observed has 0. Of rows of numbers with a Gaussian code the KL
    divergence is shared out, too: ``x_j`` times the mean of its derivatives at the training mean
    and at the row; with a linear encoder that adds up to its part that depends on the row.
    Without a bound, the squared error per element.
    """
    if not isinstance(model.signal.shape, tuple) or model.signal.kind in ("collection", "tokens"):
        raise IsthmusError(
            f"the elements of {model.signal.kind} rows have no columns to name: score without "
            "drivers"
        )
    with torch.enable_grad():
        rows = batch.x.detach()
        scaled = model.scaled(Batch(rows, batch.rows, batch.mask, batch.given)).detach()
        x = scaled.requires_grad_(True)
        view = View(x, mask=batch.mask)
        code = model._code_of(view, batch, None, sample=False)
        kind = kind_of_score(model, code, scoring.kind)
        shared = None
        if kind == "bound" and model.target is None:
            shared = _shared(model, batch, x, code, scoring)
    with torch.no_grad():
        _, code, params, target, mask = model.looked_at(batch)
        params, target = tree.wide(params), tree.wide(target)
        if isinstance(model.likelihood, Each) or not isinstance(target, Tensor):
            raise IsthmusError("a model of several parts has no columns to name: score without")
        if kind == "error":
            each = (model.likelihood.mean(params) - target).square()
        elif kind == "density":
            each = _short(model, params, target)
        elif (spread := scoring.spread(code, target, mask)) is not None:
            each = _short(model, params, target) + 0.5 * spread.to(target).view_as(target)
        else:
            draws, share = scoring.drawn(code)
            each, start = torch.zeros_like(target), 0
            for part in scoring._parts(draws, len(batch), target):
                params = tree.wide(model.decode_code(part, view=view, batch=batch))
                weight = share[start : start + len(part.z)].to(target)
                weight = weight.reshape(*weight.shape, *[1] * (target.ndim - 1))
                each = each + (weight * _short(model, params, target)).sum(0)
                start += len(part.z)
        each = each if mask is None else tree.observed(each, mask)
        return each if shared is None else each + tree.wide(shared)


def _shared(
    model: "Autoencoder", batch: Batch, x: Tensor, code: Any, scoring: Scoring
) -> Tensor | None:
    """What each element adds to the KL divergence, from the training mean on to the row.

    ``x_j`` times the mean of the derivatives at both ends; None where it has no closed form.
    """
    divergence = scoring._divergence(code)
    if divergence is None or not divergence.requires_grad:
        return None
    mean = torch.zeros_like(x).requires_grad_(True)
    at_mean = scoring._divergence(
        model._code_of(View(mean, mask=batch.mask), batch, None, sample=False)
    )
    assert at_mean is not None
    (slope,) = torch.autograd.grad(divergence.sum(), x)
    if at_mean.requires_grad:
        slope = slope + torch.autograd.grad(at_mean.sum(), mean)[0]
    return 0.5 * x.detach() * slope


def deviation(model: "Autoencoder", batch: Batch) -> Tensor:
    """The squared distance of each element from the training mean in the model's units, halved."""
    scaled = tree.wide(model.scaled(batch))
    assert isinstance(scaled, Tensor)
    return 0.5 * scaled.square()


def _short(model: "Autoencoder", params: Any, target: Tensor) -> Tensor:
    """By how many nats each element falls short of its reconstruction, ``(..., rows, *shape)``."""
    likelihood = model.likelihood
    best = likelihood.mean(params)
    if not target.is_floating_point():
        return -likelihood.element_log_prob(params, target)
    try:
        most = likelihood.element_log_prob(params, best)
        return most - likelihood.element_log_prob(params, target)
    except NotImplementedError:  # of a likelihood whose elements are not independent
        return 0.5 * (best - target).square()
