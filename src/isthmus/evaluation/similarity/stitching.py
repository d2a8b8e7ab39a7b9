"""Stitching: can one representation stand in for another, after a linear map?"""

from collections.abc import Callable

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import matrix, same_rows
from isthmus.evaluation.result import Result
from isthmus.evaluation.similarity.paired_rows import paired, scaled

Head = Callable[[np.ndarray], Array]
"""What is computed from rows of the second array: the rest of its model, say."""

PENALTIES = 10.0 ** np.arange(-8.0, 5.0)
"""Ridge penalties that are tried, in units of the mean squared singular value."""


def stitching(a: Array, b: Array, head: Head | None = None, *, seed: int = 0) -> Result:
    """How much of what follows from ``b`` follows from a linear map of ``a`` to it, on new rows.

    Lenc, Vedaldi, Understanding image representations by measuring their equivariance and
    equivalence, 2015, arXiv:1411.5908; Bansal, Nakkiran, Barak, Revisiting model stitching, 2021,
    arXiv:2106.07682, who train the map by the loss of the whole model. Here it is a ridge
    regression, fitted to half of the rows (drawn by ``seed``), whose penalty of each column leaves
    least error on a fifth of that half.

    ``head`` takes rows ``(n, columns of b)`` to outputs ``(n, ...)``; without it the rows
    themselves are compared (linear predictivity). The value is ``1 - |head(map(a)) - head(b)|^2 /
    |head(b) - mean|^2`` on the other half: 1 where nothing is lost, 0 where nothing is kept but the
    mean, and less where it is worse than that. Not symmetric. Twenty rows at least.
    """
    if head is not None and not callable(head):
        raise IsthmusError(
            f"head={head!r} cannot be called: pass a function of rows like the second, or none"
        )
    paired(a, b, least=20)  # the checks alone: means are those of the rows that are fitted
    x, _ = scaled(matrix(a, "first rows"))
    y, unit = scaled(matrix(b, "second rows"))
    order = np.random.default_rng(seed).permutation(len(x))
    fitted, held = order[: len(x) // 2], order[len(x) // 2 :]
    fifth, y_fitted = len(fitted) // 5, y[fitted]
    ridge = _Ridge(x[fitted[fifth:]], y_fitted[fifth:])
    errors = [
        np.square(ridge(x[fitted[:fifth]], np.full(y.shape[1], penalty)) - y_fitted[:fifth]).sum(0)
        for penalty in PENALTIES
    ]
    penalties = PENALTIES[np.argmin(errors, axis=0)]
    stitched, expected = _Ridge(x[fitted], y_fitted)(x[held], penalties), y[held]
    outputs, expected = (_outputs(head, np.ldexp(rows, unit)) for rows in (stitched, expected))
    same_rows(outputs, "outputs of stitched rows", expected, "outputs of the rows themselves")
    expected, unit = scaled(expected)
    outputs = np.ldexp(outputs, -unit)
    spread = float(np.square(expected - expected.mean(0)).sum())
    if not spread > 0.0:
        raise IsthmusError("what head makes of the second rows is always the same: nothing is lost")
    value = 1.0 - float(np.square(outputs - expected).sum()) / spread
    return Result(
        "stitching", value, None, None, len(held),
        f"explained share of {'the head' if head else 'the rows'} on held-out rows, by ridge "
        "regressions; no interval", "fraction",
    )  # fmt: skip


class _Ridge:
    """Ridge regressions of the columns of ``y`` on ``x``, with any penalty of each column."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.centre, self.mean = x.mean(0), y.mean(0)
        left, self.sizes, self.right = np.linalg.svd(x - self.centre, full_matrices=False)
        self.products = left.T @ (y - self.mean)

    def __call__(self, rows: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        squares = np.square(self.sizes)[:, None]
        shrunk = squares + penalties * squares.mean() + np.finfo(np.float64).tiny
        weight = self.right.T @ (self.sizes[:, None] / shrunk * self.products)
        return np.asarray((rows - self.centre) @ weight + self.mean)


def _outputs(head: Head | None, rows: np.ndarray) -> np.ndarray:
    return rows if head is None else matrix(head(rows), "outputs of the head")
