"""Files and folders as sources."""

import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import Array, Kind, Source
from isthmus.data import images, tables
from isthmus.data.ragged import RaggedSource
from isthmus.data.sources import ArraySource
from isthmus.errors import IsthmusError, unknown

MEMBERS = ("x_train", "x", "X", "data")
"""Members of an archive that are taken for the data, in this order."""

TEXT = ".txt"
_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill"})
_DAMAGE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def located(name: str | Path) -> tuple[Path, str | None] | None:
    """The existing file or folder that ``name`` means, and what is chosen from it.

    ``"file.npz:member"`` chooses a member of an archive, ``"file.csv:a,b"`` columns of a table
    (``"file.csv:-a,b"`` all but these). None where nothing of that name exists.
    """
    if not str(name).strip():
        return None
    try:
        path = Path(name).expanduser()
        if path.exists():
            return path, None
        head, colon, choice = str(name).rpartition(":")
        if colon and choice and Path(head).expanduser().is_file():
            return Path(head).expanduser(), choice
    except (OSError, ValueError, RuntimeError):
        pass  # no path at all: too long, a null byte, an unknown user's home
    return None


def open_file(name: str | Path, kind: Kind | None = None) -> Source:
    """A source over a file or a folder.

    ``.npy`` (memory-mapped), ``.npz``, ``.csv`` and ``.tsv`` (also ``.gz``, ``.bz2``, ``.xz``,
    ``.zst``), ``.parquet``, ``.safetensors``, ``.pt`` and ``.pth`` (tensors only), and folders
    of images; the lines of ``.txt`` (UTF-8) that are not blank are texts, one a row. See
    :func:`located` for choosing a part. A missing, damaged or foreign file is an
    :class:`IsthmusError`.
    """
    found = located(name)
    if found is None:
        raise IsthmusError(f"there is no file or folder {str(name)!r}: check the path")
    path, choice = found
    if path.is_dir():
        return images.ImageFolder(path)
    suffix = path.suffix.lower()
    if tables.is_table(path):
        values, columns = tables.read(path, choice)
        return ArraySource(values, kind, columns=columns, name=path.name)
    if suffix == TEXT:
        return RaggedSource(_lines(path, choice), kind, name=path.name)
    if suffix in _PICKLES:
        raise _refused(path)
    if suffix in images.SUFFIXES:
        raise IsthmusError(
            f"{str(path)!r} is a single image: pass a folder of images, or the pixels as an array"
        )
    reader = _READERS.get(suffix)
    if reader is None:
        known = ", ".join(sorted([*_READERS, *tables.SUFFIXES, TEXT]))
        raise IsthmusError(
            f"{str(path)!r} is of no known type: pass one of {known}, or a folder of images"
        )
    return ArraySource(reader(path, choice), kind, name=path.name)


def _lines(path: Path, choice: str | None) -> list[str]:
    if choice is not None:
        raise IsthmusError(f"{str(path)!r} has no members: leave ':{choice}' out")
    try:
        whole = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise IsthmusError(
            f"{str(path)!r} is no text in UTF-8 (byte {error.start} is not): convert it first"
        ) from error
    except OSError as error:
        _unreadable(path, error)
    lines = [line for line in whole.split("\n") if line.strip()]
    if not lines:
        raise IsthmusError(f"{str(path)!r} holds no text: give it a line for each row")
    return lines


def _npy(path: Path, choice: str | None) -> Array:
    if choice is not None:
        raise IsthmusError(f"{str(path)!r} has no members: leave ':{choice}' out")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        _unreadable(path, error)


def _npz(path: Path, choice: str | None) -> Array:
    with opened_npz(path) as archive:
        return npz_member(path, archive, _chosen(path, archive.files, choice))


@contextmanager
def opened_npz(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An open archive; one that is none is an :class:`IsthmusError`."""
    try:
        # Opened here, because NumPy leaves a damaged file open.
        file = path.open("rb")
    except OSError as error:
        _unreadable(path, error)
    with file:
        try:
            archive = np.load(file, allow_pickle=False)
        except _DAMAGE as error:
            _unreadable(path, error)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise IsthmusError(f"{str(path)!r} is not an npz archive: give it its right ending")
        with archive:
            yield archive


def npz_member(path: Path, archive: Mapping[str, Any], member: str) -> np.ndarray:
    """One array of an open archive."""
    try:
        return np.asarray(archive[member])
    except (*_DAMAGE, KeyError) as error:
        _unreadable(path, error)


def _torch(path: Path, choice: str | None) -> Array:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch says the same of a truncated file and of one with foreign objects.
        raise _refused(path) from error
    except (*_DAMAGE, RuntimeError, KeyError) as error:
        _unreadable(path, error)
    if isinstance(held, Tensor):
        return held
    tensors = (
        {str(k): v for k, v in held.items() if isinstance(v, Tensor)}
        if isinstance(held, Mapping)
        else {}
    )
    if not tensors:
        raise IsthmusError(f"{str(path)!r} holds no tensors: save the rows as one tensor")
    return tensors[_chosen(path, list(tensors), choice)]


def _safetensors(path: Path, choice: str | None) -> Array:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as held:
            tensor: Tensor = held.get_tensor(_chosen(path, list(held.keys()), choice))
            return tensor
    except (SafetensorError, OSError) as error:
        _unreadable(path, error)


_READERS: dict[str, Callable[[Path, str | None], Array]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".pt": _torch,
    ".pth": _torch,
    ".safetensors": _safetensors,
}


def _chosen(path: Path, members: list[str], choice: str | None) -> str:
    if choice is not None:
        if choice not in members:
            raise unknown(f"member of {path.name!r}", choice, members)
        return choice
    if len(members) == 1:
        return members[0]
    for name in MEMBERS:
        if name in members:
            return name
    listed = ", ".join(members[:12]) + (", ..." if len(members) > 12 else "")
    raise IsthmusError(
        f"{str(path)!r} holds several arrays ({listed}): choose one, as in "
        f"'{path.name}:{members[0] if members else 'name'}'"
    )


def _refused(path: Path) -> IsthmusError:
    return IsthmusError(
        f"{str(path)!r} is damaged or a pickle of Python objects, which could run code and is "
        "refused: save the rows as .npy, .npz, .safetensors or a plain tensor"
    )


def _unreadable(path: Path, error: BaseException) -> NoReturn:
    if "allow_pickle" in str(error):
        raise _refused(path) from error
    raise IsthmusError(f"{str(path)!r} is damaged or incomplete: get it again") from error
