"""What the library needs of a language model: its module, its tokenizer, and a few facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


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
        ``(rows, places, vocabulary)``, or an object with ``.logits``. In evaluation mode.
    context
        Most tokens of one row.
    causal
        Whether logits at a place are for the next token (else for the token itself).
    unembedding
        Weight ``(vocabulary, width)`` that makes logits of the last residual stream, with the
        final normalisation's gain folded in; None where there is none.
    layers
        Path pattern of the blocks, whose outputs are the residual stream: ``layers.*``.
    """

    name: str
    revision: str
    module: nn.Module
    tokenizer: Tokenizer
    context: int
    causal: bool = True
    unembedding: Tensor | None = None
    layers: str = "layers.*"

    def logits(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits ``(rows, places, vocabulary)``; ``mask`` bool ``(rows, places)``, True at tokens.

        Rows are padded on the right.
        """
        with torch.no_grad():
            out = self.module(tokens, attention_mask=mask)
        found: Tensor = getattr(out, "logits", out)
        return found
