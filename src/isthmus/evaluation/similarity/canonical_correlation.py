"""Canonical correlations: which directions of one array the other has too."""

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.result import Result
from isthmus.evaluation.similarity.paired_rows import directions, paired


def cca(a: Array, b: Array) -> Result:
    """The mean canonical correlation (Hotelling 1936), over as many as the smaller rank.

    1 where one array is a linear function of the other. ``per`` are the correlations, falling.
    Arrays with as many directions as rows are perfectly correlated whatever they hold: a note says
    so where it is the case.
    """
    first, second = paired(a, b)
    correlations = _correlations(directions(first)[0], directions(second)[0])
    return _result(
        "cca", float(correlations.mean()), first, second, correlations, "mean canonical correlation"
    )


def svcca(a: Array, b: Array, *, variance: float = 0.99) -> Result:
    """The mean canonical correlation of the directions that hold ``variance`` of each array.

    Raghu, Gilmer, Yosinski, Sohl-Dickstein, SVCCA, 2017, arXiv:1706.05806: the directions of the
    smallest singular values, which are noise, are left out. ``per`` as for :func:`cca`.
    """
    if not 0.0 < variance <= 1.0:
        raise IsthmusError(f"variance={variance} is no share: choose one above 0, up to 1")
    first, second = paired(a, b)
    left, right = (directions(rows, variance)[0] for rows in (first, second))
    correlations = _correlations(left, right)
    what = (
        f"mean canonical correlation of the {left.shape[1]} and {right.shape[1]} directions that "
        f"hold {variance:g} of the variance"
    )
    return _result("svcca", float(correlations.mean()), first, second, correlations, what)


def pwcca(a: Array, b: Array) -> Result:
    """The mean canonical correlation, weighed by how much of ``a`` each direction accounts for.

    Morcos, Raghu, Bengio, Insights on representational similarity in neural networks with canonical
    correlation, 2018, arXiv:1806.05759, equation 3: the weight of a canonical variate of ``a`` is
    the sum of its absolute products with the columns of ``a``. Not symmetric. ``per`` as for
    :func:`cca`.
    """
    first, second = paired(a, b)
    left, right = directions(first)[0], directions(second)[0]
    turned, correlations, _ = np.linalg.svd(left.T @ right, full_matrices=False)
    correlations = correlations.clip(0.0, 1.0)
    weights = np.abs((left @ turned).T @ first).sum(1)
    value = float((weights * correlations).sum() / weights.sum())
    what = "canonical correlations, weighed by their variates' products with the first columns"
    return _result("pwcca", value, first, second, correlations, what)


def _correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.svd(left.T @ right, compute_uv=False).clip(0.0, 1.0))


def _result(
    name: str, value: float, a: np.ndarray, b: np.ndarray, per: np.ndarray, what: str
) -> Result:
    full = max(a.shape[1], b.shape[1]) >= len(a) - 1
    note = "there are no more rows than columns: correlations are 1 whatever the rows hold"
    return Result(
        name, value, None, None, len(a), f"{what}; no interval", "correlation", per,
        note if full else "",
    )  # fmt: skip
