"""On which axes of an activation rows, places and features lie, found from a few tokens."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from isthmus.errors import IsthmusError

SIZES = ((2, 3), (3, 5))
"""Rows and places of the passes that tell: the second only where the first leaves a doubt."""


@dataclass(frozen=True)
class Layout:
    """Axes of a tensor with one vector for each token; ``flat`` has rows and places as one."""

    rows: int
    places: int
    features: int
    flat: bool = False

    def by_place(self, point: str, tensor: Tensor, rows: int, places: int) -> Tensor:
        """As ``(rows, places, width)``; experts and routers see the two first axes as one."""
        shape = tuple(tensor.shape)
        if self.flat and len(shape) == 2 and shape[0] == rows * places:
            return tensor.reshape(rows, places, -1)
        if not self.flat and len(shape) == 3:
            plain = tensor.permute(self.rows, self.places, self.features)
            if tuple(plain.shape[:2]) == (rows, places):
                return plain
        raise not_by_token(point, shape, rows, places)


def layouts(
    shapes: Callable[[int, int], dict[str, tuple[int, ...]]], most: int
) -> tuple[dict[str, Layout], dict[str, int]]:
    """The layout and the width of each point.

    ``shapes(rows, places)`` runs so many tokens and gives the points' shapes; rows have at most
    ``most`` places.
    """
    rows, places = SIZES[0][0], min(SIZES[0][1], most)
    first = shapes(rows, places)
    fitting = {point: _fitting(shape, rows, places) for point, shape in first.items()}
    for point, choices in fitting.items():
        if not choices:
            raise not_by_token(point, first[point], rows, places)
    if any(len(choices) > 1 for choices in fitting.values()):
        rows, places = SIZES[1][0], min(SIZES[1][1], most)
        second = shapes(rows, places)
        for point, shape in second.items():
            both = [one for one in fitting[point] if one in _fitting(shape, rows, places)]
            same = [one for one in both if first[point][one.features] == shape[one.features]]
            fitting[point] = same or both or fitting[point]
    by_point = {point: choices[0] for point, choices in fitting.items()}
    return by_point, {point: first[point][layout.features] for point, layout in by_point.items()}


def _fitting(shape: tuple[int, ...], rows: int, places: int) -> list[Layout]:
    """Layouts that a shape allows, the usual one first."""
    if len(shape) == 2 and shape[0] == rows * places:
        return [Layout(0, 0, 1, flat=True)]
    if len(shape) != 3:
        return []
    orders = ((0, 1, 2), (1, 0, 2), (0, 2, 1), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return [Layout(a, b, c) for a, b, c in orders if (shape[a], shape[b]) == (rows, places)]


def not_by_token(point: str, shape: tuple[int, ...], rows: int, places: int) -> IsthmusError:
    """The error for a point that does not hold one vector a token."""
    return IsthmusError(
        f"{point!r} gives the shape {shape} for {rows} rows of {places} tokens, where "
        f"({rows}, {places}, width) is needed: name a module that works token by token"
    )
