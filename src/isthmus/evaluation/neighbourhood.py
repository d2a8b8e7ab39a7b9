"""Do codes keep who is near whom, and how dense the data are?

``x`` ``(rows, *shape)`` are data and ``z`` ``(rows, *latent)`` their codes, in the same order;
distances are Euclidean. Ranks count the other rows that are strictly nearer, plus one, so equal
distances share the best rank. None of these measures has an interval: every row is compared with
every other, so rows are no independent sample. Time grows with the square of the rows, of which
there may be 50,000; distances are held in pieces.

The numbers of Moor et al. (2020, *Topological Autoencoders*, Table 1) are means over
``k = range(10, 201, 10)``, with both directions of the MRRE averaged.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.arrays import matrix, same_rows, whole
from isthmus.evaluation.distances import all_pairs, own_distances, pieces
from isthmus.evaluation.result import Result

Direction = Literal["mean", "latent", "data"]

_BOTH = "no interval: all rows are compared with all"


def neighbourhood(x: Array, z: Array, k: int | Sequence[int] = 10) -> dict[str, Result]:
    """:func:`trustworthiness`, :func:`continuity` and :func:`mrre` in one pass, by name.

    "mrre" is the mean of "mrre_latent" and "mrre_data", its two directions.
    """
    ks = _sizes(k)
    data, codes = _pair(x, z, max(ks))
    rows = len(data)
    within = f"within the k nearest, k = {_said(ks)}; {_BOTH}"
    false, torn, of_latent, of_data = _rank_errors(data, codes, ks)
    size = np.array(ks)
    worst = rows * size * (2 * rows - 3 * size - 1) / 2
    terms = np.abs(rows - 2 * np.arange(1, max(ks) + 1) + 1) / np.arange(1, max(ks) + 1)
    scale = rows * np.cumsum(terms)[size - 1]
    latent, of_x = of_latent / scale, of_data / scale
    measures = {
        "trustworthiness": (1 - false / worst, True, "1 - normalised ranks of false neighbours"),
        "continuity": (1 - torn / worst, True, "1 - normalised ranks of lost neighbours"),
        "mrre": ((latent + of_x) / 2, False, "mean of both mean relative rank errors"),
        "mrre_latent": (latent, False, "mean relative rank error of neighbours in z"),
        "mrre_data": (of_x, False, "mean relative rank error of neighbours in x"),
    }
    return {
        name: Result(name, float(per.mean()), up, None, rows, f"{how} {within}", "", per)
        for name, (per, up, how) in measures.items()
    }


def trustworthiness(x: Array, z: Array, k: int | Sequence[int] = 10) -> Result:
    """Are rows that are near in ``z`` near in ``x``? 1 if so, about 0.5 for codes of noise.

    1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j max(0, r_x(i, j) - k) over the k nearest j of i in z
    (Venna & Kaski 2001). ``k`` is one size or several; the value is then the mean over sizes, and
    ``per`` has each. A ``k`` of half the rows or more, NaN, sets of other lengths and more than
    50,000 rows are an :class:`IsthmusError`.
    """
    return neighbourhood(x, z, k)["trustworthiness"]


def continuity(x: Array, z: Array, k: int | Sequence[int] = 10) -> Result:
    """Are rows that are near in ``x`` near in ``z``? :func:`trustworthiness` the other way round.

    Sum over the k nearest in x of max(0, r_z(i, j) - k), normalised alike.
    """
    return neighbourhood(x, z, k)["continuity"]


def mrre(
    x: Array, z: Array, k: int | Sequence[int] = 10, *, direction: Direction = "mean"
) -> Result:
    """Mean relative rank error: by how much the ranks of neighbours change, 0 for none.

    Lee & Verleysen (2009, *Neurocomputing* 72): sum_i sum_j |r_x(i, j) - r_z(i, j)| / r(i, j), over
    n sum_(l = 1..k) |n - 2l + 1| / l. With ``direction="latent"`` j runs over the k nearest in z
    and r is r_z; with "data" over the k nearest in x and r is r_x; "mean" averages both (what Moor
    et al. report). ``k``, ``per`` and errors as for :func:`trustworthiness`. Reversed ranks give
    about 1.
    """
    names = {"mean": "mrre", "latent": "mrre_latent", "data": "mrre_data"}
    if direction not in names:
        raise unknown("direction", direction, names)
    return neighbourhood(x, z, k)[names[direction]]


def density_kl(x: Array, z: Array, sigma: float) -> Result:
    """KL divergence, in nats, of the density of the codes from that of the data, at one scale.

    Moor et al. (2020, section 5.1): distances are divided by their maximum, the density at a row is
    sum_j exp(-d(i, j)^2 / sigma), the densities of the n rows are normalised to sum 1, and the
    value is sum_i p_x(i) log(p_x(i) / p_z(i)). They report ``sigma`` 0.01, 0.1 and 1. Invariant to
    rotation, shift and scale of either set. ``per`` has the terms of the rows. Rows that are all
    equal, NaN, sets of other lengths and more than 50,000 rows are an :class:`IsthmusError`.
    """
    if not 0 < sigma < np.inf:
        raise IsthmusError(f"sigma = {sigma} is no scale: pass a number above 0, such as 0.1")
    data, codes = _pair(x, z, 0)
    first, second = _log_density(data, sigma, "data"), _log_density(codes, sigma, "codes")
    terms = np.exp(first) * (first - second)
    how = f"Gaussian kernel, sigma = {sigma:g} of the squared largest distance; {_BOTH}"
    value = max(0.0, float(terms.sum()))
    return Result("density_kl", value, False, None, len(data), how, "nats", terms)


def _log_density(rows: np.ndarray, sigma: float, what: str) -> np.ndarray:
    parts = list(pieces(len(rows), len(rows)))
    largest = max(float(own_distances(rows, part).max()) for part in parts)
    if largest == 0:
        raise IsthmusError(f"all rows of the {what} are equal: there is no density to compare")
    density = np.concatenate(
        [np.exp(-((own_distances(rows, part) / largest) ** 2) / sigma).sum(1) for part in parts]
    )
    return np.log(density / density.sum())


def distance_rmse(x: Array, z: Array) -> Result:
    """Root mean squared difference of the distances in ``x`` and in ``z``, over all n^2 pairs.

    Moor et al. (2020), who count the n pairs of a row with itself. In the units of ``x``; not
    invariant to the scale of ``z``. Errors as for :func:`density_kl`.
    """
    data, codes = _pair(x, z, 0)
    total = 0.0
    for part in pieces(len(data), len(data)):
        total += float(((own_distances(data, part) - own_distances(codes, part)) ** 2).sum())
    value = np.sqrt(total) / len(data)
    how = f"root mean squared difference of Euclidean distances; {_BOTH}"
    return Result("distance_rmse", float(value), False, None, len(data), how, "data units")


def _rank_errors(x: np.ndarray, z: np.ndarray, ks: list[int]) -> tuple[np.ndarray, ...]:
    """For each k the summed excess ranks (of neighbours in z, in x), and relative errors alike."""
    most = max(ks)
    totals = np.zeros((4, len(ks)))
    for part in pieces(len(x), len(x)):
        in_x, in_z = _Ranking(x, part, most), _Ranking(z, part, most)
        seen_in_x, seen_in_z = in_x.ranks(in_z.near), in_z.ranks(in_x.near)
        own_x, own_z = in_x.ranks(in_x.near), in_z.ranks(in_z.near)
        totals[2] += _up_to(np.abs(seen_in_x - own_z) / own_z, ks)
        totals[3] += _up_to(np.abs(seen_in_z - own_x) / own_x, ks)
        for at, k in enumerate(ks):
            totals[0, at] += np.maximum(seen_in_x[:, :k] - k, 0).sum()
            totals[1, at] += np.maximum(seen_in_z[:, :k] - k, 0).sum()
    return tuple(totals)


def _up_to(terms: np.ndarray, ks: list[int]) -> np.ndarray:
    return np.cumsum(terms.sum(0))[np.array(ks) - 1]


class _Ranking:
    """The order of all other rows by their distance from the rows of one slice."""

    def __init__(self, rows: np.ndarray, part: slice, most: int) -> None:
        self._distances = own_distances(rows, part)
        self._distances[np.arange(len(self._distances)), np.arange(part.start, part.stop)] = np.inf
        near = np.argpartition(self._distances, most - 1, axis=1)[:, :most]
        near.sort(1)
        order = np.take_along_axis(self._distances, near, 1).argsort(1, kind="stable")
        self.near = np.take_along_axis(near, order, 1)
        self._sorted = np.sort(self._distances, axis=1)

    def ranks(self, others: np.ndarray) -> np.ndarray:
        """Ranks, from 1, of the rows that are numbered in ``others`` ``(slice, k)``."""
        distances = np.take_along_axis(self._distances, others, 1)
        places = [np.searchsorted(*pair) for pair in zip(self._sorted, distances, strict=True)]
        return np.array(places) + 1


def _sizes(k: int | Sequence[int]) -> list[int]:
    sizes = [k] if isinstance(k, (int, np.integer)) else list(k)
    if not sizes:
        raise IsthmusError("no neighbourhood size is given: pass k, one number or several")
    return [whole(size, "k", 1) for size in sizes]


def _said(ks: list[int]) -> str:
    return f"{ks[0]}" if len(ks) == 1 else f"the mean over {len(ks)} from {min(ks)} to {max(ks)}"


def _pair(x: Array, z: Array, k: int) -> tuple[np.ndarray, np.ndarray]:
    data, codes = matrix(x, "data", 2), matrix(z, "codes", 2)
    same_rows(data, "rows of data", codes, "codes")
    all_pairs(len(data), "this measure")
    if 2 * k >= len(data):
        raise IsthmusError(
            f"k = {k} is half of the {len(data)} rows or more: pass a smaller k or more rows"
        )
    return data - data.mean(0), codes - codes.mean(0)
