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
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.activations import formats, provenance
from isthmus.activations.duplicates import HASHES, row_hashes
from isthmus.activations.feed_factory import Feed, RowFeed, TextFeed
from isthmus.activations.norms import MaxNorm, default_norm
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
    ) -> None:
        self.folder, self.feed = folder, feed
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
        elif any(path.name != LOCK for path in _listed(folder)) and not _is_started(folder):
            raise IsthmusError(
                f"{folder} holds other files and is no store: choose another folder, or delete it"
            )
        self.dtype = self.facts.dtype
        self._tokens = self.facts.tokens
        self._sums = {
            point: torch.tensor(facts.mean or [0.0] * facts.width, dtype=torch.float64)
            * self._tokens
            for point, facts in self.facts.points.items()
        }
        self._norms = {p: f.mean_norm * self._tokens for p, f in self.facts.points.items()}
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
            if isinstance(self.feed, TextFeed):
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
        self._tokens += piece.kept
        self._fed += piece.tokens
        for point in self.facts.points:
            self._sums[point] += piece.sums[point]
            self._norms[point] += piece.norms[point]
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
        name = f"shard-{len(self.facts.shards):05d}"
        os.rename(self.folder / PARTIAL, self.folder / name)
        sync_folder(self.folder)
        self.facts.shards.append(Shard(name, self._run, tokens, checksums, dropped))
        if dropped:
            self.run.left_out["norm"] = self.run.left_out.get("norm", 0) + dropped
        for point, facts in self.facts.points.items():
            facts.mean = (self._sums[point] / max(1, self._tokens)).tolist()
            facts.mean_norm = self._norms[point] / max(1, self._tokens)
            # From what is noted, as a harvest does that goes on here: it ends on the same bits.
            self._sums[point] = torch.tensor(facts.mean, dtype=torch.float64) * self._tokens
            self._norms[point] = facts.mean_norm * self._tokens
        self.missing -= tokens + dropped
        self._commit()

    def _commit(self) -> None:
        notes = {WHERE: "row of the text and place in it, counted from 0 in each run"}
        if self.dtype in formats.NOTES:
            notes[self.dtype] = formats.NOTES[self.dtype]
        provenance.write(self.folder, self.facts, notes)

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
        for path in _listed(self.folder):
            if _is_ours(path) and path.name not in counts:
                shutil.rmtree(path)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other harvests out of the folder, where the system has locks that die with a process."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IsthmusError(
                f"another harvest is writing to {folder}: wait for it, or choose another folder"
            ) from None
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

    new_revision = fresh.model["revision"]  # the same weights may have another name by now

    def traits(facts: Provenance) -> dict[str, Any]:
        return {
            "model": facts.model["name"] if present.model["revision"] != new_revision else "",
            "weights": facts.model["revision"],
            "dtype of the host": facts.model.get("dtype", "float32"),
            "points": [(point, facts.points[point].width) for point in facts.points],
            "dtype": facts.dtype,
            "skip_special": facts.skip_special,
            "max_norm": facts.max_norm,
        }

    old, new = traits(present), traits(fresh)
    for what in old:
        if old[what] != new[what]:
            raise IsthmusError(
                f"{folder} holds a store with other {what} ({_short(old[what])}, not "
                f"{_short(new[what])}): choose another folder, or delete it and harvest again"
            )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{point} of width {width}" for point, width in value)
    return str(value)


def _write_tokens(folder: Path, feed: TextFeed) -> dict[str, str]:
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
    return bool(re.fullmatch(rf"{PARTIAL}|(shard|text|rows)-\d+", path.name)) and path.is_dir()


def _is_started(folder: Path) -> bool:
    """Whether a harvest was killed here before its first commit."""
    names = {LOCK, provenance.FILE + ".partial"}
    return all(path.name in names or _is_ours(path) for path in _listed(folder))
