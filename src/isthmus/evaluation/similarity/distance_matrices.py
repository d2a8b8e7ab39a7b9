"""Representational similarity analysis: are the same pairs of rows far apart?"""

from typing import Literal

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from isthmus.anatomy import Array
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.result import Result
from isthmus.evaluation.similarity.paired_rows import few_enough, paired

Distance = Literal["correlation", "cosine", "euclidean"]
_RANKED = {"spearman": spearmanr, "pearson": pearsonr}


def rsa(
    a: Array,
    b: Array,
    *,
    distance: Distance = "correlation",
    agreement: Literal["spearman", "pearson"] = "spearman",
) -> Result:
    """The correlation of the distances between rows of ``a`` with those between rows of ``b``.

    Kriegeskorte, Mur, Bandettini, Representational similarity analysis, 2008,
    doi:10.3389/neuro.06.004.2008: ``distance`` 1 less the correlation of two rows, compared by the
    ranks. From -1 to 1. Every pair is compared: more than 10,000 rows are an
    :class:`~isthmus.errors.IsthmusError`, and so are rows of one element by their correlation.
    """
    if distance not in ("correlation", "cosine", "euclidean"):
        raise unknown("distance", distance, ("correlation", "cosine", "euclidean"))
    if agreement not in _RANKED:
        raise unknown("agreement", agreement, tuple(_RANKED))
    first, second = paired(a, b)
    few_enough(len(first), "rsa")
    apart = []
    for rows, which in ((first, "first"), (second, "second")):
        with np.errstate(invalid="ignore", divide="ignore"):
            distances = pdist(rows, distance)
        if not np.isfinite(distances).all():
            raise IsthmusError(
                f"some of the {which} rows have no {distance} with others (they are constant, or "
                "of one element): set distance='euclidean'"
            )
        apart.append(distances)
    alike = [bool(np.ptp(distances) > 1e-12 * np.abs(distances).max()) for distances in apart]
    value = float(_RANKED[agreement](*apart).statistic) if all(alike) else np.nan
    return Result(
        "rsa", value, None, None, len(first),
        f"{agreement} correlation of the {distance} distances of all pairs of rows; no interval",
        "correlation", note="" if all(alike) else "all pairs of rows are equally far apart",
    )  # fmt: skip
