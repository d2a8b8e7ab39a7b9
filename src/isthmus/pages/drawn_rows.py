"""Rows of data as the page draws them: small images in bytes, or vectors in float32."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from isthmus.anatomy import Autoencoder, Signal, Source
from isthmus.pages.kit.blocks import Binary, packed

SIDE = 64
"""Images are drawn at most this many pixels high and wide."""

MOST_COLUMNS = 2048
"""Elements of a vector that are drawn; of a longer one, as many at even distances."""

MOST_NAMES = 40
"""Columns that a table shows."""

POOL = 12 << 20
"""Bytes of the rows that examples are chosen from."""

BLOCK = 256
"""Rows in one packed block of the pool."""


@dataclass
class Inputs:
    """How rows of a signal are drawn.

    ``low`` and ``high`` are the values of black and white. ``names`` are those of the columns of
    a vector, where they are known and few enough for a table. Lines over columns that the model
    standardises are drawn in standard deviations, by ``offset`` and ``scale``: in the user's units
    the column of the largest numbers would hide all others.
    """

    signal: Signal
    low: float = 0.0
    high: float = 1.0
    names: list[str] = field(default_factory=list)
    offset: np.ndarray | None = None
    scale: np.ndarray | None = None

    @property
    def is_image(self) -> bool:
        return self.signal.kind == "image"

    @property
    def channels(self) -> int:
        """Colours of an image; lines of a series."""
        shape = self.signal.shape
        if self.is_image:
            return 3 if shape[0] == 3 else 1
        return shape[1] if self.signal.kind == "series" else 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image as drawn."""
        _, height, width = self.signal.shape
        shrink = max(1, -(-max(height, width) // SIDE))
        return max(1, height // shrink), max(1, width // shrink)

    @property
    def bytes(self) -> int:
        """Bytes of one row as drawn."""
        if self.is_image:
            return self.size[0] * self.size[1] * self.channels
        return 4 * min(self.signal.numel, MOST_COLUMNS)

    def setting(self) -> dict[str, Any]:
        """What the page's scripts have to know to draw rows."""
        if self.is_image:
            height, width = self.size
            return {"kind": "image", "height": height, "width": width, "channels": self.channels}
        standard = self.scale is not None
        return {
            "kind": "vector", "channels": self.channels, "names": self.names, "standard": standard,
        }  # fmt: skip

    def drawn(self, rows: np.ndarray) -> np.ndarray:
        """Rows ``(n, *shape)`` in the user's units as what is stored: bytes, or float32."""
        if not self.is_image:
            # A table of named columns has room for each column's own units.
            if self.scale is not None and not self.names:
                rows = (rows - self.offset) / self.scale
            return self._thinned(rows)
        scale = 255.0 / max(self.high - self.low, 1e-12)
        return ((self._shrunk(rows) - self.low) * scale).round().clip(0, 255).astype(np.uint8)

    def change(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Differences ``(n, elements)`` as int8, and the value that 127 stands for, ``(n,)``."""
        rows = rows.reshape(-1, *self.signal.shape)
        if self.scale is not None:
            rows = rows / self.scale
        plain = self._shrunk(rows) if self.is_image else self._thinned(rows)
        flat = plain.reshape(len(plain), -1)
        most = np.abs(flat).max(1)
        scaled = flat / np.where(most > 0, most, 1.0)[:, None] * 127
        return scaled.round().astype(np.int8), most

    def small(self, rows: np.ndarray) -> np.ndarray:
        """Rows no larger than drawn, flat, to be compared: ``(n, elements)`` float32.

        Columns that the model standardises are in standard deviations.
        """
        if self.is_image:
            return self._shrunk(rows).reshape(len(rows), -1)
        return self._thinned(rows if self.scale is None else (rows - self.offset) / self.scale)

    def _shrunk(self, rows: np.ndarray) -> np.ndarray:
        """Images ``(n, height, width, channels)`` no larger than drawn."""
        x = torch.as_tensor(np.ascontiguousarray(rows, dtype=np.float32))
        if x.shape[1] != self.channels:
            x = x[:, :3].mean(1, keepdim=True)
        if tuple(x.shape[2:]) != self.size:
            x = F.adaptive_avg_pool2d(x, self.size)
        return x.movedim(1, -1).numpy()

    def _thinned(self, rows: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(rows, dtype=np.float32).reshape(len(rows), -1)
        if flat.shape[1] <= MOST_COLUMNS:
            return flat
        return flat[:, np.linspace(0, flat.shape[1] - 1, MOST_COLUMNS).astype(int)]


def inputs_of(model: Autoencoder, rows: np.ndarray, source: Source) -> Inputs:
    """How to draw rows like these; ``source`` may know the names of their columns."""
    signal, scaler = model.signal, model.scaler
    low, high = signal.low, signal.high
    if low is None or high is None:
        low, high = float(rows.min()), float(rows.max())
    inner, _ = source.base(torch.arange(0))
    names = [str(name) for name in inner.columns or []]
    if len(names) != signal.numel or len(names) > MOST_NAMES:
        names = []
    if signal.kind == "image" or not scaler.by_column:
        return Inputs(signal, low, high, names)
    offset, scale = (t.detach().cpu().numpy() for t in (scaler.offset, scaler.scale))
    return Inputs(signal, low, high, names, offset, scale)


def first_rows(source: Source, most: int) -> np.ndarray:
    """The first rows of a source, ``(n, *shape)``."""
    return source.rows(torch.arange(min(most, len(source)))).numpy()


def pool(inputs: Inputs, rows: np.ndarray, used: np.ndarray) -> dict[str, str]:
    """Packed blocks of ``rows`` for the page, by name; rows that are not ``used`` are left out."""
    blocks = {}
    for start in range(0, len(rows), BLOCK):
        indices = [k for k in range(start, min(start + BLOCK, len(rows))) if used[k]]
        if not indices:
            continue
        binary = Binary()
        drawn = inputs.drawn(rows[indices])
        places = {str(k): binary.add(drawn[i]) for i, k in enumerate(indices)}
        blocks[f"pool-{start // BLOCK}"] = packed(places, binary.bytes())
    return blocks
