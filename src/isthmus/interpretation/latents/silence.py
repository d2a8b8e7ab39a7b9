"""Random windows of the text with all that fires in them: where a latent is known to be silent."""

from dataclasses import dataclass

import numpy as np

from isthmus.interpretation.latents.entries import Entries
from isthmus.interpretation.latents.randomness import mixed, split_of
from isthmus.interpretation.latents.windows import Span

FIRED = 2**24
"""Latents that are remembered over all windows, 64 MiB; with more, fewer windows are kept."""


@dataclass(frozen=True, eq=False)
class Window:
    """One window: where it is, and the latents (ascending) that fire on any token of it."""

    document: int
    row: int
    place: int
    fired: np.ndarray
    split: int


class RandomWindows:
    """A uniform sample of ``keep`` tokens of the text, each with a window around it.

    What fires in them is complete, so that a latent is silent in every window that does not name
    it. (Another latent's example, in which nothing is known of a latent, is no such evidence.)
    """

    def __init__(self, keep: int, span: Span, seed: int) -> None:
        self.keep, self.span, self.seed = keep, span, seed
        self._kept: list[tuple[int, Window]] = []
        self._bar = 2**64 - 1

    def update(self, entries: Entries) -> None:
        """Look at one block."""
        block = entries.block
        key = mixed(self.seed, 3, block.row, block.place)
        best = np.flatnonzero(key <= np.uint64(self._bar))
        best = best[np.argsort(key[best], kind="stable")][: self.keep]
        if len(best) == 0:
            return
        split = split_of(block.row[best], self.seed)
        token, latent = entries.token[entries.by_token], entries.latent[entries.by_token]
        for t, part in zip(best, split, strict=True):
            low, high = self._around(block.row, block.place, int(t))
            a, b = np.searchsorted(token, (low, high))
            where = int(block.document[t]), int(block.row[t]), int(block.place[t])
            found = Window(*where, np.unique(latent[a:b]).astype(np.int32), int(part))
            self._kept.append((int(key[t]), found))
        self._kept.sort(key=lambda item: item[0])
        sizes = np.cumsum([len(window.fired) for _, window in self._kept])
        room = min(self.keep, int(np.searchsorted(sizes, FIRED, side="right")))
        if room < len(self._kept):
            self._bar = self._kept[room][0] - 1
        del self._kept[room:]

    def _around(self, row: np.ndarray, place: np.ndarray, t: int) -> tuple[int, int]:
        """The tokens of the block that the window around token ``t`` shows, as a range."""
        low = max(0, t - self.span.before)
        high = min(len(row), t + self.span.after + 1)
        same = np.flatnonzero(
            (row[low:high] == row[t])
            & (place[low:high] >= place[t] - self.span.before)
            & (place[low:high] <= place[t] + self.span.after)
        )
        return low + int(same[0]), low + int(same[-1]) + 1

    def found(self) -> list[Window]:
        """The sample, in the order of the text."""
        return sorted((w for _, w in self._kept), key=lambda w: (w.row, w.place))
