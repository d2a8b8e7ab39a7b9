"""Detection and fuzzing: balanced accuracy of a judge on windows that no explainer saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.interpretation.labels.evidence import Evidence
from isthmus.interpretation.labels.explainers import Answers, Explanation, Question
from isthmus.interpretation.labels.table import Label

SCORERS = ("detection", "fuzzing")

DRAWS = 2000
"""Resamples for an interval."""


@dataclass(frozen=True, eq=False)
class Exam:
    """A question with the right answers ``truth`` ``(asked,)`` bool."""

    question: Question
    truth: np.ndarray


def detection(explanation: Explanation, evidence: Evidence, rng: np.random.Generator) -> Exam:
    """Which of these windows make the latent fire?

    Windows of the latent, drawn evenly over its deciles, among as many in which it is silent
    (Paulo et al. 2024, 2410.13928, section 3.2).
    """
    windows = np.concatenate([evidence.firing, evidence.silent])
    truth = np.arange(len(windows)) < len(evidence.firing)
    order = rng.permutation(len(windows))
    return Exam(Question(explanation, evidence.windows, windows[order]), truth[order])


def fuzzing(explanation: Explanation, evidence: Evidence, rng: np.random.Generator) -> Exam:
    """Are the highlighted tokens right?

    Each window of the latent is asked twice, once with the tokens highlighted on which it fires and
    once with as many others of the same window, drawn at random (fewer where there are fewer). So
    the topic of the text does not give the answer away. A window without other tokens is left out.
    """
    windows, marks, truth = [], [], []
    for window in evidence.firing:
        values = evidence.windows.values(window)
        right, others = np.flatnonzero(values), np.flatnonzero(values == 0)
        if not len(others):
            continue
        wrong = np.sort(rng.permutation(others)[: len(right)])
        windows += [window, window]
        marks += [right, wrong]
        truth += [True, False]
    order = rng.permutation(len(windows))
    question = Question(
        explanation,
        evidence.windows,
        np.array(windows, dtype=np.int64)[order],
        [marks[i] for i in order],
    )
    return Exam(question, np.array(truth, dtype=bool)[order])


EXAMS = {"detection": detection, "fuzzing": fuzzing}


def balanced_accuracy(
    truth: np.ndarray, answers: Answers, rng: np.random.Generator
) -> tuple[float | None, dict[str, Any]]:
    """The mean of the shares of right answers to both kinds of windows, and how it came about.

    Windows without an answer count as neither, and are counted. The 95 % interval is the percentile
    bootstrap over windows, kind by kind (as many of each in each resample). None where one kind is
    missing.
    """
    answered = answers >= 0
    counts = {}
    for kind, name in ((True, "firing"), (False, "silent")):
        mask = answered & (truth == kind)
        counts[name] = (int((answers[mask] == kind).sum()), int(mask.sum()))
    detail: dict[str, Any] = {f"right_{name}": list(pair) for name, pair in counts.items()}
    if not answered.all():
        detail["unanswered"] = int((~answered).sum())
    if any(total == 0 for _, total in counts.values()):
        return None, detail
    score = sum(right / total for right, total in counts.values()) / 2
    # Resampling n answers of which a share p is right draws Binomial(n, p) right ones.
    draws = sum(
        rng.binomial(total, right / total, DRAWS) / total for right, total in counts.values()
    )
    low, high = np.quantile(np.asarray(draws) / 2, [0.025, 0.975])
    detail["interval"] = [round(float(low), 4), round(float(high), 4)]
    return score, detail


def contamination(rate: float, length: Sequence[int] | np.ndarray) -> float:
    """Expected share of windows with the latent where nobody looked whether it fires.

    Of windows of ``length`` tokens, if it fired on each token with probability ``rate``.
    """
    return float(np.mean(1 - (1 - rate) ** np.asarray(length, dtype=np.float64)))


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
    number = len(labels) - len(scores)
    return metrics[0], scores, f"{number} latents without a score are left out" if number else ""


def _resampled(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    means = [scores[rng.integers(0, len(scores), len(scores))].mean() for _ in range(DRAWS)]
    return np.array(means)


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
