"""How close are generated rows to real ones? On any features: the caller computes them."""

import numpy as np
from scipy.linalg import svdvals

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError
from isthmus.evaluation.arrays import matrix, whole
from isthmus.evaluation.distances import all_pairs, nearest, pieces, squared_distances
from isthmus.evaluation.intervals import wilson
from isthmus.evaluation.moments import Moments
from isthmus.evaluation.result import Result


def frechet_distance(features_a: Array, features_b: Array) -> Result:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians fitted to two sets of features.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), with unbiased covariances (Dowson & Landau
    1982; Heusel et al. 2017, eq. 6). ``features_a`` and ``features_b`` are ``(rows, *features)`` in
    the features' units, two or more rows each; with the pooled features of an Inception network it
    is the FID. 0 for equal moments; in the squared units of the features.

    The value is biased upwards by about 1 / rows (Chong & Forsyth 2020): compare values of equally
    many rows. There is no interval. Fewer than two rows, NaN and sets of other features are an
    :class:`IsthmusError`.
    """
    a, b = _alike(features_a, features_b, "features", 2)
    mean_a, root_a = _mean_and_root(a)
    mean_b, root_b = _mean_and_root(b)
    # tr (C_a C_b)^(1/2) is the sum of the singular values of R_a R_b' for any R'R = C: neither the
    # covariances nor their product, whose square root loses half the digits, are ever formed.
    shared = svdvals(root_a @ root_b.T).sum()
    value = ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * shared
    short = min(len(a), len(b)) <= a.shape[1]
    return Result(
        "frechet_distance",
        max(0.0, float(value)),
        False,
        None,
        len(a) + len(b),
        f"Gaussians fitted to {len(a)} and {len(b)} rows of {a.shape[1]} features, unbiased "
        "covariances; no interval",
        "squared feature units",
        None,
        "fewer rows than features: the covariances are singular and the bias is large"
        if short
        else "",
    )


def _mean_and_root(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and R with R'R the unbiased covariance, by a QR decomposition of centred rows."""
    mean = rows.mean(0)
    return mean, np.linalg.qr(rows - mean, mode="r") / np.sqrt(len(rows) - 1)


def density_and_coverage(real: Array, fake: Array, k: int = 5) -> dict[str, Result]:
    """Density and coverage of generated rows (Naeem et al. 2020, eqs. 3 and 4).

    Around each real row lies the ball that its k-th nearest other real row is on the rim of (open,
    as in the authors' code).

    "density"
        Balls that a generated row lies in, over k, averaged over generated rows. Above 1 where
        they crowd in dense regions; 1 in expectation for equal distributions.
    "coverage"
        Share of the real rows whose ball holds a generated row, in [0, 1]. For equal distributions
        and equally many rows its expectation is 1 - 2^-k for many rows.

    ``real`` and ``fake`` are ``(rows, *features)``; ``per`` has the value of each generated row
    (density) or each real row (coverage, 0 or 1). The intervals take the rows that are averaged as
    a sample and the other set as fixed: normal for density, Wilson's for coverage. A ``k`` as
    large as the real set, NaN, sets of other features and more than 50,000 rows are an
    :class:`IsthmusError`.
    """
    real_rows, fake_rows, radius = _balls(real, fake, k)
    inside = np.zeros(len(fake_rows))
    covered = np.zeros(len(real_rows))
    for part in pieces(len(real_rows), len(fake_rows)):
        within = squared_distances(real_rows[part], fake_rows) < radius[part, None]
        inside += within.sum(0)
        covered[part] = within.any(1)
    density = Result.of_mean(
        "density",
        Moments().update(inside / k),
        higher_is_better=True,
        what=f"the balls of real rows (k = {k}) around a generated row, over k",
        per=inside / k,
    )
    what = f"real rows whose ball (k = {k}) holds a generated row"
    return {"density": density, "coverage": _share("coverage", covered, what)}


def precision_and_recall(real: Array, fake: Array, k: int = 5) -> dict[str, Result]:
    """Improved precision and recall of generated rows (Kynkäänniemi et al. 2019).

    "precision" is the share of generated rows inside the ball of some real row, "recall" the share
    of real rows inside the ball of some generated row; balls, arguments, intervals and errors as
    for :func:`density_and_coverage`. One outlier's ball may hold much: prefer density and coverage.
    """
    results = {}
    for name, centres, points in (("precision", real, fake), ("recall", fake, real)):
        rows, others, radius = _balls(centres, points, k)
        inside = np.zeros(len(others), dtype=bool)
        for part in pieces(len(rows), len(others)):
            inside |= (squared_distances(rows[part], others) < radius[part, None]).any(0)
        which = ("generated", "real") if name == "precision" else ("real", "generated")
        what = f"{which[0]} rows inside the ball (k = {k}) of a {which[1]} row"
        results[name] = _share(name, inside.astype(np.float64), what)
    return results


def _balls(centres: Array, points: Array, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both sets, moved to the mean of the first, and the squared radius of each ball."""
    rows, others = _alike(centres, points, "rows", 1)
    whole(k, "k", 1, len(rows) - 1)
    all_pairs(max(len(rows), len(others)), "this measure")
    middle = rows.mean(0)
    rows, others = rows - middle, others - middle
    # Rows on a rim lie outside: a copy of the k-th neighbour may not fall in by rounding.
    return rows, others, nearest(rows, rows, k, own=True)[0][:, -1] ** 2 * (1 - 1e-9)


def _share(name: str, hits: np.ndarray, what: str) -> Result:
    how = f"share of {what}; Wilson's 95 % interval, the other set taken as fixed"
    interval = wilson(float(hits.sum()), len(hits))
    return Result(name, float(hits.mean()), True, interval, len(hits), how, "fraction", hits)


def _alike(a: Array, b: Array, what: str, least: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = matrix(a, f"first {what}", least), matrix(b, f"second {what}", least)
    if first.shape[1] != second.shape[1]:
        raise IsthmusError(
            f"the two sets have {first.shape[1]} and {second.shape[1]} features in a row: pass "
            "sets of the same features"
        )
    return first, second
