"""Activations on disk, read by row number."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isthmus.activations import formats, provenance
from isthmus.activations.order import block_order
from isthmus.activations.origin import Origin, whereabouts
from isthmus.activations.shards import mapped, verify
from isthmus.anatomy import Signal, Source, Tree
from isthmus.data.catalogue import cache_folder
from isthmus.errors import IsthmusError, unknown
from isthmus.language import Tokens
from isthmus.storage import Remote, cached, is_remote

WHERE = "where.npy"
TOKEN_FILES = ("ids.npy", "mask.npy", "document.npy", "start.npy")
NAMES = "names.json"
BLOCK, BLOCKS = 4096, 64
"""Rows of a block, and how many blocks are shuffled into each other, in the order ``blocks``."""

Order = Literal["rows", "blocks"]


class Store:
    """Activations that :func:`isthmus.activations.harvest` wrote to a folder.

    Row ``i`` is the same token at every point. Files are mapped, not read: memory is taken for the
    rows that are asked for. A shard is checked against its checksum when it is first read. Of a
    store in object storage (``s3://bucket/name``) the files that are asked for are copied to a
    bounded cache on a disk of this machine, whole (:mod:`isthmus.storage`).
    """

    def __init__(self, path: str | Path) -> None:
        self.remote = Remote(path) if isinstance(path, str) and is_remote(path) else None
        # Absolute: also found once the folder of work is another. A URL stays as it is.
        self.path: str | Path = Path(path).absolute() if self.remote is None else self.remote.url
        self.provenance = provenance.read(self.remote or Path(self.path))
        shards = self.provenance.shards
        self._starts = torch.tensor([0, *(s.tokens for s in shards)]).cumsum(0)
        self._cuts = self._starts.numpy()
        self._mapped: dict[tuple[int, str], Tensor] = {}
        self._columns: dict[tuple[int, str], formats.Column] = {}

    # --- what is there -----------------------------------------------------------------------

    @property
    def points(self) -> tuple[str, ...]:
        """The points of the model, by their names."""
        return tuple(self.provenance.points)

    def __len__(self) -> int:
        """Tokens in the store."""
        return int(self._starts[-1])

    def width(self, point: str) -> int:
        """Elements of a row of a point."""
        return self._facts(point).width

    def mean(self, point: str) -> Tensor:
        """The mean activation, float32 ``(width,)``."""
        return torch.tensor(self._facts(point).mean, dtype=torch.float32)

    @property
    def dtype(self) -> str:
        """How activations are stored: ``float16``, ..."""
        return self.provenance.dtype

    @property
    def host_dtype(self) -> str:
        """What the model computed them in."""
        dtype: str = self.provenance.model.get("dtype", "float32")
        return dtype

    def mean_norm(self, point: str) -> float:
        """The mean Euclidean norm of the activations."""
        return self._facts(point).mean_norm

    def __repr__(self) -> str:
        """What is in the store, and what was left out of it."""
        omissions: dict[str, int] = {}
        for run in self.provenance.runs:
            for reason, count in run.left_out.items():
                omissions[reason] = omissions.get(reason, 0) + count
        out = ", ".join(
            f"{n:,} {_REASONS.get(reason, reason)}" for reason, n in omissions.items() if n
        )
        name = self.provenance.model["name"]
        widths = ", ".join(f"{p} ({f.width})" for p, f in self.provenance.points.items())
        text = f"{len(self):,} tokens of {name} at {widths}, {self.dtype}"
        if self.host_dtype != "float32":
            text += f" (computed in {self.host_dtype})"
        return text + (f"; left out: {out}" if out else "")

    # --- reading -----------------------------------------------------------------------------

    def rows(self, point: str, index: Tensor) -> Tensor:
        """Activations float32 ``(len(index), width)``, for row numbers int64 in any order.

        Fastest where ``index`` ascends.
        """
        out = torch.empty(len(index), self.width(point))
        self._gather(point, index, out)
        return out

    def stored(self, point: str, index: Tensor) -> Tensor | None:
        """The same in half precision, where it is stored so; None in any other format."""
        kind = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(self.dtype)
        if kind is None or self._facts(point).outliers:
            return None
        order = index.argsort()
        ascending = torch.empty(len(index), self.width(point), dtype=kind)
        self._gather(point, index[order], ascending)
        out = torch.empty_like(ascending)
        out[order] = ascending
        return out

    def where(self, index: Tensor) -> dict[str, Tensor]:
        """Where each row stands in the text: ``row``, ``place``, ``document`` and ``token``.

        All int64 ``(len(index),)``. Rows and documents are counted through all texts of the store,
        as :attr:`tokens` has them. Without a text, a document is a row, and the token is -1.
        """
        self._numbers(index)
        positions = torch.empty(len(index), 2, dtype=torch.int64)
        shard = torch.searchsorted(self._starts, index, right=True) - 1
        offsets = list(self.provenance.offsets())
        for number in shard.unique().tolist():
            table = self._array(number, WHERE, torch.int32)
            mask = shard == number
            places = table[index[mask] - self._starts[number]].to(torch.int64)
            places[:, 0] += offsets[self.provenance.shards[number].run][0]
            positions[mask] = places
        return whereabouts(self.tokens, positions[:, 0].clone(), positions[:, 1].clone())

    @cached_property
    def tokens(self) -> Tokens | None:
        """The token rows of all texts, one after the other; None where the input was no text."""
        if not all(run.folder for run in self.provenance.runs):
            return None
        parts = [self._tokens(number) for number in range(len(self.provenance.runs))]
        return _joined(parts, [documents for _, documents in self.provenance.offsets()])

    def texts(self, point: str) -> list[np.ndarray]:
        """The activations by rows of the text, each float32 ``(tokens, width)``, in their order.

        What models of texts read (``temporal``). Tokens that were left out (special ones, those of
        an outlying norm) are missing, and close up.
        """
        rows = self.where(torch.arange(len(self)))["row"]
        order = torch.argsort(rows, stable=True)
        counts = torch.bincount(rows).tolist()
        return [self.rows(point, index).numpy() for index in order.split([n for n in counts if n])]

    def source(self, points: str | Sequence[str], order: Order = "rows") -> "StoreSource":
        """Training data: the activations of a point, or the collection of those of several."""
        return StoreSource(self, [points] if isinstance(points, str) else points, order)

    def pair(self, inputs: str, targets: str, order: Order = "rows") -> "StoreSource":
        """Training data for a transcoder: a collection of the input and what it should become."""
        return self.source([inputs, targets], order)

    def verify(self) -> None:
        """Read every file and compare its checksum; an :class:`IsthmusError` names a bad one."""
        for run in self.provenance.runs:
            for name, checksum in run.checksums.items():
                self._check(run.folder or run.hashes, name, checksum)
        for shard in self.provenance.shards:
            for name, checksum in shard.checksums.items():
                self._check(shard.folder, name, checksum)

    def _check(self, folder: str, name: str, checksum: str) -> None:
        verify(self._file(folder, name, checksum), checksum, self._remedy)

    def _file(self, folder: str, name: str, checksum: str) -> Path:
        """A file of the store on a disk of this machine."""
        if self.remote is None:
            return Path(self.path, folder, name)
        return cached(self.remote, f"{folder}/{name}", checksum, cache_folder(), self._remedy)

    # --- how it is read ----------------------------------------------------------------------

    @property
    def _remedy(self) -> str:
        return f"delete {self.path} and harvest again"

    def _facts(self, point: str) -> provenance.PointFacts:
        try:
            return self.provenance.points[point]
        except KeyError:
            raise unknown(f"point of {self.path}", point, self.points) from None

    def _numbers(self, index: Tensor, *, ascending: bool = False) -> np.ndarray:
        """Row numbers, checked; of ascending ones, the ends."""
        numbers = index.numpy()
        if len(numbers):
            ends = (numbers[0], numbers[-1]) if ascending else (numbers.min(), numbers.max())
            if ends[0] < 0 or ends[1] >= len(self):
                raise IsthmusError(
                    f"{self.path} has rows from 0 to {len(self) - 1}: ask for no others"
                )
        return numbers

    def _gather(self, point: str, index: Tensor, out: Tensor) -> None:
        """Write rows to ``out``, float32 or as stored, ``(len(index), width)``.

        What has to be found out about the index is left to NumPy, whose calls cost less: a batch
        is small enough that this counts.
        """
        plain = index.numpy()
        ascending = bool((plain[1:] >= plain[:-1]).all())
        numbers = self._numbers(index, ascending=ascending)
        if ascending or len(self.provenance.shards) < 2:
            self._ascending(point, numbers, out)
            return
        places = numbers.argsort()
        rows = torch.empty(out.shape)
        self._ascending(point, numbers[places], rows)
        back = np.empty_like(places)
        back[places] = np.arange(len(places))
        if out.is_contiguous():
            np.take(rows.numpy(), back, axis=0, out=out.numpy(), mode="clip")
        else:
            out.copy_(rows[torch.from_numpy(back)])

    def _ascending(self, point: str, index: np.ndarray, out: Tensor) -> None:
        """Rows of an ascending index, or of any index where there is one shard."""
        if len(self.provenance.shards) == 1:
            self._column(0, point).take(index, out)
            return
        cuts = index.searchsorted(self._cuts).tolist()
        for number, (begin, end) in enumerate(pairwise(cuts)):
            if begin < end:
                places = index[begin:end] - self._cuts[number]
                self._column(number, point).take(places, out[begin:end])

    def _column(self, shard: int, point: str) -> formats.Column:
        """A point of a shard, mapped and verified once."""
        column = self._columns.get((shard, point))
        if column is None:
            dtype, name = self.provenance.dtype, self._facts(point).file
            kinds = {
                suffix: formats.BESIDE[suffix] if suffix else formats.MAPPED[dtype]
                for suffix in formats.suffixes(dtype, self._facts(point).outliers)
            }
            arrays = {s: self._array(shard, f"{name}{s}.npy", kind) for s, kind in kinds.items()}
            column = self._columns[shard, point] = formats.Column.of(arrays, dtype)
        return column

    def _array(self, shard: int, name: str, dtype: torch.dtype) -> Tensor:
        """A file of a shard, mapped and verified once."""
        array = self._mapped.get((shard, name))
        if array is None:
            about = self.provenance.shards[shard]
            path = self._file(about.folder, name, about.checksums[name])
            array = mapped(path, about.checksums[name], dtype, self._remedy)
            self._mapped[shard, name] = array
        return array

    def _tokens(self, number: int) -> Tokens:
        run = self.provenance.runs[number]
        files = [
            self._file(run.folder, name, run.checksums[name]) for name in (*TOKEN_FILES, NAMES)
        ]
        kinds = (torch.int32, torch.bool, torch.int64, torch.int64)
        ids, mask, document, start = (
            mapped(path, run.checksums[name], kind, self._remedy)
            for path, name, kind in zip(files[:-1], TOKEN_FILES, kinds, strict=True)
        )
        verify(files[-1], run.checksums[NAMES], self._remedy)
        names = json.loads(files[-1].read_text(encoding="utf-8"))
        return Tokens(ids.to(torch.int64), mask, document, start, names)


class StoreSource(Source):
    """Rows of a store as training data, at one point or as a collection of several.

    ``order`` is how an epoch is shuffled: ``rows`` picks single rows from the whole store, and
    ``blocks`` shuffles within a quarter of a million rows from blocks all over it, which is far
    less to read where the store does not fit into memory.
    """

    signal: Signal

    def __init__(self, store: Store, points: Sequence[str], order: Order = "rows") -> None:
        if not points or len(set(points)) < len(points):
            raise IsthmusError(f"points {list(points)} are none or twice the same: name each once")
        if order not in ("rows", "blocks"):
            raise unknown("order", order, ("rows", "blocks"))
        if len(store) == 0:
            raise IsthmusError(f"{store.path} holds no activations yet: let the harvest go on")
        self.store, self.points, self._order = store, tuple(points), order
        self.signal = signal_of({point: store.width(point) for point in points})

    def __len__(self) -> int:
        return len(self.store)

    def rows(self, index: Tensor) -> Tree:
        """Activations float32 ``(len(index), width)``; of several points these by name."""
        if len(self.points) == 1:
            return self.store.rows(self.points[0], index)
        return {point: self.store.rows(point, index) for point in self.points}

    by_thread = True

    def stored(self, index: Tensor) -> Tree | None:
        """The same in half precision, where all points are stored so."""
        parts = {point: self.store.stored(point, index) for point in self.points}
        if any(part is None for part in parts.values()):
            return None
        return parts[self.points[0]] if len(parts) == 1 else parts

    def where(self, index: Tensor) -> dict[str, Tensor]:
        """Where each row stands in the text, see :meth:`Store.where`."""
        return self.store.where(index)

    def order(self, seed: int) -> Tensor:
        """The row numbers of one epoch, int64 ``(len(self),)``."""
        if self._order == "rows":
            return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        sizes = [BLOCK] * (len(self) // BLOCK)
        rest = len(self) % BLOCK
        return block_order(sizes + ([rest] if rest else []), BLOCKS, seed)

    def fingerprint(self) -> str:
        """A hash of what the store's index says of these points, without reading them."""
        facts = self.store.provenance
        files = [facts.points[point].file for point in self.points]
        sums = [
            [sum for name, sum in sorted(shard.checksums.items()) if _belongs(name, files)]
            for shard in facts.shards
        ]
        plain = json.dumps([self.points, facts.dtype, sums])
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def spec(self) -> str:  # type: ignore[override]
        """What :func:`isthmus.data.as_source` opens this as."""
        tail = "" if self._order == "rows" else f"?order={self._order}"
        return f"store:{self.store.path}@{','.join(self.points)}{tail}"

    @property
    def origin(self) -> Origin:
        """The model, the points and the text of the activations."""
        facts = self.store.provenance
        text = " + ".join(run.text for run in facts.runs if run.text)
        model = facts.model
        return Origin(
            model.get("opened") or model["name"], model["revision"], self.points, text,
            self.store.tokens, dtype=model.get("dtype", "float32"),
            folder=None if self.store.remote else Path(self.store.path),
        )  # fmt: skip


def signal_of(widths: dict[str, int]) -> Signal:
    """The signal of the activations at one point, or of the collection of several."""
    parts = {point: Signal("vector", (width,)) for point, width in widths.items()}
    return next(iter(parts.values())) if len(parts) == 1 else Signal("collection", parts=parts)


_REASONS = {
    "special": "special tokens (such as BOS)",
    "padding": "places of padding",
    "norm": "tokens of large norm",
    "stored": "tokens that were there already",
}


def _belongs(name: str, files: Sequence[str]) -> bool:
    return any(name == file + s + ".npy" for file in files for s in ("", *formats.BESIDE))


def _joined(parts: list[Tokens], documents: list[int]) -> Tokens:
    if len(parts) == 1:
        return parts[0]
    places = max(part.ids.shape[1] for part in parts)

    def padded(tensor: Tensor) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, places - tensor.shape[1]))

    return Tokens(
        torch.cat([padded(part.ids) for part in parts]),
        torch.cat([padded(part.mask) for part in parts]),
        torch.cat([p.document + before for p, before in zip(parts, documents, strict=True)]),
        torch.cat([part.start for part in parts]),
        [name for part in parts for name in part.names],
    )
