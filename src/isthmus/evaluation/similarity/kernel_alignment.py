"""Centred kernel alignment: do two arrays agree on which rows are alike?"""

from typing import Literal

import numpy as np
from scipy.spatial.distance import pdist, squareform

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.result import Result
from isthmus.evaluation.similarity.paired_rows import few_enough, paired

Kernel = Literal["linear", "rbf"]


def cka(
    a: Array,
    b: Array,
    *,
    kernel: Kernel = "linear",
    bandwidth: float = 1.0,
    debiased: bool = False,
) -> Result:
    """Centred kernel alignment, ``HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))``.

    Kornblith, Norouzi, Lee, Hinton, Similarity of neural network representations revisited, 2019,
    arXiv:1905.00414, equation 4. From 0 to 1, and 1 where the kernels are in proportion: of the
    linear kernel where the arrays are rotations of each other, times a number.

    kernel
        "linear": products of centred rows. "rbf": ``exp(-|x - y|^2 / (2 s^2))`` with s of
        ``bandwidth`` times the median distance of two rows; every pair is compared, so that more
        than 10,000 rows are an :class:`~isthmus.errors.IsthmusError`.
    debiased
        The estimator of HSIC without bias (Song et al. 2012, equation 5), which leaves a row's
        product with itself out. The plain one is near 1 for arrays of more columns than rows,
        whatever they hold; this one is about 0 where they are independent, and may be negative.
        Four rows at least.
    """
    first, second = paired(a, b, least=4 if debiased else 3)
    if kernel == "linear":
        products = [_linear(*pair, debiased) for pair in _pairs(first, second)]
    elif kernel == "rbf":
        if not bandwidth > 0.0:
            raise IsthmusError(f"bandwidth={bandwidth} must be positive: it is a width")
        few_enough(len(first), "cka with kernel='rbf'")
        similarities = _pairs(_rbf(first, bandwidth), _rbf(second, bandwidth))
        products = [_of_matrices(k, m, debiased) for k, m in similarities]
    else:
        raise unknown("kernel", kernel, ("linear", "rbf"))
    cross, self_first, self_second = products
    value = (
        cross / np.sqrt(self_first * self_second)
        if self_first > 0.0 and self_second > 0.0
        else np.nan
    )
    estimator = "HSIC without bias (Song et al. 2012)" if debiased else "plain HSIC, biased upwards"
    return Result(
        "cka" if kernel == "linear" else "rbf_cka", float(value), None, None, len(first),
        f"{kernel} kernel of centred rows, {estimator}; no interval", "alignment",
        note="" if np.isfinite(value) else "too few rows for the estimator without bias",
    )  # fmt: skip


def _pairs(x: np.ndarray, y: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (x, y), (x, x), (y, y)


def _linear(x: np.ndarray, y: np.ndarray, debiased: bool) -> float:
    """HSIC of the linear kernels of centred rows, from sums over columns: no matrix of rows."""
    n = len(x)
    whole = (
        float(np.square(x.T @ y).sum())
        if x.shape[1] * y.shape[1] <= n * n
        else float(((x @ x.T) * (y @ y.T)).sum())
    )
    if not debiased:
        return whole / (n - 1) ** 2
    left, right = np.square(x).sum(1), np.square(y).sum(1)
    # With the diagonals set to zero; the rows of centred products sum to minus the diagonal.
    return _unbiased(whole - float(left @ right), -left, -right)


def _of_matrices(k: np.ndarray, m: np.ndarray, debiased: bool) -> float:
    n = len(k)
    if not debiased:
        centred = k - k.mean(0) - k.mean(1)[:, None] + k.mean()
        return float((centred * m).sum()) / (n - 1) ** 2
    k, m = k.copy(), m.copy()
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(m, 0.0)
    return _unbiased(float((k * m).sum()), k.sum(1), m.sum(1))


def _unbiased(products: float, rows: np.ndarray, others: np.ndarray) -> float:
    """Song et al. 2012, equation 5, from the sum of products and the sums of rows."""
    n = len(rows)
    pairs = float(rows.sum() * others.sum()) / ((n - 1) * (n - 2))
    lines = 2.0 * float(rows @ others) / (n - 2)
    return (products + pairs - lines) / (n * (n - 3))


def _rbf(centred: np.ndarray, bandwidth: float) -> np.ndarray:
    distances = pdist(centred)
    positive = distances[distances > 0]
    width = bandwidth * float(np.median(positive))
    return np.asarray(np.exp(-np.square(squareform(distances)) / (2.0 * width**2)))
