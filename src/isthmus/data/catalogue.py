"""Data sets that are here: in the folder that ISTHMUS_DATA names, and fetched into the cache.

Each of these folders has a ``manifest.json`` (:mod:`isthmus.data.manifest`).
"""

import hashlib
import os
from functools import cache
from pathlib import Path

from isthmus.data import manifest, public
from isthmus.data.layouts import Channels, Layout, Other, found_layout
from isthmus.data.manifest import Entry
from isthmus.data.named import Data
from isthmus.errors import IsthmusError

VARIABLE = "ISTHMUS_DATA"
CACHE_VARIABLE = "ISTHMUS_CACHE"

_verified: set[tuple[str, int, int]] = set()


def cache_folder() -> Path:
    """Where fetched sets are: the folder that ISTHMUS_CACHE names, or else the system's cache."""
    place = os.environ.get(CACHE_VARIABLE)
    return Path(place).expanduser() if place else _system_cache()


@cache
def _system_cache() -> Path:
    try:
        # The same that pooch.os_cache gives, in a tenth of the time.
        from platformdirs import user_cache_dir
    except ImportError:  # then pooch is not there either, and nothing was fetched
        return Path.home() / ".cache" / "isthmus"
    return Path(user_cache_dir("isthmus"))


def entries() -> dict[str, Entry]:
    """The files of the manifests by name (the file's stem; ``adbench/...`` where it is nested).

    Those of the folder that ISTHMUS_DATA names come before those that were fetched.
    """
    by_name: dict[str, Entry] = {}
    place = os.environ.get(VARIABLE)
    if place:
        by_name = manifest.entries(
            Path(place).expanduser(),
            f"{VARIABLE} is {place!r}, which holds no readable manifest.json: point it to the "
            "folder of the data sets, or unset it",
        )
    fetched = cache_folder()
    if (fetched / manifest.NAME).is_file():
        remedy = f"{str(fetched / manifest.NAME)!r} is damaged: delete it and fetch its sets again"
        by_name = {**manifest.entries(fetched, remedy), **by_name}
    return by_name


def layout(entry: Entry) -> Layout:
    """How the file is read: as its manifest says, else as the library's own, else as it looks."""
    if entry.layout is not None:
        return entry.layout
    public_set = public.sets().get(entry.name)
    if public_set is not None and public_set.file == entry.file:
        return public_set.layout
    return found_layout(entry.path)


def is_plain(entry: Entry) -> bool:
    """Whether the file holds plain rows, as arrays or as a table."""
    return not isinstance(layout(entry), Other)


def has_channels(entry: Entry) -> bool:
    """Whether the set consists of channels, one of which has to be chosen."""
    return isinstance(layout(entry), Channels)


def read(entry: Entry, channel: str | None = None) -> Data:
    """The data set of that file, its checksum verified.

    ``channel`` chooses one telemetry channel, for the sets that consist of them. A table with text
    or gaps is a data frame.
    """
    if not entry.path.is_file():
        verify(entry)  # which says so
    how = layout(entry)
    if channel is not None and not isinstance(how, (Channels, Other)):
        raise IsthmusError(f"{entry.name!r} has no channels to choose: leave ':{channel}' out")
    if not isinstance(how, Other):
        verify(entry)
    return Data(
        entry.name + (f":{channel}" if channel else ""),
        *how.parts(entry.path, entry.name, channel),
        licence=entry.licence,
        citation=entry.citation,
        description=entry.description,
    )


def verify(entry: Entry) -> None:
    """Compare the checksum, once per file and process."""
    try:
        state = entry.path.stat()
        mark = (str(entry.path), state.st_size, state.st_mtime_ns)
        if mark in _verified:
            return
        with entry.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IsthmusError(
            f"the data set {entry.name!r} is listed, but {str(entry.path)!r} cannot be read: "
            "restore the file"
        ) from error
    if digest != entry.sha256:
        raise IsthmusError(
            f"{str(entry.path)!r} differs from its checksum in manifest.json: get it again"
        )
    _verified.add(mark)
