"""Matching the units of two models by what they do on the same rows."""

from typing import Literal

import numpy as np
import torch

from isthmus.anatomy import Array
from isthmus.errors import unknown
from isthmus.evaluation.cosines import assigned, nearest
from isthmus.evaluation.result import Result
from isthmus.evaluation.similarity.paired_rows import paired

Matching = Literal["one-to-one", "semi"]
_HOW = {
    "one-to-one": "the one-to-one pairing of the largest sum (Hungarian assignment)",
    "semi": "each unit's most correlated partner, which several may share",
}


def unit_pairs(
    a: Array, b: Array, *, matching: Matching = "one-to-one", absolute: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """For each column of ``a`` its partner among the columns of ``b``, and their correlation.

    Both ``(columns of a,)``. Columns that never change have no partner: -1 and NaN; and so have
    those that a one-to-one pairing leaves over. ``absolute`` pairs by the size of the correlation,
    and its sign is that of the value.
    """
    if matching not in _HOW:
        raise unknown("matching", matching, tuple(_HOW))
    first, second = paired(a, b)
    units, others = (np.flatnonzero(np.square(rows).sum(0) > 0) for rows in (first, second))
    left, right = (_unit_columns(rows) for rows in (first[:, units], second[:, others]))
    if matching == "one-to-one":
        columns, _ = assigned(left, right, absolute=absolute)
    else:
        _, columns = nearest(left, right, absolute=absolute)
    has = columns >= 0
    partners, values = np.full(first.shape[1], -1), np.full(first.shape[1], np.nan)
    partners[units[has]] = others[columns[has]]
    values[units[has]] = (left[has] * right[columns[has]]).sum(1).clamp(-1.0, 1.0).numpy()
    return partners, values


def _unit_columns(rows: np.ndarray) -> torch.Tensor:
    """The columns as rows of norm 1: products of those of centred arrays are correlations."""
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=0)).T.copy())


def matched_units(
    a: Array, b: Array, *, matching: Matching = "one-to-one", absolute: bool = False
) -> Result:
    """The mean correlation of units with their partners (see :func:`unit_pairs`).

    Li, Yosinski, Clune, Lipson, Hopcroft, Convergent learning: do different neural networks learn
    the same representations?, 2016, arXiv:1511.07543, section 3: one to one, or each with its best
    partner ("semi"). Sees axes, where all measures of this package that ignore rotations do not.
    ``per`` has the correlation of each unit of ``a``; units that have no partner are NaN there and
    left out.
    """
    _, values = unit_pairs(a, b, matching=matching, absolute=absolute)
    sizes = np.abs(values) if absolute else values
    matched = np.isfinite(sizes)
    left_out = int((~matched).sum())
    note = (
        f"{left_out} of {len(sizes)} units of the first array have no partner" if left_out else ""
    )
    return Result(
        "matched_units", float(sizes[matched].mean()), None, None, int(matched.sum()),
        f"mean {'absolute ' if absolute else ''}correlation over units, by {_HOW[matching]}; "
        "no interval",
        "correlation", values, note,
    )  # fmt: skip
