"""Codebooks as layers of a network: what is quantised passes gradients as if nothing had been.

Tamkin, Taufeeque, Goodman, Codebook Features, 2023, arXiv:2310.17230.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder
from isthmus.errors import IsthmusError
from isthmus.interpretation.encoding import coded, decoded
from isthmus.interpretation.splice import Edit, spliced

Codebooks = Mapping[str, Sequence[Autoencoder]]
"""For each point of a network the codebooks of the parts of its activation, side by side."""


class StraightThrough(Edit):
    """An activation's reconstruction in its place, whose gradient goes to the activation whole.

    The activation ``(..., width)`` is cut into as many equal parts as there are ``autoencoders``
    (an attention's heads, for instance), of which each rebuilds one, in its own units. Where an
    autoencoder's parameters ask for gradients they have the network's as well. ``norms``, one for
    each autoencoder, come before: what is rebuilt is then the part behind its norm. ``error`` is
    the squared error of the last call, ``()``, summed over elements and averaged over rows, of
    which no gradient reaches the activation (the authors' "aeloss": no commitment).
    """

    def __init__(
        self, autoencoders: Sequence[Autoencoder], norms: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.autoencoders = tuple(autoencoders)
        self.norms = tuple(norms) or tuple(nn.Identity() for _ in autoencoders)
        self.error: Tensor | None = None

    def normed(self, x: Tensor) -> list[Tensor]:
        """The parts of ``x`` ``(n, width)``, each behind its norm."""
        widths = [model.signal.numel for model in self.autoencoders]
        if sum(widths) != x.shape[-1]:
            raise IsthmusError(
                f"codebooks of {widths} elements do not fill an activation of {x.shape[-1]}: "
                "build each for its share of the elements"
            )
        parts = x.split(widths, -1)
        return [norm(part) for norm, part in zip(self.norms, parts, strict=True)]

    def rows(self, x: Tensor, read: Tensor) -> Tensor:
        parts = self.normed(read)
        recon = torch.cat(
            [
                decoded(model, coded(model, part.detach()), part.detach())
                for model, part in zip(self.autoencoders, parts, strict=True)
            ],
            -1,
        ).to(x)
        whole = torch.cat(parts, -1)
        self.error = (recon - whole.detach()).square().sum(-1).mean()
        # It less itself is exactly zero: the value is the codes', the gradient the activation's.
        return recon + (whole - whole.detach())


def learn_through(
    module: nn.Module,
    codebooks: Codebooks,
    lessons: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    rebuild: float = 1.0,
    norm: bool = True,
    report: Callable[[int, float], None] | None = None,
) -> dict[str, StraightThrough]:
    """Train a network together with the codebooks at its points, in place, by AdamW.

    ``module`` maps tokens int64 ``(rows, places)`` to logits ``(rows, places, vocabulary)``;
    ``lessons`` are pairs of tokens and the next tokens, of the same shape (-100 where nothing is
    learnt). The loss is the mean cross-entropy, in nats, plus ``rebuild`` times the squared error
    of every codebook, summed over elements: the first reaches the network straight through the
    codes, and the codes; the second the codes alone. Without ``codebooks`` it is plain training.

    norm
        Put a layer norm with weights of its own before each codebook, as the authors' code does.
        Without it nothing holds an activation's length, which its codes do not tell, and a small
        transformer lost all but one or two of its codes within some hundred steps.

    The answer are the edits that :func:`~isthmus.interpretation.spliced` puts into the network, by
    point: it has learnt to work with them, and is another without. Codebooks of the recipe
    ``codebook`` that start at rows start at what the network has there in the first lesson. An
    activation that no codebooks fill, a point that is none and lessons that end before ``steps``
    are an :class:`~isthmus.errors.IsthmusError`.
    """
    edits = {
        point: StraightThrough(parts, [_norm(part) for part in parts] if norm else ())
        for point, parts in codebooks.items()
    }
    trained = [module, *(part for e in edits.values() for part in (*e.autoencoders, *e.norms))]
    weights = [weight for part in trained for weight in part.parameters()]
    optimiser = torch.optim.AdamW(
        [weight for weight in weights if weight.requires_grad], lr=lr, weight_decay=weight_decay
    )
    module.train()
    step = 0
    for step, (tokens, following) in enumerate(islice(lessons, steps), 1):
        if step == 1:
            _start(module, edits, tokens)
        with spliced(module, edits):
            logits = module(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), following.flatten())
        errors = [edit.error for edit in edits.values() if edit.error is not None]
        total = loss + rebuild * torch.stack(errors).sum() if errors else loss
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        if report is not None:
            report(step, float(loss.detach()))
    module.eval()
    if step < steps:
        raise IsthmusError(
            f"there are {step} lessons for {steps} steps: pass as many, or fewer steps"
        )
    return edits


def _norm(model: Autoencoder) -> nn.Module:
    return nn.LayerNorm(model.signal.numel, device=model.device)


def _start(module: nn.Module, edits: Mapping[str, StraightThrough], tokens: Tensor) -> None:
    """Start codebooks at activations of the network as it is, where their decoders can."""
    seen: dict[str, Tensor] = {}

    def keeper(point: str) -> Callable[[Tensor], Tensor]:
        def keep(x: Tensor) -> Tensor:
            seen[point] = x.reshape(-1, x.shape[-1])
            return x

        return keep

    with torch.no_grad(), spliced(module, {point: keeper(point) for point in edits}):
        module(tokens)
        for point, edit in edits.items():
            for model, rows in zip(edit.autoencoders, edit.normed(seen[point]), strict=True):
                start = getattr(model.decoder, "start", None)
                if start is not None:
                    start(model.scaler(rows))
