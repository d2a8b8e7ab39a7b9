"""What each head is worth to a task: by mean ablation of one after the other, and by gradients."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.anatomy import evaluating
from isthmus.errors import IsthmusError
from isthmus.interpretation.circuits.head_points import Heads, heads_of, values_at
from isthmus.interpretation.splice import spliced
from isthmus.language import LanguageModel
from isthmus.language.calling import call_arguments, logits_of

Metric = Callable[[Tensor], Tensor]
"""Logits at the last place ``(prompts, vocabulary)`` to a number for each prompt ``(prompts,)``."""


def answer_odds(right: Tensor, wrong: Tensor) -> Metric:
    """The metric ``log P(right) - log P(wrong)`` in nats, of bool masks ``(prompts, vocabulary)``.

    With one word in each it is the difference of two logits (Wang et al. 2022).
    """

    def metric(logits: Tensor) -> Tensor:
        sides = (right.to(logits.device), wrong.to(logits.device))
        first, second = (logits.masked_fill(~one, -torch.inf).logsumexp(-1) for one in sides)
        return first - second

    return metric


@dataclass(frozen=True, eq=False)
class Ablated:
    """The mean metric with ``whole`` attention, ``without`` each head, and with no head at all.

    ``without`` is float64 ``(layers, heads)``.
    """

    whole: float
    without: Tensor
    nothing: float

    @property
    def effects(self) -> Tensor:
        """How much the metric falls without each head, ``(layers, heads)``."""
        return self.whole - self.without

    def circuit(self, least: float = 0.1) -> Tensor:
        """Heads that matter, bool ``(layers, heads)``.

        Those without which the metric moves, in either direction, by more than ``least`` of what it
        falls without any head.
        """
        return self.effects.abs() > least * abs(self.whole - self.nothing)


@torch.no_grad()
def ablate_heads(
    model: LanguageModel,
    tokens: Tensor,
    corrupted: Tensor,
    metric: Metric,
    *,
    heads: Heads | None = None,
) -> Ablated:
    """Mean ablation of every head by itself, and of all of them: exact, a pass of the model each.

    In the place of a head's values are their means over the corrupted prompts at each place (Wang
    et al. 2022, arXiv:2211.00593).

    tokens, corrupted
        int64 ``(prompts, places)`` each, of one length and without padding; not necessarily as
        many.
    metric
        Such as :func:`answer_odds`; larger is better.
    heads
        See :func:`isthmus.interpretation.circuits.heads_of`.
    """
    heads = heads or heads_of(model)
    _same_length(tokens, corrupted)
    means = {point: x.mean(0) for point, x in values_at(model, heads, corrupted).items()}

    def mean_metric(gone: dict[str, list[int]]) -> float:
        edits = {point: _ablation(heads, means[point], which) for point, which in gone.items()}
        with evaluating(model.module), spliced(model.module, edits):
            return float(metric(model.logits(tokens)[:, -1].float()).double().mean())

    without = [[mean_metric({point: [h]}) for h in range(heads.count)] for point in heads.points]
    nothing = mean_metric({point: list(range(heads.count)) for point in heads.points})
    return Ablated(mean_metric({}), torch.tensor(without, dtype=torch.float64), nothing)


def attribute_heads(
    model: LanguageModel,
    tokens: Tensor,
    corrupted: Tensor,
    metric: Metric,
    *,
    heads: Heads | None = None,
) -> Tensor:
    """What each head is worth to first order, float64 ``(layers, heads)``: attribution patching.

    The absolute value of the mean over prompts of ``sum (z' - z) . dm/dz``, z being the head's
    values at all places and z' those of the prompt's corrupted twin (Nanda 2023; Syed, Rager, Conmy
    2023, arXiv:2310.10348). Two passes and one backwards, however many heads there are.
    ``corrupted`` is int64 ``(prompts, places)`` as ``tokens`` are.
    """
    heads = heads or heads_of(model)
    if tokens.shape != corrupted.shape:
        raise IsthmusError(
            f"{tuple(tokens.shape)} prompts have {tuple(corrupted.shape)} corrupted twins: pass "
            "one for each, of the same length"
        )
    module = model.module
    others = values_at(model, heads, corrupted)
    moves: dict[str, Tensor] = {}
    differences: dict[str, Tensor] = {}

    def leaf(point: str) -> Callable[[Tensor], Tensor]:
        def edit(x: Tensor) -> Tensor:
            differences[point] = others[point] - x.detach()
            moves[point] = torch.zeros_like(x, requires_grad=True)
            return x + moves[point]

        return edit

    args, kwargs = call_arguments(module, tokens.to(model.device), None)
    edits = {point: leaf(point) for point in heads.points}
    with evaluating(module, gradients=True), torch.enable_grad(), spliced(module, edits):
        total = metric(logits_of(module(*args, **kwargs))[:, -1].float()).sum()
    slopes = torch.autograd.grad(total, [moves[point] for point in heads.points])
    scores = []
    for point, slope in zip(heads.points, slopes, strict=True):
        effect = (differences[point] * slope).double().unflatten(2, (heads.count, -1))
        scores.append(effect.sum((1, 3)).mean(0).abs())
    return torch.stack(scores).cpu()


def _ablation(heads: Heads, mean: Tensor, gone: list[int]) -> Callable[[Tensor], Tensor]:
    def edit(x: Tensor) -> Tensor:
        new = x.clone()
        for head in gone:
            block = heads.block(head, x.shape[-1])
            new[..., block] = mean[:, block]
        return new

    return edit


def _same_length(tokens: Tensor, corrupted: Tensor) -> None:
    if tokens.shape[1:] != corrupted.shape[1:]:
        raise IsthmusError(
            f"prompts of {tokens.shape[-1]} tokens have no places in common with corrupted ones of "
            f"{corrupted.shape[-1]}: pass prompts of one length"
        )
