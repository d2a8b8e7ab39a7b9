"""Folders for other libraries, written whole or not at all."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from isthmus.errors import IsthmusError


def new_folder(folder: str | Path) -> Path:
    """The path, where nothing lies there yet; else an error."""
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise IsthmusError(f"{path} is there already: name a folder that is not, or an empty one")
    return path


@contextlib.contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """A folder beside ``folder`` to write into, which takes its place once all is written.

    Where writing fails, as on a full disk, nothing is left, and that is an
    :class:`IsthmusError`; and so is a folder that has files.
    """
    from safetensors import SafetensorError

    path = new_folder(folder)
    partial = path.resolve().parent / f".{uuid4().hex}.partial"
    try:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():  # it may be the present one, which nothing can replace
            for file in partial.iterdir():
                file.replace(path / file.name)
        else:
            partial.replace(path)
    except (OSError, SafetensorError) as problem:
        raise IsthmusError(
            f"cannot write {path}: {getattr(problem, 'strerror', None) or problem}; free some "
            "space or choose another place"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
