"""Pixels as an image that lies in the page, for pages without a script."""

import base64
import struct
import zlib

import numpy as np

from isthmus.pages.kit.markup import Html, tag


def png(pixels: np.ndarray) -> bytes:
    """A PNG of bytes ``(height, width)`` in grey, or ``(height, width, 3)`` in colour."""
    rows = np.ascontiguousarray(pixels, dtype=np.uint8)
    height, width = rows.shape[:2]
    lines = rows.reshape(height, -1)
    # Each line begins with the number of its filter: none.
    content = np.concatenate([np.zeros((height, 1), np.uint8), lines], 1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if rows.ndim == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(content, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def picture(pixels: np.ndarray, about: str, times: int = 1) -> Html:
    """An image of :func:`png` that says what it shows; each pixel ``times`` as high and wide."""
    height, width = pixels.shape[:2]
    address = f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"
    return tag(
        "img", src=address, alt=about, title=about, width=width * times, height=height * times,
        class_="picture",
    )  # fmt: skip


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
