"""What the library needs of a language model: its module, its tokenizer, and a few facts."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from isthmus.language.calling import ORDER, alike, call_arguments, logits_of, takes_mask
from isthmus.language.devices import device_named, device_of, dtype_name, dtype_named, dtype_of
from isthmus.language.padding import as_mask, packed


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token numbers and back.

    ``bos`` is the token that a document begins with (None where there is none), ``special`` all
    tokens that stand for no text. ``pieces`` gives the text of each token by itself, for display;
    bytes that are no whole character show as U+FFFD.
    """

    vocabulary: int
    bos: int | None
    special: frozenset[int]

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...

    def pieces(self, tokens: Sequence[int]) -> list[str]: ...


@dataclass(frozen=True)
class LanguageModel:
    """A language model that can be looked into.

    name, revision
        What it was opened as, and a fingerprint or revision of its weights: provenance.
    module
        ``module(tokens, attention_mask=None)`` takes int64 ``(rows, places)`` and returns logits
        ``(rows, places, vocabulary)``, or an object with ``.logits``. In evaluation mode. A module
        without ``attention_mask`` is called without, one that takes names only by name.
    context
        Most tokens of one row.
    causal
        Whether logits at a place are for the next token (else for the token itself).
    unembedding
        Weight ``(vocabulary, width)`` that makes logits of the last residual stream, with the
        final normalisation's gain folded in; None where there is none.
    layers
        Path pattern of the blocks, whose outputs are the residual stream: ``layers.*``.
    opened
        What :func:`isthmus.language.open_model` opens it by, where that is not ``name``: the
        absolute path of a folder, or ``package.module:factory``.
    """

    name: str
    revision: str
    module: nn.Module
    tokenizer: Tokenizer
    context: int
    causal: bool = True
    unembedding: Tensor | None = None
    layers: str = "layers.*"
    opened: str = ""

    def logits(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits ``(rows, places, vocabulary)``; ``mask`` ``(rows, places)``, True or 1 at tokens.

        Padding may be on either side: tokens get the logits that they get in the text alone. Those
        of padding mean nothing.
        """
        tokens = tokens.to(self.device)
        seen = None if mask is None else as_mask(mask, tuple(tokens.shape)).to(tokens.device)
        if seen is None or bool(seen.all()):
            return self._logits(tokens, None)
        behind = not bool((seen[:, 1:] & ~seen[:, :-1]).any())
        if behind and (self.causal or takes_mask(self.module)):
            return self._logits(tokens, seen)
        ids, kept, order = packed(tokens, seen)
        apart = not self.causal and not takes_mask(self.module)
        groups = list(alike(kept)) if apart else [torch.arange(len(ids), device=ids.device)]
        out: Tensor | None = None
        for rows in groups:
            mine = kept[rows]
            long = max(1, int(mine.sum(1).max()))
            mine = mine[:, :long]
            token = ORDER.set(order[rows, :long])
            try:
                logits = self._logits(ids[rows, :long], None if bool(mine.all()) else mine)
            finally:
                ORDER.reset(token)
            if out is None:
                out = logits.new_zeros(*tokens.shape, logits.shape[-1])
            row, place = mine.nonzero(as_tuple=True)
            out[rows[row], order[rows[row], place]] = logits[row, place]
        assert out is not None
        return out

    def _logits(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        args, kwargs = call_arguments(self.module, ids, mask)
        with torch.no_grad():
            return logits_of(self.module(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return device_of(self.module)

    @property
    def dtype(self) -> str:
        """What it computes in: ``float32``, ``bfloat16``, ..."""
        return dtype_name(dtype_of(self.module))

    def to(self, *, dtype: Any = None, device: Any = None) -> "LanguageModel":
        """The model in another type or place: a copy, where anything changes.

        ``dtype`` is float32, bfloat16 or float16 by name or as a dtype of torch; ``device`` a name
        of torch's, ``gpu`` or ``auto``.
        """
        target_dtype = dtype_of(self.module) if dtype is None else dtype_named(dtype)
        place = self.device if device is None else device_named(device)
        if target_dtype in (None, dtype_of(self.module)) and place == self.device:
            return self
        module = copy.deepcopy(self.module).to(device=place, dtype=target_dtype)
        return replace(self, module=module)


def blocks(module: nn.Module, number: int | None = None) -> str:
    """Path pattern of a model's blocks: ``model.layers.*``, ``transformer.h.*``.

    They are the longest list of equal modules, or the one with that ``number`` of them; of equal
    ones the outermost.
    """
    lists = [
        (len(part), -path.count("."), path)
        for path, part in module.named_modules()
        if isinstance(part, nn.ModuleList | nn.Sequential)
        and len({type(child) for child in part}) == 1
        and any(True for _ in part.parameters())
    ]
    fitting = [entry for entry in lists if number is None or entry[0] == number] or lists
    if not fitting:
        return "*"
    path = max(fitting, key=lambda entry: entry[:2])[2]
    return f"{path}.*" if path else "*"
