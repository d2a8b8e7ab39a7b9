"""Distances between rows in pieces, and nearest neighbours."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from isthmus.errors import IsthmusError

PIECE = 2**23
"""Distances held at once, 64 MiB in float64."""

LARGEST = 50_000
"""Rows that are compared with one another at most: the time grows with their square."""

_FEW = 32
"""Elements up to which differences are taken one by one; beyond, a matrix product is faster."""


def all_pairs(rows: int, what: str) -> None:
    """An error where comparing every row with every other would take too long."""
    if rows > LARGEST:
        raise IsthmusError(
            f"{what} compares every row with every other, at most {LARGEST} rows, not {rows}: pass "
            "a random sample"
        )


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, ``(len(a), len(b))``.

    Rows of more than 32 elements should be centred: a common offset cancels in the product.
    """
    if a.shape[1] <= _FEW:
        return cdist(a, b, "sqeuclidean")
    squares = a @ b.T
    squares *= -2
    squares += np.einsum("ij,ij->i", a, a)[:, None]
    squares += np.einsum("ij,ij->i", b, b)
    return np.maximum(squares, 0, out=squares)


def pieces(rows: int, width: int) -> Iterator[slice]:
    """Slices of ``rows`` rows whose distances to ``width`` others are held at once."""
    step = max(1, PIECE // width)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def own_distances(x: np.ndarray, part: slice) -> np.ndarray:
    """Distances of the rows of one slice to all rows, exactly 0 of each row to itself."""
    squares = squared_distances(x[part], x)
    squares[np.arange(len(squares)), np.arange(part.start, part.stop)] = 0
    return np.sqrt(squares, out=squares)


def nearest(
    queries: np.ndarray, data: np.ndarray, k: int, *, own: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the ``k`` nearest rows of ``data``, nearest first, and their numbers.

    Both ``(len(queries), k)``. With ``own`` row i of ``data`` is not counted as a neighbour of
    query i. Memory is linear in the rows.
    """
    # Slow to import, and only this needs it.
    from sklearn.neighbors import NearestNeighbors

    middle = data.mean(0)
    search = NearestNeighbors(n_neighbors=k + own).fit(data - middle)
    distances, numbers = search.kneighbors(queries - middle)
    if not own:
        return distances, numbers
    # Among equal rows the search may name others first, and even leave the row itself out.
    other = numbers != np.arange(len(queries))[:, None]
    other[other.all(1), -1] = False
    return distances[other].reshape(-1, k), numbers[other].reshape(-1, k)
