"""Files of tensors, read a piece at a time: safetensors, NumPy archives, PyTorch's without pickles.

What a file holds is known from its header; a tensor is read when it is asked for, in blocks that go
straight to where they belong, so that reading takes the memory of the result and no more. (A
PyTorch file is mapped; one of the old kind, which is no archive, is read at once.)
"""

import ctypes
import json
import math
import mmap
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import IsthmusError

ENDINGS = (".safetensors", ".npz", ".pt", ".pth", ".bin")
_BLOCK = 1 << 24
"""Bytes that are read at once."""
_MOST_HEADER = 100_000_000
_SAFE = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its shape, and its type as stored (``float32``)."""

    shape: tuple[int, ...]
    dtype: str
    place: Any = field(default=None, repr=False)

    def part(self, at: int | None) -> "Entry":
        """What stands at an index of the first axis; ``place`` is a number of bytes, if any."""
        if at is None:
            return self
        shape, place = self.shape[1:], self.place
        if isinstance(place, int):
            place += at * math.prod(shape) * getattr(torch, self.dtype).itemsize
        return Entry(shape, self.dtype, place)


class TensorFile:
    """A file of named tensors. ``entries`` are all of them, ``values`` what else it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.values: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def blocks(self, name: str, at: int | None = None) -> Iterator[Tensor]:
        """The tensor, or what stands ``at`` an index of it, in pieces along its first axis."""
        raise NotImplementedError

    def read(
        self,
        name: str,
        dtype: torch.dtype | None = torch.float32,
        *,
        transposed: bool = False,
        at: int | None = None,
    ) -> Tensor:
        """A tensor, as ``dtype`` (None: as stored), a matrix ``transposed`` where asked.

        With ``at`` it is what stands at that index of the first axis.
        """
        entry = self.entries[name].part(at)
        kind = getattr(torch, entry.dtype) if dtype is None else dtype
        out = torch.empty(entry.shape[::-1] if transposed else entry.shape, dtype=kind)
        into, done = out.T if transposed else out, 0
        if not entry.shape:
            for block in self.blocks(name, at):
                into.copy_(block.reshape(()))
            return out
        for block in self.blocks(name, at):
            into[done : done + len(block)].copy_(block)
            done += len(block)
        return out

    def damaged(self, what: str) -> IsthmusError:
        """An error that names the file."""
        return IsthmusError(f"{self.path} is damaged ({what}): fetch it again")


class Safetensors(TensorFile):
    """A safetensors file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        size = path.stat().st_size
        with path.open("rb") as handle:
            start = handle.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MOST_HEADER
            if 8 + length > min(size, _MOST_HEADER):
                raise self.damaged("its header is cut off")
            try:
                header = json.loads(handle.read(length))
                self.values = dict(header.pop("__metadata__", None) or {})
                for name, about in header.items():
                    self._enter(name, about, 8 + length, size)
            except IsthmusError:
                raise
            except (ValueError, KeyError, TypeError, AttributeError):
                raise self.damaged("its header cannot be read") from None

    def _enter(self, name: str, about: Mapping[str, Any], base: int, size: int) -> None:
        dtype = _SAFE.get(about["dtype"])
        if dtype is None:
            raise IsthmusError(
                f"{self.path} stores {name} as {about['dtype']}, which is not read: convert it to "
                "float32 or bfloat16"
            )
        begin, end = (base + int(n) for n in about["data_offsets"])
        shape = tuple(int(n) for n in about["shape"])
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise self.damaged(f"{name} has another size than its shape says")
        if end > size:
            raise self.damaged(f"it ends before {name} does")
        self.entries[name] = Entry(shape, _named(dtype), begin)

    def blocks(self, name: str, at: int | None = None) -> Iterator[Tensor]:
        """The tensor, or what stands ``at`` an index of it, in pieces along its first axis."""
        entry = self.entries[name].part(at)
        dtype = getattr(torch, entry.dtype)
        with self.path.open("rb") as handle:
            handle.seek(entry.place)
            for rows, shape in _pieces(entry, dtype.itemsize):
                content = bytearray(rows * dtype.itemsize * math.prod(shape[1:]))
                handle.readinto(content)
                piece = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0)
                yield piece.reshape(shape)


class Archive(TensorFile):
    """An ``.npz`` of NumPy: its arrays are streamed, pickled ones are refused."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    with archive.open(member) as handle:
                        self._enter(member, handle)
        except IsthmusError:
            raise
        except (zipfile.BadZipFile, EOFError, ValueError):
            raise self.damaged("it is no whole archive of arrays") from None

    def _enter(self, member: str, handle: Any) -> None:
        shape, turned, dtype = _array_header(handle)
        name = member.removesuffix(".npy")
        if dtype.hasobject or dtype.kind not in "fiub":
            raise IsthmusError(
                f"{self.path} stores {name} as {dtype}, which may need a pickle and is not read: "
                "save plain arrays of numbers"
            )
        self.entries[name] = Entry(shape, dtype.name, (member, turned))

    def blocks(self, name: str, at: int | None = None) -> Iterator[Tensor]:
        """The tensor, or what stands ``at`` an index of it, in pieces along its first axis."""
        if at is not None:  # archives are read from their beginning
            yield self.read(name, None)[at]
            return
        entry = self.entries[name]
        member, turned = entry.place
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as handle:
                dtype = _array_header(handle)[2]
                if turned and len(entry.shape) > 1:  # written column by column
                    content = np.frombuffer(handle.read(), dtype)
                    yield torch.from_numpy(content.reshape(entry.shape, order="F").copy())
                    return
                for rows, shape in _pieces(entry, dtype.itemsize):
                    size = rows * dtype.itemsize * math.prod(shape[1:])
                    piece = np.frombuffer(bytearray(handle.read(size)), dtype)
                    yield torch.from_numpy(piece.reshape(shape).astype(dtype.newbyteorder("=")))
        except (zipfile.BadZipFile, EOFError, ValueError):
            raise self.damaged(f"{name} is cut off or does not match its checksum") from None


class Pickled(TensorFile):
    """A file of ``torch.save``, of which tensors and plain values alone are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._tensors: dict[str, Tensor] = {}
        content, self._mapped = _loaded(path)
        self._spread("", content)
        for name, tensor in self._tensors.items():
            self.entries[name] = Entry(tuple(tensor.shape), _named(tensor.dtype))

    def _spread(self, prefix: str, content: Any) -> None:
        if not isinstance(content, Mapping):
            raise IsthmusError(
                f"{self.path} holds a {type(content).__name__}, not tensors by name: save a "
                "state_dict()"
            )
        for name, value in content.items():
            if isinstance(value, Mapping):
                self._spread(f"{prefix}{name}.", value)
            elif isinstance(value, Tensor):
                self._tensors[f"{prefix}{name}"] = value.detach()
            else:
                self.values[f"{prefix}{name}"] = value

    def blocks(self, name: str, at: int | None = None) -> Iterator[Tensor]:
        """The tensor, or what stands ``at`` an index of it, in pieces along its first axis."""
        tensor = self._tensors[name] if at is None else self._tensors[name][at]
        if not tensor.ndim:
            yield tensor
            return
        each = max(1, _BLOCK // max(1, tensor[:1].numel() * tensor.element_size()))
        for block in tensor.split(each):
            yield block
            if self._mapped:
                _give_back(block)


def open_tensors(path: Path) -> TensorFile:
    """The file, opened by its ending; its tensors are not read yet."""
    try:
        if path.suffix == ".safetensors":
            return Safetensors(path)
        if path.suffix == ".npz":
            return Archive(path)
        if path.suffix in ENDINGS:
            return Pickled(path)
    except FileNotFoundError:
        raise IsthmusError(f"{path} does not exist: check the path") from None
    raise IsthmusError(f"{path} is no file of tensors: these end in {', '.join(ENDINGS)}")


def _give_back(block: Tensor) -> None:
    """Take the pages of a block that is mapped out of memory; the file has them.

    They count as memory of the process until the file is closed, and reading would take twice what
    a model does. Whole pages alone: those at the ends hold what else is needed.
    """
    if sys.platform != "linux" or not block.is_contiguous():
        return
    begin = -(-block.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (block.data_ptr() + block.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin:
        ctypes.CDLL(None).madvise(
            ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED
        )


def _loaded(path: Path) -> tuple[Any, bool]:
    """What a file holds, and whether it is mapped."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other protocols, which are read or refused
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True), True
            except RuntimeError:  # the old kind, which is no archive and cannot be mapped
                return torch.load(path, map_location="cpu", weights_only=True), False
    except pickle.UnpicklingError:
        raise IsthmusError(
            f"{path} holds more than tensors and plain values, and such a pickle can run code: "
            "save a state_dict(), or convert it to safetensors where you trust it"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as problem:
        if isinstance(problem, FileNotFoundError):
            raise
        raise IsthmusError(f"{path} is damaged (it cannot be read): fetch it again") from None


def _array_header(handle: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(handle)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    return read(handle)


def _pieces(entry: Entry, itemsize: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Rows and shape of each block; a number is one block of one row."""
    if not entry.shape:
        yield 1, (1,)
        return
    rest = entry.shape[1:]
    each = max(1, _BLOCK // max(1, math.prod(rest) * itemsize))
    for start in range(0, entry.shape[0], each):
        rows = min(each, entry.shape[0] - start)
        yield rows, (rows, *rest)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
