"""Several files replaced as one: all of them or none, whenever the process dies.

New files are written to ``.staging/`` and synced; then a marker is made, the files are renamed
into place and the marker goes. A reader that finds the marker reads the staged files, and the
next writer finishes the renames; a staging folder without the marker is rubbish.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from isthmus.errors import IsthmusError

STAGING = ".staging"
MARKER = "COMMIT"

Writer = Callable[[Path], object]


def commit(folder: Path, files: Mapping[str, Writer]) -> None:
    """Replace ``files`` (relative name to a function that writes the given path) as one.

    Raises :class:`IsthmusError` where the disk is full or the folder cannot be written; the
    earlier files are then untouched.
    """
    staging = folder / STAGING
    try:
        folder.mkdir(parents=True, exist_ok=True)
        recover(folder)
    except OSError as problem:  # what an earlier commit staged stays: it is decided
        raise cannot_save(folder, problem) from problem
    try:
        staging.mkdir()
        for name, write in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
            as_umask_says(path)
            synced(path)
            synced(path.parent)
        synced(staging)
        (staging / MARKER).touch()
        synced(staging)
    except OSError as problem:
        _discard(staging)
        raise cannot_save(folder, problem) from problem
    except BaseException:
        _discard(staging)
        raise
    try:
        recover(folder)
    except OSError as problem:
        raise IsthmusError(
            f"cannot move the saved files into place in {folder}: {problem.strerror or problem}; "
            f"they are safe in {STAGING} and are read from there"
        ) from problem


def recover(folder: Path) -> None:
    """Finish a commit that was cut short, or throw away one that had not been decided."""
    staging = folder / STAGING
    if not os.path.exists(staging):  # False for a name too long for a file, too
        return
    if (staging / MARKER).exists():
        for path in sorted(p for p in staging.rglob("*") if p.is_file() and p.name != MARKER):
            place = folder / path.relative_to(staging)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
            synced(place.parent)
        synced(folder)
        (staging / MARKER).unlink()
    shutil.rmtree(staging)


def located(folder: Path, name: str) -> Path:
    """Where the committed version of a file is, without writing anything."""
    staged = folder / STAGING / name
    # That of os.path is False for a name that is too long for a file.
    if os.path.exists(folder / STAGING / MARKER) and staged.exists():
        return staged
    return folder / name


def as_umask_says(path: Path) -> None:
    """Give a file the mode of any new one: some writers make theirs readable to the owner alone."""
    probe = path.with_name(path.name + ".mode")
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    path.chmod(mode)


def _discard(staging: Path) -> None:
    """Undo a commit: the marker goes first, so that dying in between leaves rubbish only."""
    try:
        (staging / MARKER).unlink(missing_ok=True)
    except OSError:
        return
    shutil.rmtree(staging, ignore_errors=True)


def cannot_save(folder: Path, problem: Exception) -> IsthmusError:
    """What to say where a folder cannot be written."""
    why = getattr(problem, "strerror", None) or problem
    return IsthmusError(
        f"cannot save to {folder}: {why}; free some space or choose "
        "another folder (what was saved before is intact)"
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
