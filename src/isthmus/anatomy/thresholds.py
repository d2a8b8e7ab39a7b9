"""From which score on a row is an anomaly: by the scores that the training rows had.

``fit`` keeps a summary of these in the run's configuration, as :func:`summary` makes it: all of
them, sorted, where there are at most :data:`POINTS`, else as many evenly spaced quantiles.
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.errors import IsthmusError

POINTS = 1001
"""Quantiles that are kept: every tenth of a per cent of many rows is exact."""


def summary(scores: np.ndarray, kind: str, total: int) -> dict[str, Any]:
    """What a run keeps of the training rows' scores, for ``config.json``.

    ``scores`` are of ``rows`` rows of ``total``. ``kind`` is what they are: see ``score``.
    """
    points = np.sort(np.asarray(scores, np.float64))
    if len(points) > POINTS:
        points = np.quantile(points, np.linspace(0.0, 1.0, POINTS))
    # To float32, which is what scores are: short in the file, and exactly as compared.
    quantiles = [float(_single(value)) for value in points]
    return {"kind": kind, "rows": len(scores), "of": total, "quantiles": quantiles}


def suits(kept: Mapping[str, Any], kind: str) -> bool:
    """Whether scores of that kind (see ``score``) can be compared with the ones that were kept."""
    return kind == "auto" or (kept["kind"] == "error") == (kind == "error")


def threshold(
    kept: Mapping[str, Any] | None,
    contamination: float | None = None,
    quantile: float | None = None,
    kind: str = "auto",
) -> float:
    """The score below which a row is an anomaly: that quantile of the training scores.

    ``kind`` is that of the scores to be compared; an :class:`IsthmusError` where others were kept.
    ``contamination`` is the share of the training rows that are taken for anomalies, in (0, 0.5];
    ``quantile`` the same number without that limit, in [0, 1]. Linear between scores, as NumPy's.
    """
    if kept is None:
        raise IsthmusError(
            "no scores of training rows were kept with this model, so there is no threshold: pass "
            "threshold=..., a quantile of the scores of rows that you know"
        )
    if not suits(kept, kind):
        raise IsthmusError(
            f"the training rows of this run were not scored by kind={kind}, but by its "
            f"{kept['kind']}: pass a threshold of your own, or leave out kind="
        )
    if (contamination is None) == (quantile is None):
        raise IsthmusError("a threshold is by contamination or by quantile: pass one of the two")
    for name, share in (("contamination", contamination), ("quantile", quantile)):
        check_number(name, share)
    if contamination is not None and not 0.0 < contamination <= 0.5:
        raise IsthmusError(
            f"contamination={contamination:g} is no share of anomalies: use a number above 0 and "
            "at most 0.5"
        )
    share = quantile if contamination is None else contamination
    assert share is not None
    if not 0.0 <= share <= 1.0:
        raise IsthmusError(f"quantile={share:g} is no quantile: use a number from 0 to 1")
    return float(np.quantile(np.asarray(kept["quantiles"], np.float64), share))


def check_number(name: str, value: Any) -> None:
    """An error for what is neither left out nor a number."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if value is not None and (not real or value != value):
        raise IsthmusError(f"{name}={value!r} is no number: pass one such as 0.05")


def below(scores: Any, threshold: float) -> Any:
    """1 for scores below a threshold and 0 for others, int64 ``(rows,)``, compared in float32.

    Scores that float32 cannot hold come in double precision, as do those of their neighbours then;
    all are compared alike.
    """
    check_number("threshold", threshold)
    limit = float(_single(threshold))
    return (
        scores.double().lt(limit).long()
        if isinstance(scores, Tensor)
        else (np.asarray(scores, np.float64) < limit).astype(np.int64)
    )


def _single(value: float) -> np.float32 | float:
    """A number as float32 has it; itself where that has none so large."""
    largest = float(np.finfo(np.float32).max)
    return np.float32(value) if abs(value) <= largest else float(value)
