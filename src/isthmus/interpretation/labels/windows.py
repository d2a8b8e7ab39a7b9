"""Windows of text with a latent's values, many at once, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from isthmus.interpretation.labels.scene import Scene

SILENT = -1
"""The latent of a window that is shown because others are silent in it."""

EXPLAINING, SCORING = 0, 1
"""Parts of the rows: for the explainer, and for scoring."""


@dataclass(frozen=True, eq=False)
class Windows:
    """``N`` windows with ``T`` tokens in all.

    ``vocabulary`` holds the distinct texts of tokens and ``token`` ``(T,)`` their numbers;
    ``value`` ``(T,)`` is the activation at each token of the window's own latent, which fires where
    that is not zero; window ``i`` has
    the tokens ``start[i]`` to ``start[i + 1]``. The rest is ``(N,)``: ``latent`` (or SILENT),
    ``group`` (0 = strongest examples, 1 to 10 = deciles of the nonzero activations), ``row`` and
    ``begin`` (the row of text and the place in it of the first token), ``split``.
    ``fired`` lists for each window of latent SILENT the latents that fire in it, else None.
    """

    vocabulary: list[str]
    token: np.ndarray
    value: np.ndarray
    start: np.ndarray
    latent: np.ndarray
    group: np.ndarray
    row: np.ndarray
    begin: np.ndarray
    split: np.ndarray
    fired: Sequence[np.ndarray | None]
    exact: bool = True
    """Whether ``fired`` is complete; else it names only the latent that a window is from."""

    def __len__(self) -> int:
        return len(self.latent)

    @cached_property
    def length(self) -> np.ndarray:
        """Tokens of each window ``(N,)``."""
        return np.diff(self.start)

    @cached_property
    def scene(self) -> "Scene":
        """What the rules can ask of each token, found once for all."""
        from isthmus.interpretation.labels.scene import Scene

        return Scene(self)

    def texts(self, window: int) -> list[str]:
        """The tokens of one window."""
        return [self.vocabulary[t] for t in self.token[self.start[window] : self.start[window + 1]]]

    def values(self, window: int) -> np.ndarray:
        """The activations of one window, one for each token."""
        return self.value[self.start[window] : self.start[window + 1]]

    def places(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the tokens of some windows lie ``(t,)``, and where each window starts in that."""
        length = self.length[windows]
        starts = np.concatenate([[0], np.cumsum(length)])
        shift = np.repeat(self.start[:-1][windows] - starts[:-1], length)
        return np.arange(starts[-1]) + shift, starts[:-1]

    @cached_property
    def of_latent(self) -> dict[int, np.ndarray]:
        """The windows of each latent, in their order here."""
        order = np.argsort(self.latent, kind="stable")
        latents, first = np.unique(self.latent[order], return_index=True)
        parts = np.split(order, first[1:])
        return {int(x): part for x, part in zip(latents, parts, strict=True)}

    def text_key(self, window: int) -> bytes:
        """Equal for two windows exactly if their texts are, token by token."""
        return self.token[self.start[window] : self.start[window + 1]].tobytes()
