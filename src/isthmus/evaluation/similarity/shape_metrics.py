"""Distances between representations as shapes: what is left after the best rotation."""

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.result import Result
from isthmus.evaluation.similarity.paired_rows import directions, paired


def procrustes(a: Array, b: Array) -> Result:
    """``min over rotations Q and one scale c of |A - c B Q|^2``, with A and B centred, of norm 1.

    Schönemann 1966, doi:10.1007/BF02289451; Gower, Dijksterhuis 2004. From 0, the same shape, to 1.
    Arrays of fewer columns are filled up with zeros.
    """
    first, second = paired(a, b)
    alike = _overlap(first, second)
    return Result(
        "procrustes", 1.0 - alike**2, None, None, len(first),
        "squared distance of the centred arrays of norm 1 after the best rotation, reflection and "
        "scale; no interval", "share of the squared norm",
    )  # fmt: skip


def shape_distance(a: Array, b: Array, *, alpha: float = 1.0) -> Result:
    """The angle between two representations after the best rotation: a metric, in radians.

    Williams, Kunz, Kornblith, Linderman, Generalized shape metrics on neural representations, 2021,
    arXiv:2110.14739, section 2. ``alpha`` = 1 compares them as they are (Procrustes: rotations are
    ignored), 0 after whitening (canonical correlations: all linear maps are ignored), and between
    the two a share ``1 - alpha`` of each is whitened. It obeys the triangle inequality at any one
    ``alpha``, so that models may be clustered or laid out by it. From 0 to pi / 2.
    """
    if not 0.0 <= alpha <= 1.0:
        raise IsthmusError(f"alpha={alpha} is no share: choose one from 0 to 1")
    shapes = []
    for rows in paired(a, b):
        columns, sizes = directions(rows)
        # Up to a rotation the rows are columns times sizes, and the whitened ones the columns.
        shapes.append(columns * (alpha * sizes / sizes[0] + 1.0 - alpha))
    angle = float(np.arccos(np.clip(_overlap(*shapes), -1.0, 1.0)))
    return Result(
        "shape_distance", angle, None, None, len(shapes[0]),
        f"angle after the best rotation, alpha={alpha:g}; no interval", "radians",
    )  # fmt: skip


def _overlap(x: np.ndarray, y: np.ndarray) -> float:
    """The largest inner product of two arrays of norm 1 over rotations of one of them."""
    # Of many columns the nuclear norm of the cross product follows from factors of fewer.
    singular = np.linalg.svd(x.T @ y, compute_uv=False)
    return float(singular.sum() / (np.linalg.norm(x) * np.linalg.norm(y)))
