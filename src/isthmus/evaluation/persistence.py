"""0-dimensional persistence: the scales at which separate points become one component."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.distance import cdist

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.arrays import matrix
from isthmus.evaluation.distances import all_pairs
from isthmus.evaluation.result import Result

Metric = Literal["euclidean", "precomputed"]


@dataclass(frozen=True, eq=False)
class Persistence:
    """A minimum spanning tree, shortest edge first.

    ``edges`` is ``(rows - 1, 2)``, numbers of rows with the lower one first; ``lengths`` is
    ``(rows - 1,)``. All components are born at 0 and one dies at each length, so ``lengths`` are
    the deaths of the diagram (the component that lives on is left out).
    """

    edges: np.ndarray
    lengths: np.ndarray


def spanning_tree(
    rows: int, distances_of: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """A minimum spanning tree: its edges ``(rows - 1, 2)``, in the order found, and their lengths.

    ``distances_of(row)`` ``(rows,)`` are the distances of one row from all; zeros are distances
    like any other, since rows may coincide. By Prim's algorithm (1957), from row 0: time grows with
    the square of the rows, memory linearly. Of equally short edges the one whose new row has the
    lowest number is taken, from the row that came first.
    """
    reach, nearest = np.full(rows, np.inf), np.zeros(rows, np.int64)
    outside = np.ones(rows, bool)
    edges, lengths = np.zeros((max(0, rows - 1), 2), np.int64), np.zeros(max(0, rows - 1))
    newest = 0
    for number in range(rows - 1):
        outside[newest] = False
        distances = distances_of(newest)
        closer = outside & (distances < reach)
        reach[closer], nearest[closer] = distances[closer], newest
        newest = int(np.where(outside, reach, np.inf).argmin())
        if not outside[newest]:  # every row left is infinitely far
            newest = int(outside.argmax())
        edges[number], lengths[number] = (nearest[newest], newest), reach[newest]
    return edges, lengths


def h0_persistence(X: Array, *, metric: Metric = "euclidean") -> Persistence:
    """0-dimensional persistence of the Vietoris-Rips filtration: its minimum spanning tree.

    ``X`` is ``(rows, *shape)``; with ``metric="precomputed"`` it is a symmetric ``(rows, rows)``
    matrix of distances, of which the diagonal is not read. A scale is the distance at which an edge
    appears, not half of it (as in Moor et al. 2020, and in Ripser).

    By Prim's algorithm (:func:`spanning_tree`); lengths do not depend on the order of the rows.
    Fewer than two or more than 50,000 rows, NaN and a matrix that is not symmetric are an
    :class:`IsthmusError`.
    """
    if metric not in ("euclidean", "precomputed"):
        raise unknown("metric", metric, ("euclidean", "precomputed"))
    x = matrix(X, "rows" if metric == "euclidean" else "distances", 2)
    all_pairs(len(x), "the minimum spanning tree")
    if metric == "precomputed":
        if x.shape[0] != x.shape[1] or not np.allclose(x, x.T):
            raise IsthmusError(
                f"the distances have the shape {x.shape} or are not symmetric: pass a symmetric "
                "(rows, rows) matrix"
            )
        if (x < 0).any():
            raise IsthmusError("the distances are negative somewhere: pass distances, not kernels")
    euclidean = metric == "euclidean"
    edges, lengths = spanning_tree(
        len(x), lambda row: cdist(x[row : row + 1], x)[0] if euclidean else x[row]
    )
    edges.sort(1)
    order = np.lexsort((edges[:, 1], edges[:, 0], lengths))
    return Persistence(edges[order], lengths[order])


def total_persistence(X: Array, *, metric: Metric = "euclidean") -> Result:
    """Summed length of the minimum spanning tree, in the units of ``X``.

    The total 0-dimensional persistence of degree 1; ``per`` has the lengths, shortest first.
    Arguments and errors as for :func:`h0_persistence`.
    """
    lengths = h0_persistence(X, metric=metric).lengths
    how = "summed lengths of the minimum spanning tree (Prim); no interval"
    value, n = float(lengths.sum()), len(lengths) + 1
    return Result("total_persistence", value, None, None, n, how, "data units", lengths)


def h0_distance(x: Array, z: Array, *, metric: Metric = "euclidean") -> Result:
    """How far the 0-dimensional diagrams of two sets of equally many rows lie apart.

    Each diagram is divided by its longest edge, since codes have no scale of their own; the value
    is then the mean absolute difference of the sorted lengths, the 1-Wasserstein distance of the
    lengths. 0 for a copy up to rotation, shift and scale; at most 1. ``per`` has the differences,
    shortest edge first. Sets of other sizes and rows that are all equal are an
    :class:`IsthmusError`, as is what :func:`h0_persistence` refuses.
    """
    first, second = (h0_persistence(rows, metric=metric).lengths for rows in (x, z))
    if len(first) != len(second):
        raise IsthmusError(
            f"the sets have {len(first) + 1} and {len(second) + 1} rows: pass as many of one as "
            "of the other"
        )
    if first[-1] == 0 or second[-1] == 0:
        raise IsthmusError("all rows of one set are equal: pass rows that differ")
    gaps = np.abs(first / first[-1] - second / second[-1])
    how = "mean difference of sorted spanning-tree lengths over the longest of each; no interval"
    value, n = float(gaps.mean()), len(gaps) + 1
    return Result("h0_distance", value, False, None, n, how, "fraction", gaps)
