"""Training a dictionary by what its reconstruction does to the model that it was made for.

Braun, Taylor, Goldowsky-Dill, Sharkey, Identifying functionally important features with end-to-end
sparse dictionary learning, 2024, arXiv:2405.12241.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Batch, Objective, Output, Term, evaluating
from isthmus.anatomy.objective import Weighted
from isthmus.errors import IsthmusError, unknown
from isthmus.interpretation.splice import Edit, one_point, spliced
from isthmus.language import LanguageModel, Tokens
from isthmus.language.calling import call_arguments, logits_of
from isthmus.recipes.signature import validated
from isthmus.training import Stepper, TrainingOptions

Loss = Literal["kl", "ce"]
ERRORS = ("mse", "squared_error")
"""Names of the terms that ``rebuild`` weighs."""


class _Seen(Edit):
    """Keeps the activations that are read, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Tensor | None = None

    def rows(self, x: Tensor, read: Tensor) -> Tensor:
        self.kept = read.detach()
        return x


class _Put(Edit):
    """Puts given rows in the place of those that are read."""

    def __init__(self, new: Tensor) -> None:
        super().__init__()
        self.new = new

    def rows(self, x: Tensor, read: Tensor) -> Tensor:
        return self.new.to(x.dtype)


class HostLoss(Term):
    """What a language model loses with the reconstruction in an activation's place, a token.

    ``kl``: the divergence of its prediction from the clean one, ``KL(clean || spliced)``; ``ce``:
    the cross-entropy of the next token. :meth:`read` says which text the rows of the coming step
    are the activations of.
    """

    name = "host"
    unit = "nats a predicted token"
    per_example = False
    estimator = "mean over the predicted tokens of the batch's texts"

    def __init__(self, host: LanguageModel, point: str, loss: Loss) -> None:
        self.loss, self.point = loss, point
        # In a list, so that the host's weights are none of the dictionary's.
        self._host = [host]

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the host on texts ``(rows, places)``: the activations ``(n, width)`` of the point."""
        seen = _Seen()
        (host,) = self._host
        self._ids, self._mask = ids.to(host.device), mask.to(host.device)
        with torch.no_grad(), spliced(host, {self.point: seen}):
            self._clean = self._predictions()
        if seen.kept is None or not len(seen.kept):
            raise IsthmusError("these texts have no token but special ones: pass others")
        return seen.kept

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        (host,) = self._host
        rebuilt = model.scaler.inverse(model.likelihood.mean(out.need_params()))
        with spliced(host, {self.point: _Put(rebuilt.flatten(1))}):
            changed = self._predictions()
        if self.loss == "ce":
            return F.nll_loss(changed, self._ids[:, 1:][self._counted()])
        return F.kl_div(changed, self._clean, reduction="batchmean", log_target=True)

    def _counted(self) -> Tensor:
        """Where a token is predicted: places ``(rows, places - 1)`` that another follows."""
        return self._mask[:, :-1] & self._mask[:, 1:]

    def _predictions(self) -> Tensor:
        """Log-probabilities of the next token, ``(predicted, vocabulary)``."""
        (host,) = self._host
        whole = bool(self._mask.all())
        args, kwargs = call_arguments(host.module, self._ids, None if whole else self._mask)
        logits = logits_of(host.module(*args, **kwargs))
        return logits[:, :-1][self._counted()].float().log_softmax(1)


def end_to_end(
    autoencoder: Autoencoder,
    host: LanguageModel,
    point: str,
    tokens: Tokens,
    *,
    steps: int,
    loss: Loss = "kl",
    weight: float = 1.0,
    rebuild: float = 1.0,
    texts: int = 8,
    report: Callable[[int, dict[str, float]], None] | None = None,
    **training: Any,
) -> Autoencoder:
    """A copy of a fitted dictionary, trained on by its effect on a causal language model.

    Each step reads ``texts`` rows of ``tokens`` (in order, over and over), runs the host, puts the
    reconstruction in at ``point`` (special tokens and padding keep theirs), and takes a step down
    ``weight`` times the host's loss plus the dictionary's own objective, of which the error of the
    reconstruction counts ``rebuild`` times: 0 is the paper's purely end-to-end, where nothing but
    the price of the latents is left beside the divergence. The host's weights are not changed.

    loss
        "kl": the divergence from the clean prediction (the paper's). "ce": the cross-entropy of the
        next token.
    training
        Options of the trainer: ``lr`` (by default a tenth of the one it was fitted with),
        ``optimiser``, ``clip``, ``seed``, ...
    report
        Called as ``report(step, losses)`` after each step.

    The result is saved, loaded and measured as the dictionary that it came of; its config says
    ``end_to_end``. A model that is not causal, one of several parts, and a point that is none are
    an :class:`~isthmus.errors.IsthmusError`.
    """
    if loss not in ("kl", "ce"):
        raise unknown("loss of the host", loss, ("kl", "ce"))
    if not host.causal:
        raise IsthmusError(f"{host.name} is not causal: end_to_end predicts the next token")
    if autoencoder.signal.kind == "collection" or len(autoencoder.players()) > 1:
        raise IsthmusError(
            "end_to_end trains a dictionary of one activation, and this model has several parts"
        )
    one_point(host.module, point)
    model = copy.deepcopy(autoencoder)
    before = model.objective
    term = HostLoss(host, point, loss)
    parts = [
        Weighted(part.term, part.weight * rebuild if part.term.name in ERRORS else part.weight)
        for part in before
    ]
    fitted = dict(model.config.get("training") or {})
    options = {"lr": fitted.get("lr", 1e-3) / 10, **training}
    model.objective = Objective([*parts, *(term * weight)])
    stepper = Stepper(model, validated(TrainingOptions, {**options, "steps": steps}), total=steps)
    stepper.train()
    with evaluating(host.module, gradients=True), _fixed(host.module):
        for step, (ids, mask) in zip(range(steps), _texts(tokens, texts), strict=False):
            rows = term.read(ids, mask)
            (losses,) = stepper.step(Batch(rows), step).values()
            if report is not None:
                report(step, {name: float(value) for name, value in losses.terms.items()})
    model.objective = before
    model.config = {
        **model.config,
        "end_to_end": {
            "host": host.name, "point": point, "steps": steps, "loss": loss, "weight": weight,
            "rebuild": rebuild,
        },
    }  # fmt: skip
    return model.eval()


@contextmanager
def _fixed(module: nn.Module) -> Iterator[None]:
    """No gradient for a module's weights meanwhile: they are looked through, not learnt."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def _texts(tokens: Tokens, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of tokens and their masks, so many at a time, over and over."""
    packed = tokens.packed()
    while True:
        for start in range(0, len(packed.ids), size):
            yield packed.ids[start : start + size], packed.mask[start : start + size].bool()
