"""Public data sets from where their authors publish them, into a folder that ``load`` finds.

A set comes whole or not at all: its originals are downloaded and compared with their SHA-256, the
set is made of them beside its place, what it holds is compared too, and it is moved there last.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from isthmus.data import catalogue, manifest, public
from isthmus.data.bundled import BUNDLED
from isthmus.data.catalogue import VARIABLE
from isthmus.data.manifest import Entry
from isthmus.data.originals import contents, made, written
from isthmus.data.public import PublicSet, key
from isthmus.errors import IsthmusError, MissingExtra, unknown
from isthmus.notices import say

TIMEOUT = 60.0
"""Seconds without an answer, or without a further byte, after which a download is given up."""
_SCRATCH, _STALE = ".fetching-", 86_400.0


def fetch(name: str, to: str | Path | None = None, *, progress: Any = None) -> list[Path]:
    """Get a public data set, or all of a folder of them ("adbench"), and return its files.

    It comes into the cache, where :func:`isthmus.data.load` finds it by itself, or into the folder
    ``to``, which ISTHMUS_DATA may then name. What is there already stays. Its licence is said.
    ``progress`` is a bar that is shown for each download (:mod:`pooch` says of what form). Needs
    the extra "data".

    Raises IsthmusError for an unknown name, for a set that cannot be fetched, without a network,
    and where a file is not what its checksum says; nothing half done is left then.
    """
    sets = wanted(name)
    folder = catalogue.cache_folder() if to is None else Path(to).expanduser()
    return [_fetched(one, folder, to is None, progress) for one in sets]


def wanted(name: str) -> list[PublicSet]:
    """The sets that a name means; an error for one that is unknown or cannot be fetched."""
    if key(name) in map(key, BUNDLED):
        raise IsthmusError(f"{name!r} is always here: there is nothing to fetch")
    sets = public.sets().values()
    one = public.found(name)
    matches = [s for s in sets if key(s.name).startswith(f"{key(name)}/")] if one is None else [one]
    if not matches:
        raise unknown("public data set", name, [s.name for s in sets if s.can_be_fetched])
    for one in matches:
        if not one.can_be_fetched:
            raise IsthmusError(
                f"{one.name!r} cannot be fetched ({one.why}): it comes from {one.source}, and "
                f"is read from a folder that {VARIABLE} names"
            )
    return matches


def _fetched(one: PublicSet, folder: Path, into_cache: bool, progress: Any) -> Path:
    entry = catalogue.entries().get(one.name) if into_cache else _entry(folder, one)
    if entry is not None and entry.path.is_file():
        catalogue.verify(entry)
        say(f"{one.name!r} is here already, {str(entry.path)!r}: delete it to fetch it again")
        return entry.path
    say(f"{one.name!r}, licence: {one.licence}; cite {one.citation}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            files, hashes = _originals(one, Path(scratch), progress, _recorded(folder, one))
            of = made(files, one.make)
            if contents(of) != one.contents:
                raise IsthmusError(
                    f"what the originals of {one.name!r} hold differs from what is known of the "
                    f"set: they have changed at {one.at}, and nothing was kept"
                )
            return _put(one, folder, Path(scratch), written(of, one.file), hashes)
    except OSError as problem:
        raise IsthmusError(
            f"{str(folder)!r} cannot be written ({problem.strerror or problem}): name another "
            f"folder with --to, or in {catalogue.CACHE_VARIABLE}"
        ) from problem


def _originals(
    one: PublicSet, scratch: Path, progress: Any, recorded: Mapping[str, str]
) -> tuple[dict[str, Path], dict[str, str]]:
    """The downloaded files by name, and the hashes of those whose hash nobody states."""
    files: dict[str, Path] = {}
    hashes: dict[str, str] = {}
    for name, checksum in one.originals.items():
        digest = checksum or recorded.get(name)
        path = _download(one.at + quote(name), scratch, digest, progress)
        if checksum is None:
            hashes[name] = _hash(path)
            if digest is None:
                say(
                    f"nobody states the checksum of {one.at + name}: that of this download is "
                    "taken down, and what the set holds is compared with what is known of it"
                )
        files[name] = path
    return files, hashes


def _download(address: str, scratch: Path, digest: str | None, progress: Any) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise MissingExtra("pooch", "data", "fetching data") from error
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=progress or False)
    try:
        with _quiet(pooch.get_logger()):
            path = Path(pooch.retrieve(address, None, path=scratch, downloader=downloader))
    except OSError as problem:  # those of requests are of this kind too
        status = getattr(getattr(problem, "response", None), "status_code", None)
        reason = f"the answer was {status}" if status else "no answer, or a part of it"
        raise IsthmusError(
            f"{address} cannot be had ({reason}): look at the network, and try again later"
        ) from problem
    actual = _hash(path)
    if digest is not None and actual != digest:
        raise IsthmusError(
            f"{address} is not the file that it was (SHA-256 {actual[:12]}..., not "
            f"{digest[:12]}...): nothing was kept; try again in case it came damaged"
        )
    return path


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tidy(folder: Path) -> None:
    """Remove what fetches left that were killed, a day ago or longer."""
    for remnant in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):
            if time.time() - remnant.stat().st_mtime > _STALE:
                shutil.rmtree(remnant)


def _put(
    one: PublicSet, folder: Path, scratch: Path, content: bytes, hashes: Mapping[str, str]
) -> Path:
    """The file in its place, listed in the manifest of its folder."""
    listed = _listed(folder)
    file: dict[str, Any] = {
        "path": one.file,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "read": one.read,
    }
    if hashes:
        file["originals"] = dict(hashes)
    item = {
        "title": one.title, "what": one.what, "licence": one.licence, "citation": one.citation,
        "source": one.source, "files": [file],
    }  # fmt: skip
    items = [_without(other, one.file) for other in listed]
    text = json.dumps([*(k for k in items if k["files"]), item], indent=1, ensure_ascii=False)
    place = folder / one.file
    place.parent.mkdir(parents=True, exist_ok=True)
    (scratch / "made").write_bytes(content)
    (scratch / "listed").write_text(text + "\n", encoding="utf-8")
    (scratch / "made").replace(place)
    (scratch / "listed").replace(folder / manifest.NAME)
    return place


def _without(item: Mapping[str, Any], file: str) -> dict[str, Any]:
    """An item of a manifest without that file."""
    return {**item, "files": [one for one in item["files"] if one["path"] != file]}


def _listed(folder: Path) -> list[dict[str, Any]]:
    """What the folder's manifest lists, nothing where it has none."""
    if not (folder / manifest.NAME).is_file():
        return []
    _entries(folder)
    return manifest.items(folder)


def _entries(folder: Path) -> dict[str, Entry]:
    remedy = f"{str(folder / manifest.NAME)!r} is no manifest of data sets: name another folder"
    return manifest.entries(folder, remedy)


def _entry(folder: Path, one: PublicSet) -> Entry | None:
    return _entries(folder).get(one.name) if (folder / manifest.NAME).is_file() else None


def _recorded(folder: Path, one: PublicSet) -> dict[str, str]:
    """The hashes of an earlier download, by name."""
    files = [file for item in _listed(folder) for file in item["files"]]
    matches = [file for file in files if file["path"] == one.file]
    return dict(matches[0].get("originals", {})) if matches else {}


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Without the lines that pooch writes of every download."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
