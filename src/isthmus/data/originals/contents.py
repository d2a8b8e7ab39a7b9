"""A data set's contents: their hash, whatever packs them, and how they are written to a file."""

import gzip
import hashlib
import io
import lzma
from collections.abc import Mapping
from pathlib import PurePath

import numpy as np

Contents = Mapping[str, np.ndarray] | bytes
"""Named arrays, or the unpacked bytes of a text or a table."""


def contents(of: Contents) -> str:
    """SHA-256 of what a data set holds, the same however it is packed.

    Of bytes it is theirs. Of arrays it is that of each one's name, type, shape and entries, by
    name: two archives of one hash give the same arrays, to the bit.
    """
    if isinstance(of, bytes):
        return hashlib.sha256(of).hexdigest()
    digest = hashlib.sha256()
    for name in sorted(of):
        array = np.ascontiguousarray(of[name])
        shape = np.shape(of[name])  # that of a number is (), which contiguous memory has not
        digest.update(f"{name}\0{array.dtype.str}\0{shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def written(of: Contents, name: str) -> bytes:
    """The bytes of a file of that name: ``.npz`` of arrays; bytes as ``.gz``, ``.xz`` or plain."""
    if not isinstance(of, bytes):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **of)
        return buffer.getvalue()
    ending = PurePath(name).suffix
    if ending == ".gz":
        return gzip.compress(of, mtime=0)
    return lzma.compress(of) if ending == ".xz" else of
