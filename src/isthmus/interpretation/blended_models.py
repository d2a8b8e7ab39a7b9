"""Two language models in one: their states mixed layer by layer, and rebuilt by autoencoders.

Ben Chaliah, Dellagi 2024, Superposition in Transformers, arXiv:2501.00530. Both models run on the
same tokens and stay as they are. At each layer their states are mixed, and an autoencoder makes of
the mixture the state of the model whose domain the text is of, which it has to tell from the
mixture. As in the authors' training, each layer mixes the models' own states, so that only the last
autoencoder reaches the logits; those are the base model's, of the last state rebuilt.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.activations import Activations
from isthmus.anatomy import evaluating
from isthmus.errors import IsthmusError
from isthmus.interpretation.splice import spliced
from isthmus.language.calling import call_arguments, logits_of
from isthmus.networks.causal_autoencoder import CausalAutoencoder
from isthmus.networks.spline_blend import SplineBlend

REBUILT = 3.0
"""Weight of the error of the states beside the cross-entropy."""


@dataclass(frozen=True, eq=False)
class BlendedPass:
    """Logits ``(rows, places, vocabulary)``, and by layer the states ``(rows, places, width)``."""

    logits: Tensor
    base: list[Tensor]
    tuned: list[Tensor]
    rebuilt: list[Tensor]


class BlendedModels(nn.Module):
    """Two models of one shape as one; its parameters are the shares and the autoencoders alone.

    base, tuned
        Modules as :class:`isthmus.language.LanguageModel` has them, such as a model and its
        fine-tuned copy. They are run without dropout; :func:`train_blend` leaves them alone.
    points
        A pattern of the residual stream's points, in the order of the layers; ``layers.*`` of this
        library's own models, ``transformer.h.*`` of GPT-2.
    width
        Elements of the residual stream.
    rebuild
        False leaves the autoencoders out: the mixed states themselves.
    causal
        False for the convolution of the released code, which sees the next token.
    by_element
        A share for each element rather than one for each layer (the paper's 2D variant).
    """

    def __init__(
        self,
        base: nn.Module,
        tuned: nn.Module,
        width: int,
        points: str = "layers.*",
        *,
        share: float = 0.75,
        rebuild: bool = True,
        causal: bool = True,
        by_element: bool = False,
    ) -> None:
        super().__init__()
        self.models = (base, tuned)  # in a tuple they are no parts of this one
        self.points = Activations(base, points).points
        if Activations(tuned, points).points != self.points:
            raise IsthmusError(
                f"{points!r} names other points of the second model: pass two models of one shape"
            )
        self.blend = SplineBlend(len(self.points), width=width if by_element else 1)
        self.autoencoders = nn.ModuleList(
            CausalAutoencoder(width, share, causal=causal) if rebuild else nn.Identity()
            for _ in self.points
        )

    def run(self, tokens: Tensor) -> BlendedPass:
        """A pass of both models and what is made of it; int64 ``tokens`` ``(rows, places)``."""
        base, tuned = self.models
        args, kwargs = call_arguments(tuned, tokens, None)
        take = Activations(tuned, list(self.points), grad=torch.is_grad_enabled())
        with evaluating(tuned, gradients=True):
            others = take(*args, **kwargs)
        shares = self.blend()
        first: list[Tensor] = []
        rebuilt: list[Tensor] = []

        def at_layer(x: Tensor) -> Tensor:
            layer = len(first)
            first.append(x)
            mixed = torch.lerp(first[layer], others[self.points[layer]], shares[layer])
            rebuilt.append(self.autoencoders[layer](mixed))
            return rebuilt[layer] if layer == len(self.points) - 1 else x

        edits = dict.fromkeys(self.points, at_layer)
        args, kwargs = call_arguments(base, tokens, None)
        with evaluating(base, gradients=True), spliced(base, edits):
            logits = logits_of(base(*args, **kwargs))
        return BlendedPass(logits, first, [others[point] for point in self.points], rebuilt)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token ``(rows, places, vocabulary)``."""
        return self.run(tokens).logits


def blend_loss(model: BlendedModels, tokens: Tensor, tuned: Tensor) -> Tensor:
    """What is trained: the cross-entropy of the next token, in nats, and three times the error.

    The error is that of the rebuilt states, mean over elements and places and summed over layers:
    to the base model's states, and in rows of the other domain to the tuned model's. ``tuned`` bool
    ``(rows,)`` says which rows these are. Without autoencoders the error is left out.
    """
    done = model.run(tokens)
    loss = F.cross_entropy(done.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    if isinstance(model.autoencoders[0], nn.Identity):
        return loss
    second = tuned.to(tokens.device)[:, None, None]
    for rebuilt, first, other in zip(done.rebuilt, done.base, done.tuned, strict=True):
        target = torch.where(second, other, first).detach()
        loss = loss + REBUILT * F.mse_loss(rebuilt, target)
    return loss


def train_blend(
    model: BlendedModels,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    rate: float = 1e-4,
    decay: float = 1e-2,
) -> BlendedModels:
    """Train shares and autoencoders on ``batches`` of tokens and of which rows are of the tuned
    model's domain, a step each.

    AdamW with gradients clipped to a norm of 1, the shares at twice the ``rate``; published: 1e-4
    and ten epochs of 18,000 texts. A loss that is not finite is an :class:`IsthmusError`.
    """
    parts = (model.autoencoders, model.blend)
    groups = [list(part.parameters()) for part in parts]
    optimiser = torch.optim.AdamW(
        [
            {"params": group, "lr": factor * rate}
            for group, factor in zip(groups, (1.0, 2.0), strict=True)
            if group
        ],
        weight_decay=decay,
    )
    parameters = [parameter for group in groups for parameter in group]
    for step, (tokens, tuned) in enumerate(batches):
        loss = blend_loss(model, tokens, tuned)
        if not torch.isfinite(loss):
            raise IsthmusError(f"the loss is not finite at step {step}: use a smaller rate")
        # The gradients of these parameters alone: the models' own are left as they are.
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in groups:
            if group:
                nn.utils.clip_grad_norm_(group, 1.0)
        optimiser.step()
    return model.eval()
