"""Scores over many latents: means, and differences between two sets of them, with intervals."""

from collections.abc import Sequence

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.interpretation.labels.table import Label

DRAWS = 2000


def mean_score(labels: Sequence[Label], *, seed: int = 0) -> Result:
    """Mean score over latents, with the percentile bootstrap over latents (2,000 resamples).

    ``labels`` are of one metric; those without a score are left out, and the note counts them.
    ``per`` holds the scores.
    """
    metric, scores, note = _scores(labels)
    rng = np.random.default_rng(seed)
    return Result(
        metric,
        float(scores.mean()),
        True,
        _interval(_resampled(scores, rng)) if len(scores) > 1 else None,
        len(scores),
        f"mean over latents of balanced accuracy; percentile bootstrap over latents, {DRAWS} draws",
        "",
        scores,
        note,
    )


def score_difference(first: Sequence[Label], second: Sequence[Label], *, seed: int = 0) -> Result:
    """Mean score of the latents of ``first`` minus that of ``second``, with interval.

    The two are different latents (a dictionary's against neurons, say), so both are resampled,
    independently.
    """
    metric, ours, note = _scores(first)
    other, theirs, also = _scores(second)
    if metric != other:
        raise IsthmusError(f"cannot subtract {other} from {metric}: choose labels of one metric")
    rng = np.random.default_rng(seed)
    draws = _resampled(ours, rng) - _resampled(theirs, rng)
    return Result(
        f"{metric}_difference",
        float(ours.mean() - theirs.mean()),
        True,
        _interval(draws) if min(len(ours), len(theirs)) > 1 else None,
        len(ours) + len(theirs),
        "difference of means over latents of balanced accuracy; percentile bootstrap over the "
        f"latents of both, {DRAWS} draws",
        note="; ".join(x for x in (note, also) if x),
    )


def _scores(labels: Sequence[Label]) -> tuple[str, np.ndarray, str]:
    metrics = sorted({x.metric for x in labels})
    if len(metrics) != 1:
        raise IsthmusError(
            f"these labels have {len(metrics)} metrics ({', '.join(metrics) or 'no labels'}): "
            "choose those of one"
        )
    scores = np.array([x.score for x in labels if x.score is not None], dtype=np.float64)
    if not len(scores):
        raise IsthmusError(f"no label has a {metrics[0]} score: there were no windows to score on")
    left = len(labels) - len(scores)
    return metrics[0], scores, f"{left} latents without a score are left out" if left else ""


def _resampled(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    means = [scores[rng.integers(0, len(scores), len(scores))].mean() for _ in range(DRAWS)]
    return np.array(means)


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
