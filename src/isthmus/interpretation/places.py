"""Where in a call an edit applies: masks, places, and how far a key-value cache has come."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from isthmus.errors import IsthmusError
from isthmus.language import LanguageModel
from isthmus.language.calling import ORDER, signature_of
from isthmus.language.padding import as_mask

Places = slice | Sequence[int] | Tensor
"""Places counted from the beginning of each row: a slice, numbers, or bool (rows, places)."""


class Surroundings:
    """What is known of the call that an activation belongs to."""

    offset: int = 0
    """Place of the call's first token in its row."""
    order: Tensor | None = None
    """Where the tokens of the call stood before their padding was moved behind them."""

    def where(self, x: Tensor, point: str) -> Tensor | None:
        """Bool ``x.shape[:-1]``: the activations that may be edited; None for all."""
        raise NotImplementedError


class WholeCall(Surroundings):
    """A call of any module, which holds all places of its rows."""

    def __init__(self, mask: Tensor | None) -> None:
        self.mask = None if mask is None else as_mask(mask)

    def where(self, x: Tensor, point: str) -> Tensor | None:
        return None if self.mask is None else _fitting(self.mask, x, point)


class TextCall(Surroundings):
    """A call of a language model: its tokens say what is special, its cache where they stand."""

    def __init__(self, model: LanguageModel, mask: Tensor | None) -> None:
        self.mask = None if mask is None else as_mask(mask)
        self.allowed: Tensor | None = None
        self.special = torch.tensor(sorted(model.tokenizer.special), dtype=torch.int64)

    def hook(self, module: nn.Module) -> RemovableHandle:
        """Look at each call of the whole model before it runs."""
        return module.register_forward_pre_hook(self._begin, with_kwargs=True)

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = signature_of(module).first
        tokens = args[0] if args else kwargs.get(first, kwargs.get("input_ids"))
        if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.is_floating_point():
            raise IsthmusError(
                "the language model was called without token numbers (rows, places): pass them "
                "first, or give spliced the module and a mask"
            )
        self.offset = _seen(args, kwargs)
        self.order = ORDER.get()
        if self.mask is not None:
            mask = as_packed(self.mask, self.order)
            self.allowed = _part(mask, self.offset, tokens.shape[1], tokens.device)
            return
        self.allowed = ~torch.isin(tokens, self.special.to(tokens.device))
        attention = args[1] if len(args) > 1 else kwargs.get("attention_mask")
        if isinstance(attention, Tensor) and attention.ndim == 2:
            # With a cache it also covers the places before this call.
            self.allowed &= attention[:, -tokens.shape[1] :].bool()

    def where(self, x: Tensor, point: str) -> Tensor | None:
        if self.allowed is None:
            raise IsthmusError(
                f"{point!r} ran outside a call of the whole language model: call its module itself"
            )
        return _fitting(self.allowed, x, point)


def as_packed(mask: Tensor, order: Tensor | None) -> Tensor:
    """A mask over rows as they were given, where the tokens of packed rows are now."""
    return mask if order is None else mask.to(order.device).gather(1, order)


def _seen(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Places that the key-value cache of a call holds."""
    for cache in (kwargs.get("cache"), kwargs.get("past_key_values"), *args[2:]):
        length = getattr(cache, "get_seq_length", None)
        if length is not None:
            return int(length())
        places = getattr(cache, "places", None)
        if isinstance(places, int):
            return places
    return 0


def _fitting(mask: Tensor, x: Tensor, point: str) -> Tensor:
    if mask.shape != x.shape[:-1]:
        raise IsthmusError(
            f"{point!r} has activations of shape {tuple(x.shape)}, which do not fit the rows and "
            f"places {tuple(mask.shape)}: name a point whose activations are (rows, places, width)"
        )
    return mask.to(x.device)


def _part(mask: Tensor, offset: int, places: int, device: torch.device) -> Tensor:
    """Columns of a mask from ``offset`` on; beyond its end nothing is chosen."""
    part = mask[:, offset : offset + places].to(device=device, dtype=torch.bool)
    return F.pad(part, (0, places - part.shape[1]))


def chosen(
    places: Places, x: Tensor, offset: int, point: str, order: Tensor | None = None
) -> Tensor:
    """Bool ``(rows, places)``: which of a call's activations ``x`` lie at ``places``.

    Numbers count the tokens of a row; a bool tensor is over the row as it was given, and ``order``
    says where that is now.
    """
    if x.ndim != 3:
        raise IsthmusError(
            f"{point!r} has activations of shape {tuple(x.shape)}: places need "
            "(rows, places, width)"
        )
    rows, count = x.shape[:2]
    if isinstance(places, Tensor) and places.dtype == torch.bool:
        places = as_packed(places, order)
        return _fitting(_part(places, offset, count, x.device), x, point)
    positions = torch.arange(offset, offset + count, device=x.device)
    if isinstance(places, slice):
        ends = (places.start or 0, places.stop or 0, places.step or 1)
        if min(ends) < 0 or places.step == 0:
            raise IsthmusError(
                f"places {places} count from the end, which a growing text does not have yet: "
                "count from the beginning"
            )
        start, step = places.start or 0, places.step or 1
        at = (positions >= start) & ((positions - start) % step == 0)
        at = at if places.stop is None else at & (positions < places.stop)
    else:
        indices = torch.as_tensor(places, dtype=torch.int64, device=x.device).flatten()
        if bool((indices < 0).any()):
            raise IsthmusError(
                f"place {int(indices.min())} counts from the end, which a growing text does not "
                "have yet: count from the beginning"
            )
        at = torch.isin(positions, indices)
    return at.expand(rows, count)
