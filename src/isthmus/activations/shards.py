"""Plain .npy files, written row by row with a checksum, and mapped into memory to be read.

The checksum of a file is its CRC-32, as ``zlib.crc32(path.read_bytes())`` gives it.
"""

import ast
import io
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError

Layout = Mapping[str, tuple[np.dtype, tuple[int, ...]]]
"""Files of a folder by name: dtype, and shape of a row."""

_MAGIC = b"\x93NUMPY\x01\x00"
_PIECE = 1 << 22
"""Bytes that are checked at once."""


class ArrayWriter:
    """Writes the rows of several arrays side by side, each to a file of ``folder``.

    The most rows are known from the start, so that files are written once from front to back; where
    it were fewer in the end, the header says so.
    """

    def __init__(self, folder: Path, layout: Layout, rows: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.rows, self.written = folder, rows, 0
        self._files: dict[str, BinaryIO] = {}
        self._sums: dict[str, int] = {}
        self._layout = dict(layout)
        for name, (dtype, shape) in layout.items():
            header = npy_header(dtype, (rows, *shape))
            self._files[name] = (folder / name).open("wb")
            self._files[name].write(header)
            self._sums[name] = zlib.crc32(header)

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Append rows to every file; an array has the dtype and the row shape of its file."""
        for name, file in self._files.items():
            content = np.ascontiguousarray(arrays[name]).data.cast("B")
            self._sums[name] = zlib.crc32(content, self._sums[name])
            file.write(content)
        self.written += len(next(iter(arrays.values())))

    def finish(self) -> dict[str, str]:
        """Bring everything to the disk; the checksum of each file, in hexadecimal."""
        assert self.written <= self.rows
        if self.written < self.rows:
            self._shorten()
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.close()
        sync_folder(self.folder)
        return {name: f"{value:08x}" for name, value in self._sums.items()}

    def _shorten(self) -> None:
        """Let the headers name the rows that there are."""
        for name, (dtype, shape) in self._layout.items():
            file = self._files[name]
            length = len(npy_header(dtype, (self.rows, *shape)))
            header = npy_header(dtype, (self.written, *shape), length)
            file.seek(0)
            file.write(header)
            file.flush()
            total = 0
            with (self.folder / name).open("rb") as stream:
                while piece := stream.read(_PIECE):
                    total = zlib.crc32(piece, total)
            self._sums[name] = total

    def close(self) -> None:
        """Close the files, finished or not."""
        for file in self._files.values():
            file.close()


def npy_header(dtype: np.dtype, shape: tuple[int, ...], length: int = 0) -> bytes:
    """What stands before the values in a .npy file of version 1.0, ``length`` bytes at least."""
    buffer = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    header = buffer.getvalue()
    if len(header) >= length:
        return header
    size = len(_MAGIC) + 2
    text = header[size:-1] + b" " * (length - len(header)) + b"\n"
    return _MAGIC + struct.pack("<H", len(text)) + text


def mapped(path: Path, checksum: str, dtype: torch.dtype, remedy: str) -> Tensor:
    """The array of a .npy file as a tensor over the mapped file, its checksum verified.

    ``dtype`` is torch's name for the stored bytes. A missing, short, damaged or foreign file is an
    :class:`IsthmusError` that names the file and ends in ``remedy``.
    """
    try:
        verify(path, checksum, remedy)
        with path.open("rb") as file:
            start, shape = _read_header(file)
        size = path.stat().st_size
        # Unlike a NumPy memory map, this holds no file descriptor: a store may have many shards.
        whole = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        return whole[start:].view(dtype).view(shape)
    except (OSError, RuntimeError, ValueError, SyntaxError, struct.error) as problem:
        raise _damaged(path, remedy) from problem


def verify(path: Path, checksum: str, remedy: str) -> None:
    """An error where the file's CRC-32 is another, or there is no file."""
    total = 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                total = zlib.crc32(piece, total)
    except FileNotFoundError:
        raise IsthmusError(f"{path} is missing: {remedy}") from None
    except OSError as problem:
        raise IsthmusError(f"{path} cannot be read ({problem.strerror}): {remedy}") from None
    if f"{total:08x}" != checksum:
        raise _damaged(path, remedy)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system allows it."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_header(file: BinaryIO) -> tuple[int, tuple[int, ...]]:
    """Where the values begin, and the shape."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("no .npy file of version 1.0")
    (length,) = struct.unpack("<H", file.read(2))
    about = ast.literal_eval(file.read(length).decode("latin1"))
    return len(_MAGIC) + 2 + length, tuple(about["shape"])


def _damaged(path: Path, remedy: str) -> IsthmusError:
    return IsthmusError(f"{path} is damaged (it does not match its checksum): {remedy}")
