"""How examples of each kind are drawn: images, series, rows of a table, texts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isthmus import runs
from isthmus.anatomy import Autoencoder, Signal, Source
from isthmus.errors import IsthmusError
from isthmus.pictures import panels
from isthmus.pictures.panels import in_colour
from isthmus.pictures.sheet import Panel

SMALL_MULTIPLES = 40
"""Elements of a vector up to which each is a column of its own; longer ones are curves."""
COLUMNS = 20
"""Columns of a table that are drawn at most."""


@dataclass(frozen=True)
class Drawn:
    """How rows of one array are drawn; ``columns`` names the elements of rows of a table."""

    signal: Signal
    low: float = 0.0
    high: float = 1.0
    columns: tuple[str, ...] = ()

    @property
    def is_image(self) -> bool:
        return self.signal.kind == "image"

    @property
    def is_text(self) -> bool:
        return self.signal.kind == "tokens"

    def side_by_side(self, title: str, groups: Mapping[str, Any], across: int = 12) -> Panel:
        """Groups of the same rows above one another, or overlaid where they are curves."""
        if self.is_text:
            columns = {name: texts_of(rows) for name, rows in groups.items()}
            return panels.texts(title, [*zip(*columns.values(), strict=True)], [*columns])
        if self.is_image:
            images = np.stack([self.colours(rows)[:across] for rows in groups.values()])
            return panels.mosaic(title, images, [*groups])
        return panels.curves(title, {n: self.series(rows) for n, rows in groups.items()})

    def many(
        self,
        title: str,
        rows: Any,
        against: Any = None,
        across: int | None = None,
        columns: int = COLUMNS,
    ) -> Panel:
        """Rows as they are: a square of images, small multiples of curves, columns' histograms.

        ``across`` is the number of images in a row, where they are to make no square; of a table
        the first ``columns`` are drawn.
        """
        if self.is_text:
            return panels.texts(title, [[one] for one in texts_of(rows)])
        if self.is_image:
            colours = self.colours(rows)
            across = across or min(16, math.ceil(math.sqrt(len(colours))))
            missing = -len(colours) % across
            filled = np.concatenate([colours, np.full((missing, *colours.shape[1:]), np.nan)])
            return panels.mosaic(title, filled.reshape(-1, across, *colours.shape[1:]))
        if self.columns:
            groups = {"data": against, "samples": rows} if against is not None else {"": rows}
            return panels.histograms(title, _by_column(groups, self.columns[:columns]))
        return panels.curves(title, {"": self.series(rows)}, across=8, height=0.6)

    def colours(self, rows: Any) -> np.ndarray:
        """Images as RGB, ``(n, height, width, 3)``."""
        images = np.asarray(rows, dtype=np.float32).reshape(-1, *self.signal.shape)
        return in_colour(images, self.low, self.high)

    def series(self, rows: Any) -> np.ndarray:
        """``(n, steps, channels)``; vectors have one channel."""
        values = np.asarray(rows, dtype=np.float64)
        if self.signal.kind == "series":
            return values.reshape(len(values), *values.shape[1:3])
        return values.reshape(len(values), -1, 1)


def drawn_of(
    model: Autoencoder, rows: Any = None, source: Source | None = None
) -> dict[str, Drawn]:
    """How the parts of what a model rebuilds are drawn, by name; ``""`` where there is one.

    ``rows`` are some of them as read, for the range of images that have none of their own.
    """
    signal = model.signal
    if signal.kind == "collection":
        parts = dict(signal.parts)
        if rows is not None and not isinstance(rows, Mapping):  # one part that is written
            names: tuple[str, ...] = getattr(model.target, "names", ())
            return {"": _drawn(parts[names[0]], rows, ())}
        if isinstance(rows, Mapping):
            parts = {name: part for name, part in parts.items() if name in rows}
        return {n: _drawn(s, None if rows is None else rows[n], ()) for n, s in parts.items()}
    names = ()
    if signal.kind == "vector":
        names = columns_of(model, source)
    return {"": _drawn(signal, rows, names)}


def _drawn(signal: Signal, rows: Any, names: tuple[str, ...]) -> Drawn:
    if signal.kind == "graph":
        raise IsthmusError("graphs cannot be drawn: look at the numbers of isthmus evaluate")
    low, high = signal.low, signal.high
    if (low is None or high is None) and signal.kind == "image" and rows is not None:
        low, high = float(np.min(rows)), float(np.max(rows))
    return Drawn(signal, 0.0 if low is None else low, 1.0 if high is None else high, names)


def columns_of(model: Autoencoder, source: Source | None = None) -> tuple[str, ...]:
    """The names of a table's features, or their places where a short vector has none; else none.

    Rows whose directions are all that matters (those of dictionaries) have no columns.
    """
    number = model.signal.numel
    preparation = (getattr(model.preparation, "parts", None) or {}).get("")
    candidates = [getattr(preparation, "features", None)]
    if source is not None:
        base, _ = source.base(torch.arange(0))
        candidates += [source.columns, base.columns]
    for names in candidates:
        if names is not None and len(names) == number:
            return tuple(str(name) for name in names)
    if model.atoms() is None and number <= SMALL_MULTIPLES:
        return tuple(f"column {place}" for place in range(number))
    return ()


def _by_column(groups: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    arrays = {name: np.asarray(rows).reshape(len(rows), -1) for name, rows in groups.items()}
    return {
        column: {name: rows[:, place] for name, rows in arrays.items()}
        for place, column in enumerate(names)
    }


def texts_of(rows: Any) -> list[str]:
    """Texts as they are, rows of tokens as their numbers."""
    if isinstance(rows, np.ndarray) or hasattr(rows, "tolist"):
        rows = rows.tolist()
    texts = []
    for row in rows:
        if isinstance(row, bytes):
            texts.append(row.decode(errors="replace"))
        elif isinstance(row, str):
            texts.append(row)
        else:
            texts.append(" ".join(str(int(token)) for token in np.asarray(row).ravel()))
    return texts


def opened(model: Autoencoder, X: Any) -> Source:
    """The rows as the model reads them: of a named set with a test part, that part."""
    source = runs.held_out_source(X, model)
    runs.check_fit(model, source)
    return source


def some(source: Source, number: int) -> torch.Tensor:
    """Numbers of rows spread evenly: the first ones often come from one class or document."""
    return torch.linspace(0, len(source) - 1, min(number, len(source))).long()
