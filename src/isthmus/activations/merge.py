"""The parts of a store put together: the same store, byte for byte, as one process makes."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from isthmus.activations import provenance
from isthmus.activations.appender import LOCK, PARTIAL, locked, notes_of
from isthmus.activations.means import Means
from isthmus.activations.parts import NORMS, sums_folder
from isthmus.activations.provenance import PARTS, PartFacts, Provenance
from isthmus.activations.shards import mapped, sync_folder
from isthmus.activations.store import Store
from isthmus.errors import IsthmusError
from isthmus.notices import say

WAIT = 600.0
"""Seconds that a part waits for another one that puts them together."""

Parts = list[tuple[Path, Provenance]]


def merge(store: str | Path, parts: Sequence[str | Path] = (), *, wait: float = 0.0) -> Store:
    """Put the parts of a store together in ``folder``, and return the store.

    ``parts`` are their folders; by default those in ``store/parts``, which are removed when the
    store is there. Files are linked where the disk can, and copied otherwise; the index comes last,
    so that a merge that was killed is run again. What is read are the sums behind the means: data
    are compared with their checksums when they are first used, or by :meth:`Store.verify`.
    ``wait`` is for how many seconds another process may be writing there.

    Raises :class:`IsthmusError` where parts are missing, unfinished, there twice, of another
    division, or of another harvest.
    """
    place = Path(store)
    with locked(place, wait):
        if not parts and (place / provenance.FILE).exists():
            return _merged(place)
        folders = [Path(one) for one in parts] or _folders(place)
        parts_read = [(folder, provenance.read(folder)) for folder in folders]
        if not parts_read:
            raise IsthmusError(
                f"{place} holds no parts to merge: harvest with --part 1/N and so on first, or "
                "name their folders"
            )
        _check(place, parts_read)
        _put_together(place, _in_order(parts_read))
        if not parts:
            shutil.rmtree(place / PARTS)
    return Store(place)


def merge_if_complete(folder: Path) -> Store | None:
    """The store, where the last of its parts has just ended; None where others are to come."""
    if not _all_there(folder) and not (folder / provenance.FILE).exists():
        return None
    return merge(folder, wait=WAIT)


def _merged(folder: Path) -> Store:
    """The store that is there, without the parts that a killed merge did not remove."""
    prints = {run.fingerprint for run in provenance.read(folder).runs}
    for part in _folders(folder):
        runs = provenance.read(part).runs if (part / provenance.FILE).exists() else []
        if not {run.fingerprint for run in runs} <= prints:
            raise IsthmusError(
                f"{folder} holds a store and {part} is part of another: merge it into a folder of "
                "its own"
            )
    if (folder / PARTS).exists():
        shutil.rmtree(folder / PARTS)
    return Store(folder)


def _all_there(folder: Path) -> bool:
    try:
        held = [provenance.read(path) for path in _folders(folder)]
    except (IsthmusError, OSError):  # one is just being begun, or was just merged
        return False
    ended = [f.part for f in held if f.part and f.runs and f.done(0) == f.part.end]
    return bool(ended) and len(ended) == len(held) == ended[0].of


def _folders(folder: Path) -> list[Path]:
    inside = folder / PARTS
    return sorted(p for p in inside.iterdir() if p.is_dir()) if inside.is_dir() else []


def _part(path: Path, facts: Provenance) -> PartFacts:
    if facts.part is None or not facts.runs:
        raise IsthmusError(
            f"{path} is no part of a store: name folders that isthmus harvest --part wrote"
        )
    return facts.part


def _in_order(parts_read: Parts) -> Parts:
    return sorted(parts_read, key=lambda one: _part(*one).number)


def _check(folder: Path, parts_read: Parts) -> None:
    """An error unless these are all parts of one harvest, each once and whole."""
    (path, facts), *others = parts_read = _in_order(parts_read)
    first = _part(path, facts)
    seen = {first.number: path}
    for other, about in others:
        part = _part(other, about)
        if part.of != first.of:
            raise IsthmusError(
                f"{path} is one of {first.of} parts and {other} one of {part.of}: they overlap, so "
                "merge those of one division"
            )
        if part.number in seen:
            raise IsthmusError(
                f"{seen[part.number]} and {other} are both part {part.number} of {part.of}: name "
                "one of them"
            )
        seen[part.number] = other
        mine, theirs = _traits(facts), _traits(about)
        for what in mine:
            if mine[what] != theirs[what]:
                raise IsthmusError(
                    f"{other} is part of another harvest than {path}, with other {what} "
                    f"({theirs[what]}, not {mine[what]}): harvest it again as the others, or merge "
                    "it with its own"
                )
    absent = [str(n) for n in range(1, first.of + 1) if n not in seen]
    if absent:
        raise IsthmusError(
            f"of {first.of} parts of {folder} {len(absent)} are missing (number "
            f"{', '.join(absent[:8])}{', ...' if len(absent) > 8 else ''}): harvest them, or name "
            "their folders"
        )
    for other, about in parts_read:
        part = _part(other, about)
        if about.done(0) < part.end:
            raise IsthmusError(
                f"{other} is not finished ({about.done(0) - part.begin:,} of "
                f"{part.end - part.begin:,} tokens): run its harvest again, which goes on"
            )
    if (folder / provenance.FILE).exists():
        raise IsthmusError(f"{folder} holds another store already: merge into another folder")


def _traits(facts: Provenance) -> dict[str, object]:
    """What is the same in all parts of a harvest."""
    run = facts.runs[0]
    assert facts.part is not None
    return {
        **facts.traits(),
        "data": run.fingerprint[:12],
        "tokens": run.tokens,
        "tokens of a shard": facts.shard_tokens,
        "rows of a batch": facts.part.batch,
        "versions": facts.versions,
    }


def _put_together(folder: Path, parts_read: Parts) -> None:
    path, begun = parts_read[0]
    points = {p: replace(f, mean=[], mean_norm=0.0) for p, f in begun.points.items()}
    left_out = {k: v for k, v in begun.runs[0].left_out.items() if k != "norm"}
    run = replace(begun.runs[0], left_out=left_out)
    facts = replace(begun, points=points, runs=[run], shards=[], part=None)
    for other, about in parts_read:
        limits = {p: f.limit for p, f in about.points.items()}
        if about.shards and limits != {p: f.limit for p, f in points.items()}:
            say(
                f"{other} was made on a machine whose norms differ in the last bits: the store is "
                "whole, but not the same to the bit as one process would make"
            )
    _clear(folder)
    inputs = run.folder or run.hashes
    _move(path / inputs, folder)
    means = Means(facts)
    for other, about in parts_read:
        for shard in about.shards:
            _move(other / shard.folder, folder)
            _add_sums(means, other, about, shard.folder)
            facts.shards.append(shard)
            means.tokens = facts.tokens
            if shard.dropped:
                run.left_out["norm"] = run.left_out.get("norm", 0) + shard.dropped
            means.settle()
    sync_folder(folder)
    provenance.write(folder, facts, notes_of(facts.dtype))


def _add_sums(means: Means, path: Path, about: Provenance, shard: str) -> None:
    """Add the pieces of a shard, in the order in which one process adds them."""
    folder, sums = path / sums_folder(shard), _part(path, about).sums[shard]
    remedy = f"delete {path} and harvest it again"

    def read(name: str) -> torch.Tensor:
        return mapped(folder / name, sums[name], torch.float64, remedy)

    by_point = {p: read(f"{f.file}.npy") for p, f in about.points.items()}
    norms = {p: read(f"{f.file}{NORMS}.npy").tolist() for p, f in about.points.items()}
    for piece in range(len(next(iter(by_point.values())))):
        means.add(
            0, {p: s[piece] for p, s in by_point.items()}, {p: n[piece] for p, n in norms.items()}
        )


def _clear(folder: Path) -> None:
    """Remove what a merge left behind that was killed, or one that only its parts outlived."""
    for path in folder.iterdir():
        if path.name not in (PARTS, LOCK) and path.is_dir():
            shutil.rmtree(path)


def _move(source: Path, folder: Path) -> None:
    """A folder of files linked or copied into ``folder``, whole or not at all."""
    partial = folder / PARTIAL
    partial.mkdir()
    for file in sorted(source.iterdir()):
        try:
            os.link(file, partial / file.name)
        except OSError:  # another disk, or one without links
            shutil.copyfile(file, partial / file.name)
            with (partial / file.name).open("rb") as copied:
                os.fsync(copied.fileno())
    sync_folder(partial)
    os.rename(partial, folder / source.name)
