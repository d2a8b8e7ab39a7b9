"""Adding to a store: shards become part of it one by one, each whole or not at all.

A shard is written to a folder of another name, brought to the disk, renamed, and then listed in
``provenance.json``, which is replaced as one. What is not listed there does not exist, and is
cleared away by the next harvest.
"""

import contextlib
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isthmus.activations import formats, provenance
from isthmus.activations.duplicates import HASHES, row_hashes
from isthmus.activations.feed_factory import Feed, RowFeed, TokenFeed
from isthmus.activations.means import Means
from isthmus.activations.mirror import Mirror
from isthmus.activations.norms import MaxNorm, default_norm
from isthmus.activations.parts import NORMS, Part, facts_of, sums_folder
from isthmus.activations.provenance import HarvestRun, PointFacts, Provenance, Shard
from isthmus.activations.shards import ArrayWriter, sync_folder
from isthmus.activations.store import NAMES, TOKEN_FILES, WHERE
from isthmus.errors import IsthmusError
from isthmus.training.checkpoint import versions

PARTIAL = "partial"
LOCK = ".lock"


@dataclass(eq=False)
class Piece:
    """Some tokens of one shard: stored arrays by file, places, and sums for the means.

    ``kept`` of the ``tokens`` are stored.
    """

    tokens: int
    kept: int
    arrays: dict[str, np.ndarray]
    where: np.ndarray
    sums: dict[str, Tensor]
    norms: dict[str, float]


class Appender:
    """Adds one run to the store in ``folder``, which is made where there is none.

    :meth:`append` takes the pieces in order, from one thread; :meth:`reserve` and :attr:`room`
    belong to the one who makes them, who is ahead.
    """

    def __init__(
        self,
        folder: Path,
        feed: Feed,
        dtype: str,
        skip_special: bool,
        shard_tokens: int,
        max_norm: MaxNorm = None,
        part: Part | None = None,
        batch: int = 0,
        mirror: Mirror | None = None,
    ) -> None:
        self.folder, self.feed, self.mirror = folder, feed, mirror
        fresh = Provenance(
            feed.about(), dtype, skip_special, shard_tokens, _facts(feed, dtype),
            versions=versions(), max_norm=default_norm(feed) if max_norm == "auto" else max_norm,
        )  # fmt: skip
        self.facts = fresh
        if (folder / provenance.FILE).exists():
            self.facts = provenance.read(folder)
            if max_norm == "auto":  # a store stays as it was begun
                fresh.max_norm = self.facts.max_norm
            _check_same(folder, self.facts, fresh)
            if part is None and self.facts.part is not None:
                raise IsthmusError(
                    f"{folder} holds a part of a store: go on with it by the command that began it"
                )
        elif any(path.name != LOCK for path in _listed(folder)) and not _is_started(folder):
            raise IsthmusError(
                f"{folder} holds other files and is no store: choose another folder, or delete it"
            )
        if part is not None:
            whole = facts_of(part, int(feed.counts.sum()), self.facts.shard_tokens, batch)
            if self.facts.part is None:
                self.facts.part = whole
            if (self.facts.part.batch, self.facts.part.end) != (batch, whole.end):
                raise IsthmusError(
                    f"{folder} was begun with batches of {self.facts.part.batch} rows and up to "
                    f"token {self.facts.part.end:,}: go on with the command that began it"
                )
        self.dtype = self.facts.dtype
        self._means = Means(self.facts)
        self._pieces: list[Piece] = []
        self._writer: ArrayWriter | None = None
        self.done = self.missing = self.room = 0
        self._fed = 0
        self._failed = False

    def open(self, run: HarvestRun) -> None:
        """Begin the run, or find it in the store and go on with it."""
        self._clear()
        number = self.number(run.fingerprint)
        if number is not None:
            self._run = number
        else:
            if isinstance(self.feed, TokenFeed):
                run.folder = f"text-{len(self.facts.runs):03d}"
                run.checksums = _write_tokens(self.folder / run.folder, self.feed)
            else:
                run.hashes = f"rows-{len(self.facts.runs):03d}"
                run.checksums = _write_hashes(self.folder / run.hashes, self.feed)
            self.facts.runs.append(run)
            self._run = len(self.facts.runs) - 1
            self._commit()
        self.done = self.facts.done(self._run)
        self.missing = run.tokens - self.done
        if self.facts.part is not None:
            self.missing = self.facts.part.end - self.done
        self.room = min(self.facts.shard_tokens, self.missing)
        self._planned = self.missing

    def number(self, fingerprint: str) -> int | None:
        """Which run of the store has that input; None where there is none."""
        prints = [run.fingerprint for run in self.facts.runs]
        return prints.index(fingerprint) if fingerprint in prints else None

    @property
    def limits(self) -> dict[str, float]:
        """The largest norm of a row that is kept, of the points that have one."""
        limits = {point: facts.limit for point, facts in self.facts.points.items()}
        return {point: limit for point, limit in limits.items() if limit is not None}

    def limit(self, medians: dict[str, float]) -> None:
        """Settle the largest norms by the median ones, unless they have been before."""
        if self.facts.max_norm is None or self.limits:
            return
        for point, median in medians.items():
            self.facts.points[point].limit = self.facts.max_norm * median if median > 0 else None

    def outliers(self, point: str) -> int:
        """How many elements of a row are kept apart."""
        return self.facts.points[point].outliers

    @property
    def run(self) -> HarvestRun:
        """The run that is written."""
        return self.facts.runs[self._run]

    def file(self, point: str, suffix: str) -> str:
        """The name of a point's file in a shard."""
        return self.facts.points[point].file + suffix + ".npy"

    def reserve(self, tokens: int) -> None:
        """A piece of so many tokens, at most :attr:`room`, is on its way."""
        self._planned -= tokens
        self.room -= tokens
        if self.room == 0:
            self.room = min(self.facts.shard_tokens, self._planned)

    def append(self, piece: Piece) -> None:
        """Write a piece; with it a shard may be full, which then counts."""
        if self._failed:  # what is queued behind a failure must not close its gap
            return
        self._failed = True
        if self._writer is None:
            rows = min(self.facts.shard_tokens, self.missing)
            self._writer = ArrayWriter(self.folder / PARTIAL, self._layout(), rows)
        if piece.kept:
            self._writer.write({**piece.arrays, WHERE: piece.where})
        self._fed += piece.tokens
        self._means.add(piece.kept, piece.sums, piece.norms)
        if self.facts.part is not None:
            self._pieces.append(replace(piece, arrays={}))
        if self._fed == self._writer.rows:
            self._finish_shard()
        self._failed = False

    def close(self) -> None:
        """Leave an unfinished shard: it does not count."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._fed = None, 0

    def _finish_shard(self) -> None:
        assert self._writer is not None
        checksums, tokens = self._writer.finish(), self._writer.written
        dropped = self._fed - tokens
        self._writer, self._fed = None, 0
        part = self.facts.part
        first = 0 if part is None else part.first
        name = f"shard-{first + len(self.facts.shards):05d}"
        if part is not None:
            place = self.folder / sums_folder(name)
            part.sums[name] = _write_sums(place, self._pieces, self.facts)
            self._pieces = []
        os.rename(self.folder / PARTIAL, self.folder / name)
        sync_folder(self.folder)
        self.facts.shards.append(Shard(name, self._run, tokens, checksums, dropped))
        if dropped:
            self.run.left_out["norm"] = self.run.left_out.get("norm", 0) + dropped
        self._means.settle()
        self.missing -= tokens + dropped
        self._commit()

    def _commit(self) -> None:
        provenance.write(self.folder, self.facts, notes_of(self.dtype))
        if self.mirror is not None:
            self.mirror.commit(self.facts)

    def _layout(self) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        layout: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        for point, facts in self.facts.points.items():
            for suffix, kind in formats.arrays_of(self.dtype, facts.width, facts.outliers).items():
                layout[self.file(point, suffix)] = kind
        return {**layout, WHERE: (np.dtype("<i4"), (2,))}

    def _clear(self) -> None:
        """Remove what a killed harvest left behind."""
        counts = {shard.folder for shard in self.facts.shards}
        counts |= {folder for run in self.facts.runs for folder in (run.folder, run.hashes)}
        if self.facts.part is not None:
            counts |= {sums_folder(shard.folder) for shard in self.facts.shards}
        for path in _listed(self.folder):
            if _is_ours(path) and path.name not in counts:
                shutil.rmtree(path)


@contextlib.contextmanager
def locked(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Keep other harvests out of the folder, where the system has locks that die with a process.

    Another one is waited for ``wait`` seconds.
    """
    until = time.monotonic() + wait
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / LOCK).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise IsthmusError(
                        f"another harvest is writing to {folder}: wait for it, or choose another "
                        "folder"
                    ) from None
                time.sleep(0.05)
        yield


def _facts(feed: Feed, dtype: str) -> dict[str, PointFacts]:
    facts: dict[str, PointFacts] = {}
    for point in feed.points:
        name = "model" + point[1:] if point.startswith(".") else point
        plain = re.sub(r"[^\w.+-]", "-", name)
        names = {fact.file for fact in facts.values()} | {"where"}
        file, n = plain, 1
        while file in names:
            file, n = f"{plain}-{n}", n + 1
        width = feed.widths[point]
        apart = formats.outliers_of(dtype, width)
        facts[point] = PointFacts(file, width, axis=feed.axes[point], outliers=apart)
    return facts


def _check_same(folder: Path, present: Provenance, fresh: Provenance) -> None:
    """An error where what comes does not fit what is there."""

    old, new = present.traits(), fresh.traits()
    if old["weights"] == new["weights"]:  # the same weights may have another name by now
        new["model"] = old["model"]
    for what in old:
        if old[what] != new[what]:
            raise IsthmusError(
                f"{folder} holds a store with other {what} ({old[what]}, not {new[what]}): choose "
                "another folder, or delete it and harvest again"
            )


def notes_of(dtype: str) -> dict[str, str]:
    """What the index says of the files to whoever reads them without this library."""
    notes = {WHERE: "row of the text and place in it, counted from 0 in each run"}
    if dtype in formats.NOTES:
        notes[dtype] = formats.NOTES[dtype]
    return notes


def _write_sums(folder: Path, pieces: list[Piece], facts: Provenance) -> dict[str, str]:
    """What the pieces of a shard add to the means, in their order; the checksums."""
    arrays: dict[str, np.ndarray] = {}
    for point, about in facts.points.items():
        arrays[f"{about.file}.npy"] = torch.stack([p.sums[point] for p in pieces]).numpy()
        arrays[f"{about.file}{NORMS}.npy"] = np.array([p.norms[point] for p in pieces])
    layout = {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}
    writer = ArrayWriter(folder, layout, len(pieces))
    writer.write(arrays)
    return writer.finish()


def _write_tokens(folder: Path, feed: TokenFeed) -> dict[str, str]:
    """The token rows of a run as plain files; their checksums."""
    tokens = feed.tokens
    arrays = (
        tokens.ids.to(torch.int32).numpy(),
        tokens.mask.numpy(),
        tokens.document.numpy(),
        tokens.start.numpy(),
    )
    by_file = dict(zip(TOKEN_FILES, arrays, strict=True))
    layout = {name: (array.dtype, array.shape[1:]) for name, array in by_file.items()}
    writer = ArrayWriter(folder, layout, len(tokens.ids))
    writer.write(by_file)
    checksums = writer.finish()
    text = json.dumps(list(tokens.names), ensure_ascii=False).encode()
    with (folder / NAMES).open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    return {**checksums, NAMES: f"{zlib.crc32(text):08x}"}


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _write_hashes(folder: Path, feed: Feed) -> dict[str, str]:
    """A hash of each row of a source; the checksum of the file."""
    assert isinstance(feed, RowFeed)
    hashes = row_hashes(feed)
    writer = ArrayWriter(folder, {HASHES: (np.dtype("<i8"), ())}, len(hashes))
    writer.write({HASHES: hashes})
    return writer.finish()


def _is_ours(path: Path) -> bool:
    return bool(re.fullmatch(rf"{PARTIAL}|(shard|sums|text|rows)-\d+", path.name)) and path.is_dir()


def _is_started(folder: Path) -> bool:
    """Whether a harvest was killed here before its first commit."""
    names = {LOCK, provenance.FILE + ".partial"}
    return all(path.name in names or _is_ours(path) for path in _listed(folder))
