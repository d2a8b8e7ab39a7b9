"""What each method makes of a few test rows, kept for the page: reconstructions, worst rows."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from isthmus.comparison.methods import Fitted
from isthmus.comparison.prepared import Split
from isthmus.comparison.tasks import squared_errors
from isthmus.runs import write_atomically

FILE = "examples.npz"
SEED = 0
"""The seed whose split and fits the examples are of."""
SHOWN, WORST = 8, 6
SIDE = 64
"""Images are kept at most this many pixels high and wide."""
COLUMNS = 40
"""Columns up to which rows without names are a table, too."""
MOST = 4096
"""Elements up to which other rows are kept whole."""


@dataclass
class Worst:
    """The test rows that a method rebuilds worst, the worst first.

    ``rows`` are their numbers among all rows, ``errors`` their mean squared errors; ``x`` and
    ``rebuilt`` ``(rows, elements)`` are in standard deviations of the training rows.
    """

    rows: np.ndarray
    errors: np.ndarray
    x: np.ndarray
    rebuilt: np.ndarray


@dataclass
class Examples:
    """A few test rows ``x`` of the first seed, and what methods make of them, by name.

    ``kind`` is "image", "series", "table" or "vector"; ``columns`` names those of a table.
    """

    kind: str = ""
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    x: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    columns: tuple[str, ...] = ()
    rebuilt: dict[str, np.ndarray] = field(default_factory=dict)
    worst: dict[str, Worst] = field(default_factory=dict)

    def add(self, name: str, fitted: Fitted, part: Split) -> None:
        """Keep what a method makes of the rows of the first seed's split."""
        kind = kind_of(part)
        if not kind or (kind != "image" and part.flat_test.shape[1] > MOST):
            return
        at = np.linspace(0, len(part.test) - 1, min(SHOWN, len(part.test))).astype(int)
        numbers = part.test_rows
        places = tuple(f"column {k}" for k in range(part.flat_test.shape[1]))
        self.kind = kind
        self.columns = (part.columns or places) if kind == "table" else ()
        self.rows, self.x = numbers[at], _small(part.test[at], kind)
        if kind != "table":
            recon = fitted.rebuilt(part.test[at])
            if recon is not None:
                self.rebuilt[name] = _small(recon, kind)
            return
        recon = fitted.rebuilt(part.test)
        if recon is None:
            return
        true, again = part.flat_test, recon.reshape(len(recon), -1)
        errors = squared_errors(true, again)
        order = np.argsort(-errors, kind="stable")[:WORST]
        self.worst[name] = Worst(
            numbers[order], errors[order], true[order].astype(np.float32),
            again[order].astype(np.float32),
        )  # fmt: skip

    def join(self, other: "Examples") -> None:
        """Add what other methods make of the same rows."""
        if other.kind:
            self.kind, self.columns, self.rows, self.x = (
                other.kind, other.columns, other.rows, other.x
            )  # fmt: skip
            self.rebuilt |= other.rebuilt
            self.worst |= other.worst


def kind_of(part: Split) -> str:
    """How the rows of a split are shown; empty where they are not."""
    axes = part.train.ndim
    if part.layout is not None:
        return ""
    if part.reads == "image" and axes == 4:
        return "image"
    if part.reads == "series" and axes == 3:
        return "series"
    if axes != 2:
        return ""
    return "table" if part.columns or part.train.shape[1] <= COLUMNS else "vector"


def write(folder: Path, found: Examples) -> None:
    """Keep the examples beside the results."""
    if not found.kind:
        return
    arrays: dict[str, Any] = {
        "kind": np.array(found.kind), "rows": found.rows, "x": found.x,
        "columns": np.array(found.columns, dtype=np.str_),
    }  # fmt: skip
    for place, (name, rows) in enumerate(found.rebuilt.items()):
        arrays[f"rebuilt/{place}/name"], arrays[f"rebuilt/{place}/rows"] = np.array(name), rows
    for place, (name, worst) in enumerate(found.worst.items()):
        arrays[f"worst/{place}/name"] = np.array(name)
        for part in ("rows", "errors", "x", "rebuilt"):
            arrays[f"worst/{place}/{part}"] = getattr(worst, part)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(folder / FILE, buffer.getvalue())


def read(folder: Path) -> Examples:
    """What :func:`write` kept; nothing where there is no such file, or no readable one."""
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        examples = Examples(
            str(arrays["kind"]), arrays["rows"], arrays["x"], tuple(map(str, arrays["columns"]))
        )
        for place in _numbered(arrays, "rebuilt"):
            examples.rebuilt[str(arrays[f"{place}/name"])] = arrays[f"{place}/rows"]
        for place in _numbered(arrays, "worst"):
            parts = {part: arrays[f"{place}/{part}"] for part in ("rows", "errors", "x", "rebuilt")}
            examples.worst[str(arrays[f"{place}/name"])] = Worst(**parts)
    except (OSError, ValueError, KeyError, EOFError):
        return Examples()
    return examples


def _numbered(arrays: Mapping[str, Any], what: str) -> list[str]:
    places = {name.rpartition("/")[0] for name in arrays if name.startswith(f"{what}/")}
    return sorted(places, key=lambda place: int(place.rpartition("/")[2]))


def _small(rows: np.ndarray, kind: str) -> np.ndarray:
    """Rows as float32, images no larger than they are shown."""
    array = np.ascontiguousarray(rows, dtype=np.float32)
    if kind != "image":
        return array
    shrink = math.ceil(max(array.shape[2:]) / SIDE)
    if shrink <= 1:
        return array
    size = tuple(max(1, side // shrink) for side in array.shape[2:])
    small: np.ndarray = F.adaptive_avg_pool2d(torch.from_numpy(array), size).numpy()
    return small
