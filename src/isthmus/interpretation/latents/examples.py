"""Examples of each latent: its strongest ones, and some of every decile of its activations."""

from dataclasses import dataclass

import numpy as np

from isthmus.interpretation.latents.entries import Entries, ranks, starts
from isthmus.interpretation.latents.firing import FiringStatistics
from isthmus.interpretation.latents.randomness import split_of
from isthmus.interpretation.latents.reservoir import LARGEST, Smallest
from isthmus.interpretation.latents.windows import Span, long_floats, windows

DECILES = 10

SPARE = 2
"""How many times as many examples are sampled as are shown of all deciles."""


@dataclass(frozen=True, eq=False)
class Found:
    """Examples as columns, ``(examples,)`` each, in the order of latents and groups.

    ``values`` is ``(examples, length)`` around the example's place; see ``windows``.
    """

    latent: np.ndarray
    group: np.ndarray
    document: np.ndarray
    row: np.ndarray
    place: np.ndarray
    value: np.ndarray
    values: np.ndarray
    split: np.ndarray


class Examples:
    """Collects examples in one pass.

    Group 0 holds the ``top`` strongest activations (by absolute value), at most one of each row.
    Groups 1 to 10 hold up to ``each`` activations of every decile of the latent's nonzero
    activations, 10 the strongest. They come from a uniform sample, so that a decile's examples are
    a uniform sample of it; the deciles themselves are those of all activations.
    """

    def __init__(self, latents: int, *, top: int, each: int, span: Span, seed: int) -> None:
        self.top_count, self.each, self.span, self.seed = top, each, span, seed
        fields = {
            "row": (np.int32, ()), "place": (np.int32, ()), "document": (np.int32, ()),
            "value": (np.float32, ()), "values": (np.uint16, (span.length,)),
        }  # fmt: skip
        self._top = Smallest(latents, top, fields)
        self._sample = Smallest(latents, SPARE * DECILES * each, fields)

    def update(self, entries: Entries) -> None:
        """Look at one block."""

        def described(which: np.ndarray) -> dict[str, np.ndarray]:
            block, token = entries.block, entries.token[which]
            return {
                "row": block.row[token], "place": block.place[token],
                "document": block.document[token], "value": entries.value[which],
                "values": windows(entries, which, self.span),
            }  # fmt: skip

        key = (entries.hashes(self.seed) >> np.uint64(32)).astype(np.uint32)
        self._sample.offer(entries.latent, np.minimum(key, LARGEST - 1), described)
        best = _best_of_rows(entries)
        # Bits of positive floats are in the order of the numbers.
        size = LARGEST - np.uint32(1) - entries.strength[best].view(np.uint32)
        self._top.offer(entries.latent[best], size, lambda which: described(best[which]))

    def of(self, latents: np.ndarray, statistics: FiringStatistics) -> Found:
        """The examples of some latents, given in order."""
        kept, top = self._top.sorted(latents)
        strongest = _listed(latents, top, np.arange(self.top_count) < kept[:, None])
        strongest["group"] = np.zeros(len(strongest["latent"]), np.int8)
        kept, sample = self._sample.sorted(latents)
        there = np.arange(self._sample.keep) < kept[:, None]
        strength = np.where(there, np.abs(sample["value"]), 1.0).astype(np.float32)
        share = statistics.percentile(latents, strength)
        group = np.clip(np.floor(DECILES * share).astype(np.int8), 0, DECILES - 1) + np.int8(1)
        sample["group"] = group
        some = _listed(latents, sample, there & (_turn(np.where(there, group, 0)) < self.each))
        both = {name: np.concatenate((strongest[name], some[name])) for name in some}
        order = np.lexsort((-np.abs(both["value"]), both["group"], both["latent"]))
        columns = {name: values[order] for name, values in both.items()}
        columns["values"] = long_floats(columns["values"])
        # The peak itself is kept in full.
        columns["values"][:, self.span.before] = columns["value"]
        return Found(**columns, split=split_of(columns["row"], self.seed))


def _best_of_rows(entries: Entries) -> np.ndarray:
    """The first of the strongest entries of each latent in each row, in the order of entries."""
    row = entries.block.row[entries.token]
    # Within a latent, entries are in the order of rows.
    changed = np.zeros(len(row), bool)
    changed[entries.first] = True
    changed[1:] |= row[1:] != row[:-1]
    first = np.flatnonzero(changed)
    if len(first) == 0:
        return first
    group = np.cumsum(changed) - 1
    peak = entries.strength == np.maximum.reduceat(entries.strength, first)[group]
    peaks = np.flatnonzero(peak)
    return peaks[starts(group[peaks])]


def _turn(group: np.ndarray) -> np.ndarray:
    """How many of the same group come before, in each row of ``(latents, n)``."""
    rows = np.arange(len(group))[:, None] * (DECILES + 1) + group
    order = np.argsort(rows, axis=None, kind="stable")
    turn = np.empty(rows.size, np.int64)
    turn[order] = ranks(rows.ravel()[order])
    return turn.reshape(group.shape)


def _listed(
    latents: np.ndarray, fields: dict[str, np.ndarray], there: np.ndarray
) -> dict[str, np.ndarray]:
    """Fields ``(latents, n, ...)`` where ``there``, one after the other, with their latent."""
    which = np.broadcast_to(latents[:, None], there.shape)[there]
    return {"latent": which, **{name: values[there] for name, values in fields.items()}}
