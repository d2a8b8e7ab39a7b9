"""Examples of each latent: its strongest ones, and some of every decile of its activations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from isthmus.interpretation.features.statistics import FiringStatistics
from isthmus.interpretation.features.stream import Entries, mixed, ranks, split_of, starts

DECILES = 10

SPARE = 2
"""How many times as many examples are sampled as are shown of all deciles."""

LARGEST = np.uint32(2**32 - 1)
"""No key is as large."""

FIRED = 2**24
"""Latents that are remembered over all windows, 64 MiB; with more, fewer windows are kept."""


@dataclass(frozen=True)
class Span:
    """Tokens shown around a place: so many before it and so many after."""

    before: int
    after: int

    @property
    def length(self) -> int:
        return self.before + 1 + self.after


def windows(entries: Entries, which: np.ndarray, span: Span) -> np.ndarray:
    """The values of a latent around some of its entries, ``(len(which), length)``, as bfloat16.

    The entry itself is in column ``span.before``; places where the latent is silent, and those
    outside the row, are zero. As entries are in the order of latents and tokens, what is near in
    the text is near in the list.
    """
    block = entries.block
    reach = span.before + span.after + 1
    # A gap between rows keeps windows out of the neighbouring row, another that between latents.
    _, row = np.unique(block.row, return_inverse=True)
    row_length = int(block.place.max(initial=0)) + 1 + reach
    line = (row * row_length + block.place)[entries.token]
    key = entries.latent * np.int64((int(row.max(initial=0)) + 1) * row_length + reach) + line
    short = short_floats(entries.value)
    values = np.zeros((len(which), span.length), np.uint16)
    values[:, span.before] = short[which]
    for step, most in ((-1, span.before), (1, span.after)):
        rest = np.arange(len(which))
        for far in range(1, most + 1):
            other = which[rest] + step * far
            inside = (other >= 0) & (other < len(key))
            rest, other = rest[inside], other[inside]
            apart = key[other] - key[which[rest]]
            near = np.abs(apart) <= most
            rest, other, apart = rest[near], other[near], apart[near]
            if len(rest) == 0:
                break
            values[rest, span.before + apart] = short[other]
    return values


def short_floats(values: np.ndarray) -> np.ndarray:
    """Float32 as bfloat16 in uint16, rounded to the nearest; what is not zero stays so."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return (
        (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    ).astype(np.uint16)


def long_floats(short: np.ndarray) -> np.ndarray:
    """What :func:`short_floats` made short, as float32."""
    return (short.astype(np.uint32) << np.uint32(16)).view(np.float32)


class Smallest:
    """Keeps the ``keep`` smallest keys of each latent, with what belongs to them.

    Random keys make it a uniform sample, negative sizes the strongest. Of equal keys the earlier
    stay, so that the result does not depend on how the stream was cut. There is room for twice as
    many, and only latents that run out of it are sorted.

    ``fields`` gives the dtype and the shape of what is kept beside the key.
    """

    def __init__(
        self, latents: int, keep: int, fields: Mapping[str, tuple[type, tuple[int, ...]]]
    ) -> None:
        self.keep = keep
        self.fill = np.zeros(latents, np.int64)
        self.bar = np.full(latents, LARGEST)
        room = (latents, 2 * keep)
        # Zeros, since memory of latents that never fire is then never touched.
        self.key = np.zeros(room, np.uint32)
        self.fields: dict[str, np.ndarray] = {
            n: np.zeros((*room, *shape), kind) for n, (kind, shape) in fields.items()
        }

    def offer(
        self,
        latent: np.ndarray,
        key: np.ndarray,
        described: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    ) -> None:
        """Take in a block: latents in order, with a uint32 key each.

        ``described`` returns the fields of the candidates of the given numbers; it is called once,
        with those that are kept for now.
        """
        some = np.flatnonzero(key < self.bar[latent])
        # Stable: within a latent, equal keys stay in the order of the stream.
        some = some[np.argsort(_joint(latent[some], key[some]), kind="stable")]
        some = some[ranks(latent[some]) < self.keep]
        if len(some) == 0:
            return
        latents, added = np.unique(latent[some], return_counts=True)
        self._compact(latents[self.fill[latents] + added > 2 * self.keep])
        at = latent[some], self.fill[latent[some]] + ranks(latent[some])
        self.key[at] = key[some]
        for name, values in described(some).items():
            self.fields[name][at] = values
        self.fill[latents] += added

    def _compact(self, latents: np.ndarray) -> None:
        """Sort some latents' keys, and drop all but the smallest."""
        if len(latents) == 0:
            return
        keys = np.where(
            np.arange(2 * self.keep) < self.fill[latents, None], self.key[latents], LARGEST
        )
        order = np.argsort(keys, axis=1, kind="stable")[:, : self.keep]
        rows = latents[:, None]
        self.key[latents, : self.keep] = np.take_along_axis(keys, order, 1)
        for values in self.fields.values():
            values[latents, : self.keep] = values[rows, order]
        self.fill[latents] = np.minimum(self.fill[latents], self.keep)
        full = latents[self.fill[latents] == self.keep]
        self.bar[full] = self.key[full, self.keep - 1]

    def sorted(self, latents: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """How many are kept of each of these latents, and their fields ``(latents, keep, ...)``.

        In the order of their keys; beyond the number kept the fields mean nothing.
        """
        self._compact(latents)
        fields = {name: values[latents, : self.keep] for name, values in self.fields.items()}
        return self.fill[latents], fields


def _joint(latent: np.ndarray, key: np.ndarray) -> np.ndarray:
    return (latent.astype(np.uint64) << np.uint64(32)) | key


@dataclass(frozen=True, eq=False)
class ExampleColumns:
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

    def of(self, latents: np.ndarray, statistics: FiringStatistics) -> ExampleColumns:
        """The examples of some latents, given in order."""
        count, top = self._top.sorted(latents)
        strongest = _listed(latents, top, np.arange(self.top_count) < count[:, None])
        strongest["group"] = np.zeros(len(strongest["latent"]), np.int8)
        count, sample = self._sample.sorted(latents)
        present = np.arange(self._sample.keep) < count[:, None]
        strength = np.where(present, np.abs(sample["value"]), 1.0).astype(np.float32)
        share = statistics.percentile(latents, strength)
        group = np.clip(np.floor(DECILES * share).astype(np.int8), 0, DECILES - 1) + np.int8(1)
        sample["group"] = group
        some = _listed(latents, sample, present & (_turn(np.where(present, group, 0)) < self.each))
        both = {name: np.concatenate((strongest[name], some[name])) for name in some}
        order = np.lexsort((-np.abs(both["value"]), both["group"], both["latent"]))
        columns = {name: values[order] for name, values in both.items()}
        columns["values"] = long_floats(columns["values"])
        # The peak itself is kept in full.
        columns["values"][:, self.span.before] = columns["value"]
        return ExampleColumns(**columns, split=split_of(columns["row"], self.seed))


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
    latents: np.ndarray, fields: dict[str, np.ndarray], present: np.ndarray
) -> dict[str, np.ndarray]:
    """Fields ``(latents, n, ...)`` where ``present``, one after the other, with their latent."""
    which = np.broadcast_to(latents[:, None], present.shape)[present]
    return {"latent": which, **{name: values[present] for name, values in fields.items()}}


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
            window = Window(*where, np.unique(latent[a:b]).astype(np.int32), int(part))
            self._kept.append((int(key[t]), window))
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

    def sample(self) -> list[Window]:
        """The windows, in the order of the text."""
        return sorted((w for _, w in self._kept), key=lambda w: (w.row, w.place))
