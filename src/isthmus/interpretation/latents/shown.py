"""Tokens as text, and the stretch of a row that a window shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from isthmus.interpretation.latents.windows import Span
from isthmus.language import Tokenizer, Tokens


@dataclass(frozen=True, eq=False)
class Text:
    """The rows of text that activations belong to, and what is needed to show them."""

    tokens: Tokens
    tokenizer: Tokenizer
    unembedding: Tensor | None = None

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, ``(rows,)``."""
        lengths: np.ndarray = self.tokens.mask.sum(1).numpy()
        return lengths

    @cached_property
    def pieces(self) -> list[str]:
        """The text of every token of the vocabulary, as it can be stored."""
        pieces = self.tokenizer.pieces(range(self.vocabulary))
        # Half of a surrogate pair is no text that a file can hold.
        return [piece.encode("utf-8", "replace").decode("utf-8") for piece in pieces]

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest token number that there is."""
        return max(self.tokenizer.vocabulary, int(self.tokens.ids.max()) + 1)

    def stretches(
        self, row: np.ndarray, place: np.ndarray, span: Span
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the window around each place begins, and how many tokens of the row it shows."""
        begin = np.maximum(0, place - span.before)
        end = np.minimum(self.lengths[row], place + span.after + 1)
        return begin, end - begin

    def shown(self, row: np.ndarray, begin: np.ndarray, length: np.ndarray) -> np.ndarray:
        """The token numbers of stretches, one after the other."""
        ids: np.ndarray = self.tokens.ids.numpy()[
            np.repeat(row, length), np.repeat(begin, length) + counted(length)
        ]
        return ids


def counted(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... for each length, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(before, lengths)


def bounds(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where lists of these lengths begin and end, int32 ``(lists + 1,)``."""
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
