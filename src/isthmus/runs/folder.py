"""The folder of a run: a place that is free for it, and files written whole or not at all."""

import contextlib
from pathlib import Path
from uuid import uuid4

from isthmus.errors import IsthmusError
from isthmus.training.checkpoint import CONFIG, METRICS
from isthmus.training.journal import located
from isthmus.training.lock import claim


def fresh_folder(folder: Path, overwrite: bool) -> Path:
    """The folder of a new run, held for this process to the end of the session.

    An error where it cannot be, holds a run to be kept, or another process writes a run there.
    """
    if folder.exists() and not folder.is_dir():
        raise IsthmusError(f"{folder} is a file: choose a folder for the run")
    claim(folder)  # before the look: another run may begin here at this moment
    in_use = located(folder, CONFIG).exists() or (folder / METRICS).exists()
    if in_use and not overwrite:
        raise IsthmusError(
            f"{folder} already holds a run: choose another folder, pass overwrite, or go on with "
            f"isthmus resume {folder}"
        )
    return folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, of several that write it at once that of one."""
    if not path.name:
        raise IsthmusError(f"{str(path)!r} names no file to write")
    partial = path.with_name(f".{uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as problem:
        raise IsthmusError(
            f"cannot write {path}: {problem.strerror or problem}; free some space or choose "
            "another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):  # where it cannot be written, it cannot be removed
            partial.unlink(missing_ok=True)
