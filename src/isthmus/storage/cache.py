"""Files of object storage on a local disk, no more of them than there is room for."""

import contextlib
import hashlib
import math
import os
from pathlib import Path
from uuid import uuid4

from isthmus.errors import IsthmusError
from isthmus.storage.remote import Remote

FOLDER = "objects"
LIMIT = "ISTHMUS_OBJECT_CACHE"
"""Names the most gigabytes that are kept, by default 32."""
DEFAULT = 32.0


def limit_bytes() -> float:
    """How much is kept; an :class:`IsthmusError` where the variable is no number."""
    text = os.environ.get(LIMIT, "")
    try:
        number = float(text) if text else DEFAULT
    except ValueError:
        number = math.nan
    if not number >= 0.0:
        raise IsthmusError(f"{LIMIT}={text!r} is no number of gigabytes: set it to one")
    return 1e9 * number


def cannot_keep(what: str, folder: Path, problem: OSError) -> IsthmusError:
    """What to say where this machine cannot hold what object storage has."""
    return IsthmusError(
        f"cannot keep {what} in {folder}: {problem.strerror or problem}; free some space, or let "
        "ISTHMUS_CACHE name another folder"
    )


def cached(remote: Remote, name: str, checksum: str, root: Path, remedy: str) -> Path:
    """A file as one of this machine, copied whole and verified when it is first asked for.

    ``checksum`` is its CRC-32. Under ``root`` the files that were not asked for longest go when
    there are more bytes than :data:`LIMIT` allows; one that is mapped is read on all the same. A
    file that is missing or damaged is an :class:`IsthmusError` that ends in ``remedy``.
    """
    folder = root / FOLDER
    key = hashlib.sha256(f"{remote.url}\0{name}\0{checksum}".encode()).hexdigest()[:32]
    path = folder / f"{key}-{name.rpartition('/')[2]}"
    # Another process may let it go, or make it, at any moment.
    with contextlib.suppress(OSError):
        os.utime(path)
        return path
    partial = folder / f".{key}-{uuid4().hex}"
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            crc = remote.download(name, partial)
        except FileNotFoundError:
            raise IsthmusError(f"{remote}/{name} is missing: {remedy}") from None
        except OSError as problem:
            raise cannot_keep(f"{remote}/{name}", folder, problem) from problem
        if crc != checksum:
            raise IsthmusError(
                f"{remote}/{name} is damaged (it does not match its checksum): {remedy}"
            )
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # where it cannot be written, it cannot be removed
            partial.unlink(missing_ok=True)
    _evict(folder, path)
    return path


def _evict(folder: Path, newest: Path) -> None:
    """Let those go that were not asked for longest; the one that was just asked for stays."""
    files = []
    for path in folder.iterdir():
        try:
            about = path.stat()
        except FileNotFoundError:  # another process was quicker
            continue
        if not path.name.startswith("."):
            files.append((about.st_mtime_ns, about.st_size, path))
    total, most = sum(size for _, size, _ in files), limit_bytes()
    for _, size, path in sorted(files):
        if total <= most:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
