"""Activations as training data without a store: harvested when they are asked for."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isthmus.activations.axes import Axis
from isthmus.activations.feed_factory import TextFeed, make_feed
from isthmus.activations.formats import overflow
from isthmus.activations.norms import MaxNorm, checked_norm, default_norm, leave_out_sinks
from isthmus.activations.order import block_order
from isthmus.activations.origin import Origin, whereabouts
from isthmus.activations.points import Side
from isthmus.activations.store import signal_of
from isthmus.anatomy import Signal, Source, Tree
from isthmus.errors import IsthmusError
from isthmus.language import LanguageModel, Tokens

MEMORY = 512
"""Megabytes of activations that are kept, by default."""
_CHUNKS = 8
"""Chunks that fit at least, where one row of text is not too long for that."""


class Streamed(Source):
    """The activations of ``model`` on ``data`` at the point ``at``, or of several as a collection.

    A source for the trainer that keeps at most ``memory`` megabytes of activations, as float32.
    Data that need no more are run through the model once; others anew in every epoch.

    The rows of text are shuffled once, by ``seed``, and cut in chunks of ``batch`` rows, which go
    through the model together and always in the same company, so that an activation has the same
    bits whenever it is computed. An epoch takes as many chunks as fit into memory, from all over
    the text, and shuffles their tokens into each other. Any other order of reading works, too, but
    may run the model for every chunk again and again.

    ``data`` are tokens for a language model (padding and, with ``skip_special``, special tokens
    are left out: see ``left_out``) or a source of rows for any other module. Places and tokens of
    which most have more than ``max_norm`` times the median norm are left out as well (10 for
    language models, by default; None keeps all); ``axis`` is as in
    :func:`isthmus.activations.harvest`.
    """

    signal: Signal

    def __init__(
        self,
        model: LanguageModel | nn.Module,
        data: Tokens | Source,
        at: str | Sequence[str],
        *,
        side: Side = "output",
        batch: int = 32,
        memory: float = MEMORY,
        skip_special: bool = True,
        seed: int = 0,
        text: str = "",
        name: str | None = None,
        spec: str | None = None,
        axis: Axis = None,
        max_norm: MaxNorm = "auto",
    ) -> None:
        if batch < 1 or memory <= 0:
            raise IsthmusError(f"batch={batch} and memory={memory} are sizes: use more than 0")
        norm = checked_norm(max_norm)
        self.feed = make_feed(model, data, at, side, skip_special, name, axis)
        self.points, self.left_out = self.feed.points, self.feed.left_out
        self.signal = signal_of(self.feed.widths)
        self.spec, self._seed, self._text = spec, seed, text
        width = self.signal.numel
        room = int(memory * 2**20) // (4 * width)
        self._batch = min(batch, max(1, room // (_CHUNKS * self.feed.places)))
        if isinstance(self.feed, TextFeed):
            factor = default_norm(self.feed) if norm == "auto" else norm
            if factor is not None:
                few = min(len(self.feed.counts), self._batch)
                spread = torch.linspace(0, len(self.feed.counts) - 1, few).long()
                leave_out_sinks(self.feed, spread, float(factor))
        generator = torch.Generator().manual_seed(seed)
        rows = torch.arange(len(self.feed.counts))[self.feed.counts > 0]
        self._chunks = rows[torch.randperm(len(rows), generator=generator)].split(self._batch)
        self._sizes = torch.tensor([int(self.feed.counts[c].sum()) for c in self._chunks])
        self._starts = torch.cat([torch.zeros(1, dtype=torch.int64), self._sizes.cumsum(0)])
        self._long = int(self._sizes.max())
        self.slots = min(len(self._chunks), max(1, room // self._long))
        # Memory that was never written to takes none: a short text fills a part of it only.
        self._kept = torch.empty(self.slots * self._long, width)
        self._slot = torch.full((len(self._chunks),), -1)
        self._free = list(range(self.slots))
        self._used: OrderedDict[int, int] = OrderedDict()
        self.harvested = 0

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, index: Tensor) -> Tree:
        """Activations float32 ``(len(index), width)``; of several points these by name.

        ``index`` int64, in any order; what is not in memory is harvested, a chunk at a time.
        """
        rows = self._rows(index)
        if len(self.points) == 1:
            return rows
        widths = list(self.feed.widths.values())
        return dict(zip(self.points, rows.split(widths, 1), strict=True))

    def _rows(self, index: Tensor) -> Tensor:
        """The points' activations one after the other."""
        chunk = self._chunk_of(index)
        chunks = chunk.unique().tolist()
        missing = [c for c in chunks if c not in self._used]
        if not missing:
            self._touch(chunks)
            return self._kept.index_select(0, self._place(index, chunk))
        out = torch.empty(len(index), self.signal.numel)
        present = [c for c in chunks if c in self._used]
        # What is there is read before room is made for what is not.
        for group in (present, *_groups(missing, self.slots)):
            for c in group:
                self._load(c)
            mine = torch.isin(chunk, torch.tensor(group, dtype=torch.int64)).nonzero().flatten()
            out[mine] = self._kept[self._place(index[mine], chunk[mine])]
        return out

    def where(self, index: Tensor) -> dict[str, Tensor]:
        """``row``, ``place``, ``document`` and ``token`` of each row, int64, as in ``tokens``."""
        row = torch.empty_like(index)
        place = torch.empty_like(index)
        chunk = self._chunk_of(index)
        for c in chunk.unique().tolist():
            mine = chunk == c
            rows, places = self._layout(c)
            offsets = index[mine] - self._starts[c]
            row[mine], place[mine] = rows[offsets], places[offsets]
        return whereabouts(self.tokens, row, place)

    def order(self, seed: int) -> Tensor:
        """The row numbers of one epoch, int64 ``(len(self),)``: see the class."""
        return block_order(self._sizes, self.slots, seed)

    def fingerprint(self) -> str:
        """A hash of model, points and data, without harvesting anything."""
        about = self.feed.about()
        # A path is no part of it: the same weights and tokens may lie elsewhere by now.
        name = "" if "opened" in about else about["name"]
        plain = [name, about["revision"], self.points, self.feed.fingerprint(),
                 self.left_out, self._batch, self._seed]  # fmt: skip
        if "dtype" in about:
            plain.append(about["dtype"])
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()

    @property
    def tokens(self) -> Tokens | None:
        """The rows of text; None where the input is no text."""
        return self.feed.tokens if isinstance(self.feed, TextFeed) else None

    @property
    def origin(self) -> Origin:
        """The model, the points and the text of the activations."""
        about = self.feed.about()
        host = self.feed.host if isinstance(self.feed, TextFeed) else None
        name = about.get("opened") or about["name"]
        return Origin(name, about["revision"], self.points, self._text, self.tokens, host)

    def __repr__(self) -> str:
        omissions = ", ".join(f"{n:,} {reason}" for reason, n in self.left_out.items() if n)
        text = f"{len(self):,} tokens at {', '.join(self.points)}, harvested as needed"
        return text + (f"; left out: {omissions}" if omissions else "")

    # --- chunks ------------------------------------------------------------------------------

    def _chunk_of(self, index: Tensor) -> Tensor:
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(self)):
            raise IsthmusError(f"there are rows from 0 to {len(self) - 1}: ask for no others")
        return torch.searchsorted(self._starts, index, right=True) - 1

    def _place(self, index: Tensor, chunk: Tensor) -> Tensor:
        return self._slot[chunk] * self._long + index - self._starts[chunk]

    def _touch(self, chunks: Sequence[int]) -> None:
        for chunk in chunks:
            self._used.move_to_end(chunk)

    def _load(self, chunk: int) -> None:
        """Have the chunk in memory, in the place of the one that was used longest ago."""
        if chunk in self._used:
            self._used.move_to_end(chunk)
            return
        kept = self.feed.run(self._chunks[chunk])
        self.harvested += len(kept.row)
        if not self._free:
            old, slot = self._used.popitem(last=False)
            self._slot[old] = -1
            self._free.append(slot)
        slot = self._free[-1]  # taken only once the chunk is whole
        to = self._kept[slot * self._long : slot * self._long + len(kept.row)]
        begin = 0
        for point, values in kept.values.items():
            end = begin + values.shape[1]
            to[:, begin:end] = values
            if not bool(torch.isfinite(to[:, begin:end]).all()):
                raise overflow(point, "float32")
            begin = end
        self._used[chunk] = self._free.pop()
        self._slot[chunk] = slot

    def _layout(self, chunk: int) -> tuple[Tensor, Tensor]:
        """Row and place of the tokens of a chunk, in order."""
        rows = self._chunks[chunk]
        if isinstance(self.feed, TextFeed):
            number, place = self.feed.keep[rows].nonzero(as_tuple=True)
            return rows[number], place
        places = self.feed.places
        return rows.repeat_interleave(places), torch.arange(places).repeat(len(rows))


def _groups(chunks: list[int], size: int) -> list[list[int]]:
    return [chunks[i : i + size] for i in range(0, len(chunks), size)]
