"""Files of text as streams of bytes, packed or not."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isthmus.errors import IsthmusError, MissingExtra

SUFFIXES = (".csv", ".tsv", ".parquet")
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
"""What a damaged file raises."""


def is_table(path: Path) -> bool:
    """Whether the file's ending says that it is a table."""
    return endings(path)[0] in SUFFIXES


def endings(path: Path) -> tuple[str, str]:
    """``(".csv", ".gz")`` for "a.csv.gz"; of a .zip the ending of its name or its only member."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (*_OPENERS, ".zst", ".zip"):
        inner = suffixes[-2] if len(suffixes) > 1 else ""
        if suffixes[-1] == ".zip" and inner not in SUFFIXES:
            inner = _member_ending(path)
        return inner, suffixes[-1]
    return (suffixes[-1] if suffixes else "", "")


def _member_ending(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            endings = {Path(name).suffix.lower() for name in _members(archive)}
    except (OSError, zipfile.BadZipFile):
        return ""
    return next((suffix for suffix in (".csv", ".tsv") if suffix in endings), "")


def _members(archive: zipfile.ZipFile) -> list[str]:
    """The files of an archive, without folders and what macOS adds."""
    names = [n for n in archive.namelist() if not n.endswith("/")]
    return [n for n in names if not n.startswith("__MACOSX/") and not n.endswith(".DS_Store")]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, unpacked, as a stream of bytes."""
    packing = endings(path)[1]
    if packing == ".zst":
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtra("pyarrow", "tables", "reading .zst files") from error
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield io.BufferedReader(stream)
        return
    if packing == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = _members(archive)
            if len(names) != 1:
                listed = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
                raise IsthmusError(
                    f"{str(path)!r} holds {len(names)} files ({listed}): unpack it and name one, "
                    "or pack a single table"
                )
            with archive.open(names[0]) as member:
                yield member
        return
    with _OPENERS.get(packing, open)(path, "rb") as file:
        yield file


def damaged(path: Path, why: str = "is damaged or no table of text") -> IsthmusError:
    """The error for a file that cannot be read."""
    return IsthmusError(f"{str(path)!r} {why}: get it again")
