"""A folder in object storage: the few things that are done with one."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from isthmus.errors import IsthmusError, MissingExtra

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PIECE = 1 << 22
"""Bytes that are moved at once."""


def is_remote(place: object) -> bool:
    """Whether a place has a scheme, and is no path of this machine."""
    return isinstance(place, str) and bool(_SCHEME.match(place))


def on_this_machine(place: str | Path) -> Path:
    """A path, for what is done on a disk alone; an error for a place with a scheme."""
    if is_remote(place):
        raise IsthmusError(
            f"{place} is in object storage, where this is not done: name a folder of this machine"
        )
    return Path(place)


class Remote:
    """A folder in object storage, by its URL.

    Names are those of files in it, with ``/`` between folders. Whatever goes wrong is an
    :class:`IsthmusError` that names the place.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if not is_remote(self.url):  # it would be a folder of this machine
            raise IsthmusError(f"{url!r} names a storage and nothing in it: write {url}NAME")
        try:
            import fsspec
        except ImportError as error:
            raise MissingExtra("fsspec", "remote", f"the place {url}") from error
        with self._told("opened"):
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
            # Listings that are kept would hide what another process has written since.
            self._fs.invalidate_cache()

    def __str__(self) -> str:
        return self.url

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        with self._told("looked into"):
            return bool(self._fs.exists(self._path(name)))

    def names(self) -> list[str]:
        """Files of the folder and of those in it, sorted."""
        with self._told("listed"):
            self._fs.invalidate_cache()
            paths = self._fs.find(self._root)
        root = self._root.strip("/") + "/"
        return sorted(str(path).lstrip("/").removeprefix(root) for path in paths)

    def read(self, name: str) -> bytes:
        """The content of a file; :class:`FileNotFoundError` where there is none."""
        with self._told(f"read ({name})"):
            content: bytes = self._fs.cat_file(self._path(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace a file; it is whole or not there wherever the storage writes objects whole."""
        with self._told(f"written ({name})"):
            self._make_room(name)
            self._fs.pipe_file(self._path(name), content)

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine there."""
        with self._told(f"written ({name})"):
            self._make_room(name)
            self._fs.put_file(str(path), self._path(name))

    def download(self, name: str, path: Path) -> str:
        """Copy a file here; its CRC-32 in hexadecimal.

        :class:`FileNotFoundError` where there is none, and any other :class:`OSError` where it
        cannot be written on this machine.
        """
        total = 0
        with self._told(f"read ({name})"):
            source = self._fs.open(self._path(name), "rb")
        with source, path.open("wb") as target:
            while piece := self._piece(source, name):
                total = crc32(piece, total)
                target.write(piece)
        return f"{total:08x}"

    def _piece(self, source: Any, name: str) -> bytes:
        with self._told(f"read ({name})"):
            piece: bytes = source.read(_PIECE)
        return piece

    def remove(self, name: str) -> None:
        """Delete a file that may be there."""
        with self._told(f"cleared ({name})"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _make_room(self, name: str) -> None:
        """Folders, where a storage has such."""
        self._fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (IsthmusError, FileNotFoundError):
            raise
        except Exception as problem:  # each storage has errors of its own
            reason: Any = str(problem).strip().split("\n")[0] or type(problem).__name__
            raise IsthmusError(
                f"{self.url} cannot be {what}: {reason}; look at the address, the credentials and "
                "the network, and go on with the same command"
            ) from problem
