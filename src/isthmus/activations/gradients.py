"""Gradients of a language model's loss with respect to its activations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.activations.hooks import hooked
from isthmus.activations.points import GRADIENT, Point
from isthmus.errors import IsthmusError
from isthmus.language.calling import logits_of


def loss_gradients(
    module: nn.Module,
    places: Sequence[Point],
    ids: Tensor,
    visible: Tensor,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> dict[str, Tensor]:
    """The activations at the points, and the loss's gradients at those that end in ``:gradient``.

    The loss is the cross-entropy of the next token in nats, summed over all tokens ``ids`` int64
    ``(rows, places)`` that another precedes; padding is left out (``visible``, bool, as large). A
    gradient is therefore that of its own row's loss, whatever else is in the batch. One forward
    pass, called with ``args`` and ``kwargs``, and one backward pass. The gradients of the module's
    parameters stay as they are. A point that the loss does not depend on is an
    :class:`IsthmusError`.
    """
    seen: dict[str, Tensor] = {}
    handles = []
    try:
        for name, place in {_base(place).name: _base(place) for place in places}.items():
            handles.append(hooked(place, _watch(seen, name)))
        with torch.enable_grad():
            logits = logits_of(module(*args, **kwargs))
            loss = _summed_loss(logits, ids.to(logits.device), visible.to(logits.device))
            names = [_base(place).name for place in places if place.is_gradient]
            missed = [_base(place).name for place in places if _base(place).name not in seen]
            if missed:
                raise IsthmusError(
                    f"the forward pass does not come by {', '.join(map(repr, missed))}: name "
                    "modules that it calls"
                )
            values = torch.autograd.grad(loss, [seen[name] for name in names], allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    gradients = dict(zip(names, values, strict=True))
    out = {}
    for place in places:
        name = _base(place).name
        value = gradients[name] if place.is_gradient else seen[name]
        if value is None:
            raise IsthmusError(
                f"the loss does not depend on {name!r}: name a module on the way to the logits"
            )
        out[place.name] = value.detach()
    return out


def _base(place: Point) -> Point:
    """The point itself, where its gradient is meant."""
    if not place.is_gradient:
        return place
    return replace(place, name=place.name.removesuffix(f":{GRADIENT}"), key=None)


def _watch(seen: dict[str, Tensor], name: str) -> Callable[[Tensor], Tensor]:
    def keep(x: Tensor) -> Tensor:
        if name in seen:  # of a module that runs several times the first run counts
            return x
        seen[name] = x if x.requires_grad else x.detach().requires_grad_()
        # What a later module overwrites is the copy.
        return seen[name].clone()

    return keep


def _summed_loss(logits: Tensor, ids: Tensor, visible: Tensor) -> Tensor:
    counted = (visible[:, 1:] & visible[:, :-1]).flatten()
    loss = F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten().long(), reduction="none"
    )
    return torch.where(counted, loss, 0.0).sum()
