"""The parts of a collection as columns of one table, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError


@dataclass(frozen=True)
class Layout:
    """Where each part stands in rows that hold all of them side by side.

    ``shapes`` are those of the parts, and ``places`` their columns, by name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    places: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, signal: Signal) -> "Layout":
        """The layout of a collection; an error for parts that are no numbers of fixed shape."""
        places, start = {}, 0
        for name, part in signal.parts.items():
            if not part.is_real or part.ragged:
                raise IsthmusError(
                    f"methods are compared on numbers, and {name!r} is a {part}: leave it out"
                )
            places[name] = np.arange(start, start + part.numel)
            start += part.numel
        return cls({name: part.shape for name, part in signal.parts.items()}, places)

    def apart(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """``(rows, all columns)`` as an array for each part."""
        return {
            name: np.ascontiguousarray(flat[:, places]).reshape(len(flat), *self.shapes[name])
            for name, places in self.places.items()
        }

    def together(self, parts: Mapping[str, Any]) -> np.ndarray:
        """An array for each part as ``(rows, all columns)``."""
        return np.concatenate(
            [np.asarray(parts[name]).reshape(len(parts[name]), -1) for name in self.places], 1
        )

    def kept(self, columns: np.ndarray) -> "Layout":
        """The same where only some columns are left, as a mask over all of them."""
        number = np.cumsum(columns) - 1
        places = {name: number[index[columns[index]]] for name, index in self.places.items()}
        shapes = {
            name: shape if len(places[name]) == prod(shape) else (len(places[name]),)
            for name, shape in self.shapes.items()
        }
        empty = next((name for name, index in places.items() if not len(index)), None)
        if empty is not None:
            raise IsthmusError(f"nothing of {empty!r} varies: leave it out")
        return replace(self, shapes=shapes, places=places)
