"""Detection and fuzzing: balanced accuracy of a judge on windows that no explainer saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.evaluation import Result
from isthmus.evaluation.intervals import STILL, blocks, percentile, resample
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
    bootstrap over windows, kind by kind (as many of each in each resample); there is none where the
    resamples do not differ, as where every answer is right. None where one kind is missing.
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
    interval = percentile(np.asarray(draws) / 2, score, 0, 1)
    if interval is not None:
        detail["interval"] = [round(end, 4) for end in interval]
    return score, detail


def contamination(rate: float, length: Sequence[int] | np.ndarray) -> float:
    """Expected share of windows with the latent where nobody looked whether it fires.

    Of windows of ``length`` tokens, if it fired on each token with probability ``rate``.
    """
    return float(np.mean(1 - (1 - rate) ** np.asarray(length, dtype=np.float64)))


def mean_score(labels: Sequence[Label], *, seed: int = 0) -> Result:
    """Mean score over latents, with the percentile bootstrap over latents (2,000 resamples).

    No interval where the resamples do not differ: of one latent, or of latents of one score.
    ``labels`` are of one metric; those without a score are left out, and the note counts them.
    ``per`` holds the scores.
    """
    metric, scores, note = _scores(labels)
    value = float(scores.mean())
    interval = percentile(_resampled(scores, np.random.default_rng(seed)), value, 0, 1)
    return Result(
        metric,
        value,
        True,
        interval,
        len(scores),
        f"mean over latents of balanced accuracy; {_how(interval, 'latents')}",
        "",
        scores,
        "; ".join(x for x in (note, "" if interval else STILL) if x),
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
    value = float(ours.mean() - theirs.mean())
    draws = _resampled(ours, rng) - _resampled(theirs, rng)
    interval = percentile(draws, value, -1, 1) if min(len(ours), len(theirs)) > 1 else None
    return Result(
        f"{metric}_difference",
        value,
        True,
        interval,
        len(ours) + len(theirs),
        "difference of means over latents of balanced accuracy; "
        f"{_how(interval, 'the latents of both')}",
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
    """Means of resampled latents, ``(DRAWS,)``."""
    n = len(scores)
    parts = [resample(np.arange(n), n, size, rng) @ scores / n for size in blocks(DRAWS, n)]
    return np.concatenate(parts)


def _how(interval: tuple[float, float] | None, over: str) -> str:
    return (
        f"95 % percentile bootstrap over {over}, {DRAWS} resamples" if interval else "no interval"
    )
