"""Induction: what followed a token before follows it again (Olsson et al. 2022, arXiv:2209.11895).

Measured on random tokens, so that nothing but the earlier copy tells what comes next.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.activations import Activations
from isthmus.errors import IsthmusError
from isthmus.interpretation.heads import attention_pattern
from isthmus.language import Decoder, LanguageModel


def repeated_tokens(model: LanguageModel, rows: int, length: int = 50, seed: int = 0) -> Tensor:
    """Random tokens twice over, int64 ``(rows, places)``; BOS first where there is one.

    Tokens are drawn evenly from all but the special ones. ``2 * length`` must fit in the context.
    """
    tokenizer = model.tokenizer
    first = [] if tokenizer.bos is None else [tokenizer.bos]
    if len(first) + 2 * length > model.context:
        raise IsthmusError(
            f"length={length} twice is more than the {model.context} places of {model.name!r}: "
            f"use at most {(model.context - len(first)) // 2}"
        )
    usual = torch.tensor([i for i in range(tokenizer.vocabulary) if i not in tokenizer.special])
    draw = torch.Generator().manual_seed(seed)
    once = usual[torch.randint(len(usual), (rows, length), generator=draw)]
    begin = torch.tensor(first, dtype=torch.int64).expand(rows, len(first))
    return torch.cat((begin, once, once), 1)


def copy_losses(model: LanguageModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Nats per token of each row's first copy and of its second, ``(rows,)`` each.

    ``ids`` is from :func:`repeated_tokens`. The first token of a copy is left out: nothing tells
    that the copy begins.
    """
    length = ids.shape[1] // 2
    logits = model.logits(ids)[:, :-1].float().cpu()
    nats = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return nats[:, -2 * length + 1 : -length].mean(1), nats[:, -length + 1 :].mean(1)


def head_attention(model: LanguageModel, ids: Tensor) -> dict[str, Tensor]:
    """How much each head looks where induction looks, ``(layers, heads)``, means over places.

    ``induction``: from a token of the second copy to what followed it in the first.
    ``previous``: from a token to the one before it. ``chance`` is what attention spread evenly
    would give ``induction`` (one number). For the resident models.
    """
    module = model.module
    if not isinstance(module, Decoder):
        raise IsthmusError(f"the heads of {model.name!r} are not known: use a resident model")
    length = ids.shape[1] // 2
    places = ids.shape[1]
    late = torch.arange(places - length, places)
    points = [f"layers.{layer}.attention:in" for layer in range(len(module.layers))]
    captures = Activations(module, points)(ids)
    scores: dict[str, list[Tensor]] = {"induction": [], "previous": []}
    for layer, point in enumerate(points):
        sums = [torch.zeros(module.shape.heads, dtype=torch.float64) for _ in scores]
        for row in captures[point]:
            weights = attention_pattern(module, layer, row)
            sums[0] += weights[:, late, late - length + 1].mean(1)
            sums[1] += weights.diagonal(-1, 1, 2).mean(1)
        for name, total in zip(scores, sums, strict=True):
            scores[name].append(total / len(ids))
    stacked = {name: torch.stack(rows) for name, rows in scores.items()}
    return stacked | {"chance": (1 / (late + 1.0)).mean().double()}
