"""A folder of this machine and its last commit in object storage.

Every file lies there under the hash of its content, and ``index.json`` says which are the folder's:
it is written last, so that a reader finds all of a commit or all of the one before.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from isthmus.errors import IsthmusError
from isthmus.storage.cache import cannot_keep
from isthmus.storage.remote import Remote

INDEX = "index.json"
LOCK = ".lock"
"""A file of the folder that says which process writes it (:mod:`isthmus.training.lock`)."""
FORMAT = 1
_PIECE = 1 << 22


class Committed:
    """``folder`` and its copy at ``remote``; files whose names begin with a dot stay here."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        self.remote, self.folder = remote, folder

    @property
    def exists(self) -> bool:
        """Whether anything was committed there."""
        return self.remote.exists(INDEX)

    def clear(self) -> None:
        """Empty the folder, but for the lock of the process that holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name == LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def fetch(self) -> None:
        """Make the folder the last commit, every file compared with its hash."""
        index = self._index()
        while True:
            missing = self._fetched(index)
            if missing is None:
                return
            # A writer may have made another commit meanwhile, and cleared away this one.
            before, index = index, self._index()
            if index == before:
                raise IsthmusError(
                    f"{self.remote} lacks {missing} of its last commit: what was saved there is "
                    "lost"
                )

    def _fetched(self, index: dict[str, str]) -> str | None:
        """Copy the files of a commit here: the name of one that is not there any more, or None."""
        if not index:
            raise IsthmusError(f"{self.remote} holds no run: nothing was saved there")
        self.clear()
        for name, digest in index.items():
            path = self.folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.remote.download(_object(name, digest), path)
            except FileNotFoundError:
                return name
            except OSError as problem:
                raise cannot_keep(str(self.remote), self.folder, problem) from problem
            if _sha256(path) != digest:
                raise IsthmusError(
                    f"{self.remote} is damaged ({name} does not match its checksum): what was "
                    "saved there is lost"
                )
        return None

    def push(self) -> None:
        """Commit the folder as it is: what is new there, then the index, then away with the old."""
        before = self._index()
        now = {
            str(path.relative_to(self.folder).as_posix()): _sha256(path)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not _is_hidden(path.relative_to(self.folder))
        }
        if now == before:
            return
        objects = {_object(name, digest) for name, digest in before.items()}
        for name, digest in now.items():
            if _object(name, digest) not in objects:
                self.remote.upload(self.folder / name, _object(name, digest))
        plain = {"format": FORMAT, "files": now}
        self.remote.write(INDEX, json.dumps(plain, indent=1).encode())
        for old in objects - {_object(name, digest) for name, digest in now.items()}:
            self.remote.remove(old)

    def _index(self) -> dict[str, str]:
        try:
            plain = json.loads(self.remote.read(INDEX))
            if plain["format"] > FORMAT:
                raise IsthmusError(f"{self.remote} was written by a newer version: upgrade isthmus")
            files: dict[str, str] = plain["files"]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as problem:
            if isinstance(problem, IsthmusError):
                raise
            raise IsthmusError(
                f"{self.remote}/{INDEX} is damaged: what was saved there is lost"
            ) from None
        for name in files:
            if os.path.isabs(name) or ".." in Path(name).parts:
                raise IsthmusError(f"{self.remote}/{INDEX} names {name!r}, outside of its folder")
        return files


def _object(name: str, digest: str) -> str:
    return f"files/{digest[:16]}/{name.rpartition('/')[2]}"


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
