"""How a model is called on tokens, so that a token's activations are those of its text alone.

Whatever side padding is on, rows are packed first (:func:`isthmus.language.padding.packed`). Then
positions count tokens for every kind of position there is, and what looks back only (causal
attention, recurrent and state-space models) never sees padding. What looks ahead is told by its
attention mask; where a module takes none, rows of different lengths go through it apart.
"""

import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.errors import IsthmusError
from isthmus.shapes import Bool, Int

ORDER: ContextVar[Tensor | None] = ContextVar("where the tokens of packed rows stood", default=None)
"""While packed rows go through a model: the place of each token before, ``(rows, long)``."""

_NAMED = ("input_ids", "tokens", "ids", "inputs", "x")
"""Names under which a forward without positional arguments may take tokens."""


@dataclass(frozen=True)
class Signature:
    """What the forward of a module takes.

    ``first`` is the name of what comes first, ``by_name`` whether it has to be passed by it;
    ``names`` are all names, and ``anything`` says that it takes any others, too.
    """

    first: str
    by_name: bool
    names: frozenset[str]
    anything: bool

    def takes(self, name: str) -> bool:
        return name in self.names or self.anything


def signature_of(module: nn.Module) -> Signature:
    """What ``module.forward`` takes; a module that hides it is taken to take everything."""
    return _signature(getattr(type(module).forward, "__wrapped__", type(module).forward))


@lru_cache(maxsize=256)
def _signature(forward: Callable[..., Any]) -> Signature:
    try:
        listed = [p for p in inspect.signature(forward).parameters.values() if p.name != "self"]
    except (TypeError, ValueError):
        return Signature("x", False, frozenset(), True)
    anything = any(p.kind is p.VAR_KEYWORD for p in listed)
    plain = [p for p in listed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = not plain and not any(p.kind is p.VAR_POSITIONAL for p in listed)
    keys = [p for p in listed if p.kind is p.KEYWORD_ONLY]
    needed = [p.name for p in keys if p.default is p.empty]
    known = [name for name in _NAMED if name in {p.name for p in keys}]
    first = plain[0].name if plain else next(iter([*needed, *known, *(p.name for p in keys), "x"]))
    names = frozenset(p.name for p in listed if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    return Signature(first, by_name, names, anything)


def is_encoder_decoder(module: nn.Module) -> bool:
    """Whether it reads one text and writes another, as T5 and BART do."""
    config = getattr(module, "config", None)
    names = signature_of(module).names
    return "decoder_input_ids" in names and bool(getattr(config, "is_encoder_decoder", True))


def call_arguments(
    module: nn.Module,
    ids: Int[Tensor, "rows long"],
    mask: Bool[Tensor, "rows long"] | None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a call on packed rows; ``mask`` is None where nothing is padding.

    An encoder-decoder reads the rows on both sides, the decoder one place later behind its start
    token, as it does in training: what stands at a place of the decoder is about to write the token
    of that place.
    """
    signature = signature_of(module)
    args: tuple[Any, ...] = () if signature.by_name else (ids,)
    kwargs: dict[str, Any] = {signature.first: ids} if signature.by_name else {}
    if signature.takes("attention_mask"):
        kwargs["attention_mask"] = mask
    if is_encoder_decoder(module):
        kwargs["decoder_input_ids"] = shifted(module, ids)
        if signature.takes("decoder_attention_mask"):
            kwargs["decoder_attention_mask"] = mask
        if signature.takes("use_cache"):
            kwargs["use_cache"] = False
    return args, kwargs


def shifted(module: nn.Module, ids: Int[Tensor, "rows long"]) -> Int[Tensor, "rows long"]:
    """The rows one place later, behind the token that a decoder starts with."""
    config = getattr(module, "config", None)
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    candidates = [getattr(config, name, None) for name in names]
    start = next((value for value in candidates if isinstance(value, int)), 0)
    return torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], 1)


def takes_mask(module: nn.Module) -> bool:
    """Whether the module can be told what is padding."""
    return signature_of(module).takes("attention_mask")


def alike(mask: Bool[Tensor, "rows long"]) -> Iterator[Int[Tensor, " some"]]:
    """Numbers of the packed rows that have equally many tokens, a group at a time."""
    lengths = mask.sum(1)
    for length in lengths.unique().tolist():
        yield (lengths == length).nonzero().flatten()


def logits_of(out: Any) -> Tensor:
    """The logits in what a language model returns: itself, ``.logits``, ``["logits"]``, or the
    first tensor of three axes in a tuple."""
    if isinstance(out, Tensor):
        return out
    logits = getattr(out, "logits", None)
    if logits is None and isinstance(out, dict):
        logits = out.get("logits")
    if logits is None and isinstance(out, (tuple, list)):
        logits = next((x for x in out if isinstance(x, Tensor) and x.ndim == 3), None)
    if not isinstance(logits, Tensor):
        raise IsthmusError(
            f"the model returns a {type(out).__name__} without logits: return a tensor (rows, "
            "places, vocabulary), or an object with .logits"
        )
    return logits
