"""How data are put into a page: as inert script blocks that nothing in them can leave.

Every block is ``<script type="application/json">``, which browsers never run. In plain blocks
everything but ASCII, and the characters that could end a block or begin a comment, are escaped;
packed blocks are base64.
"""

import base64
import gzip
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

Detail = dict[str, Any]
"""What the page shows of one latent, in the short keys that its scripts read."""


def block(name: str, value: Any) -> str:
    """A plain block with the id ``name``, which the page parses when it opens."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def packed(value: Any, binary: bytes = b"") -> str:
    """Compressed JSON with bytes behind it, in base64, for a block that is opened on demand.

    Unpacked: the length of the JSON as four bytes, little end first, the JSON, then ``binary``.
    """
    head = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    content = len(head).to_bytes(4, "little") + head + binary
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def array(values: np.ndarray) -> dict[str, str]:
    """An array of int32 or float32 for a plain block: its dtype and its bytes in base64."""
    kind = "i4" if values.dtype.kind in "iu" else "f4"
    plain = np.ascontiguousarray(values.ravel(), dtype=f"<{kind}")
    return {"dtype": kind, "data": base64.b64encode(plain.tobytes()).decode()}


def short(values: Iterable[float], digits: int = 4) -> list[float | None]:
    """Numbers with as many digits as are shown; None for what is not finite."""
    form, finite = f".{digits}g", math.isfinite
    return [float(format(value, form)) if finite(value) else None for value in values]


def number(value: float | None, digits: int = 6) -> float | None:
    """One number with as many digits as are shown; None where it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


class Binary:
    """Bytes of one packed block, put behind one another; ``add`` returns where they lie."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, values: np.ndarray) -> list[int]:
        """Put bytes or float32 values down, at a multiple of four; ``[start, length in bytes]``."""
        content = np.ascontiguousarray(values).tobytes()
        padding = -self._length % 4
        self._parts += [b"\0" * padding, content]
        place = [self._length + padding, len(content)]
        self._length += padding + len(content)
        return place

    def bytes(self) -> bytes:
        return b"".join(self._parts)
