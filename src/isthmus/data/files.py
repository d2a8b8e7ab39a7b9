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

from isthmus import notices, tables
from isthmus.anatomy import Array, Asked, Reading, Source
from isthmus.data import images
from isthmus.data.ragged import RaggedSource
from isthmus.data.sources import ArraySource, collection
from isthmus.errors import IsthmusError, unknown
from isthmus.tables import parquet
from isthmus.tables.files import chosen
from isthmus.tables.source import plain

MEMBERS = ("x_train", "x", "X", "data")
"""Members of an archive that are taken for the data, in this order."""

TEXT = ".txt"
_CONVERTIBLE = {
    ".feather": "read_feather(...)", ".json": "read_json(...)", ".xlsx": "read_excel(...)",
    ".jsonl": "read_json(..., lines=True)", ".ndjson": "read_json(..., lines=True)",
}  # fmt: skip
"""Endings of tables that are not read, and what in pandas reads them."""
_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill"})
_DAMAGE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def located(name: str | Path) -> tuple[Path, str | None] | None:
    """The existing file or folder that ``name`` means, and what is chosen from it.

    ``"file.npz:member"`` chooses a member of an archive, ``"file.npz:a,b"`` several as a
    collection, ``"file.csv:a,b"`` columns of a table (``"file.csv:-a,b"`` all but these) and
    ``"file.csv:left=a,b;right=c"`` a collection of columns by name. None where nothing of that
    name exists.
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


def as_chosen(name: str | Path, before: str | None) -> str | Path:
    """``name``, with the members of an archive that ``before`` chose of another one.

    Nothing is added where ``name`` chooses itself or is no archive; where it lacks one of the
    members, that is said, and it is read as ever.
    """
    location, parts = located(name), str(before or "").rpartition(".npz:")
    if (
        location is None
        or location[1] is not None
        or location[0].suffix.lower() != ".npz"
        or not parts[1]
    ):
        return name
    with opened_npz(location[0]) as archive:
        members = archive.files
    names = [parts[2]] if parts[2] in members else parts[2].split(",")
    if {n.strip() for n in names} <= {*members}:
        return f"{name}:{parts[2]}"
    member = default_members(location[0], members)
    notices.say(
        f"{location[0].name} lacks the member {parts[2]!r} of the fit, and {member!r} is read "
        f"instead ('{location[0].name}:MEMBER' chooses another)"
    )
    return name


def open_file(name: str | Path, kind: Asked = None) -> Source:
    """A source over a file or a folder.

    ``.npy`` (memory-mapped), ``.npz``, ``.csv`` and ``.tsv`` (also ``.gz``, ``.bz2``, ``.xz``,
    ``.zst``, ``.zip``), ``.parquet``, ``.safetensors``, ``.pt`` and ``.pth`` (tensors only), and
    folders of images; the lines of ``.txt`` (UTF-8) that are not blank are texts, one a row. See
    :func:`located` for choosing a part. A missing, damaged or foreign file is an
    :class:`IsthmusError`.
    """
    location = located(name)
    if location is None:
        raise IsthmusError(f"there is no file or folder {str(name)!r}: check the path")
    path, choice = location
    if path.is_dir():
        return images.ImageFolder(path, kind)
    suffix = path.suffix.lower()
    if tables.is_table(path):
        return _table(path, choice, kind)
    if suffix == TEXT:
        return RaggedSource(_lines(path, choice), kind, name=path.name)
    if suffix in _PICKLES:
        raise _refused(path)
    if suffix in images.SUFFIXES:
        return images.image_files([name], kind)
    if suffix == ".npz":
        return _archive(path, choice, kind)
    reader = _READERS.get(suffix)
    if reader is None:
        if suffix in _CONVERTIBLE:
            raise IsthmusError(
                f"{str(path)!r} is not read as it is: write it as parquet, by "
                f"pandas.{_CONVERTIBLE[suffix]}.to_parquet({path.stem + '.parquet'!r})"
            )
        endings = ", ".join(sorted([*_READERS, ".npz", TEXT, *tables.SUFFIXES]))
        raise IsthmusError(
            f"{str(path)!r} is of no known type: pass one of {endings}, or a folder of images"
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


def _table(path: Path, choice: str | None, kind: Asked) -> Source:
    """The chosen columns of a table, or several groups of them as a collection."""
    if choice is None or "=" not in choice or choice in tables.header(path):
        return _part_of_table(path, choice, kind)
    parts: dict[str, Source] = {}
    for group in choice.split(";"):
        name, equals, columns = group.partition("=")
        if not equals or not name.strip() or not columns.strip():
            raise IsthmusError(
                f"{group!r} names no part: write the parts of a table as 'left=a,b;right=c'"
            )
        if name.strip() in parts:
            raise IsthmusError(
                f"two parts are called {name.strip()!r}: list all columns of a part behind one name"
            )
        parts[name.strip()] = _part_of_table(path, columns, kind)
    return collection(parts)


def _part_of_table(path: Path, choice: str | None, kind: Asked) -> Source:
    """The chosen columns of a table, or the matrix that a single column of lists is."""
    if tables.compression.endings(path)[0] == ".parquet":
        matrix = parquet.matrix(path, lambda names: chosen(path, names, choice))
        if matrix is not None:
            return ArraySource(matrix, kind, columns=None, name=path.name)
    table = tables.read(path, choice)
    if Reading.of(kind).kind in (None, "vector"):
        return tables.TableSource(table)
    return ArraySource(plain(table), kind, columns=table.names, name=path.name)


def _archive(path: Path, choice: str | None, kind: Asked) -> Source:
    """One member of an archive, or several as a collection."""
    with opened_npz(path) as archive:
        names = _chosen_members(path, archive.files, choice)
        parts = {name: npz_member(path, archive, name) for name in names}
    if len(parts) == 1:
        return ArraySource(next(iter(parts.values())), kind, name=path.name)
    return collection(parts, kind)


def default_members(path: Path, members: list[str]) -> str:
    """What is chosen of an archive where nothing is said, as it may stand behind its name."""
    return ",".join(_chosen_members(path, members, None))


def _chosen_members(path: Path, members: list[str], choice: str | None) -> list[str]:
    if choice is not None and choice not in members:
        names = [name.strip() for name in choice.split(",")]
        for name in names:
            if name not in members:
                raise unknown(f"member of {path.name!r}", name, members)
        return names
    if choice is None and len(members) > 1 and not any(name in members for name in MEMBERS):
        return members
    return [_chosen(path, members, choice)]


def _npy(path: Path, choice: str | None) -> Array:
    if choice is not None:
        raise IsthmusError(f"{str(path)!r} has no members: leave ':{choice}' out")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        _unreadable(path, error)


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
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch says the same of a truncated file and of one with foreign objects.
        raise _refused(path) from error
    except (*_DAMAGE, RuntimeError, KeyError) as error:
        _unreadable(path, error)
    if isinstance(content, Tensor):
        return content
    tensors = (
        {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise IsthmusError(f"{str(path)!r} holds no tensors: save the rows as one tensor")
    return tensors[_chosen(path, list(tensors), choice)]


def _safetensors(path: Path, choice: str | None) -> Array:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            tensor: Tensor = file.get_tensor(_chosen(path, list(file.keys()), choice))
            return tensor
    except (SafetensorError, OSError) as error:
        _unreadable(path, error)


_READERS: dict[str, Callable[[Path, str | None], Array]] = {
    ".npy": _npy,
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
