"""Detection and fuzzing."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from isthmus.errors import IsthmusError
from isthmus.evaluation.intervals import STILL, percentile
from isthmus.interpretation.labels import (
    Explanation,
    Label,
    Literal,
    Rule,
    Rules,
    mean_score,
    score_difference,
)
from isthmus.interpretation.labels.evidence import for_scoring
from isthmus.interpretation.labels.explainers import Question
from isthmus.interpretation.labels.scoring import (
    balanced_accuracy,
    contamination,
    detection,
    fuzzing,
)
from isthmus.interpretation.labels.windows import explained_latents, read_windows

from .made import folder, word

KING = Explanation("king", Rule(((Literal("token", "word", ("king",)),),)))


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    where = folder(tmp_path_factory.mktemp("scoring"), [word("king"), word("of", "in")])
    ((_, windows),) = read_windows(where, explained_latents(where, None))
    return for_scoring(windows, 0, np.random.default_rng(0))


def rng():
    return np.random.default_rng(1)


def test_detection_asks_of_windows_with_and_without(unseen):
    exam = detection(KING, unseen, rng())
    assert exam.truth.mean() == 0.5
    for w, truth in zip(exam.question.asked, exam.truth, strict=True):
        assert (" king" in unseen.windows.texts(w)) == truth
    assert (Rules().judge([exam.question])[0] == exam.truth).all()


def test_fuzzing_asks_of_each_window_with_right_and_with_wrong_tokens(unseen):
    exam = fuzzing(KING, unseen, rng())
    right, wrong = {}, {}
    for w, marks, truth in zip(exam.question.asked, exam.question.marks, exam.truth, strict=True):
        texts = unseen.windows.texts(w)
        assert {texts[p] == " king" for p in marks} == {bool(truth)}
        (right if truth else wrong)[w] = len(marks)
    assert right == wrong
    assert set(right) == set(unseen.firing)
    assert (Rules().judge([exam.question])[0] == exam.truth).all()


def test_highlights_are_right_where_the_rule_fires_on_half_of_them(unseen):
    w = next(w for w in unseen.firing if unseen.windows.texts(w).count(" king") == 1)
    texts = unseen.windows.texts(w)
    king = texts.index(" king")
    other = [p for p in range(len(texts)) if p != king]
    marks = [np.array(x) for x in ([king], [king, other[0]], [king, *other[:2]], other[:1])]
    question = Question(KING, unseen.windows, np.array([w] * 4), marks)
    assert Rules().judge([question])[0].tolist() == [1, 1, 0, 0]


def test_a_judge_of_rules_runs_nothing_else(unseen):
    exam = detection(Explanation("kings"), unseen, rng())
    with pytest.raises(ValueError, match="no rule"):
        Rules().judge([exam.question])


def test_balanced_accuracy_is_that_of_sklearn():
    truth = rng().random(50) < 0.3
    answers = np.where(rng().random(50) < 0.8, truth, ~truth).astype(np.int8)
    score, detail = balanced_accuracy(truth, answers, rng())
    assert score == pytest.approx(balanced_accuracy_score(truth, answers))
    assert detail["right_firing"][1] == truth.sum()
    assert "unanswered" not in detail


def test_what_was_not_answered_counts_as_neither():
    truth = np.array([True, True, False, False, True])
    answers = np.array([1, -1, 0, 1, -1], dtype=np.int8)
    score, detail = balanced_accuracy(truth, answers, rng())
    assert score == 0.75
    assert detail["unanswered"] == 2
    assert balanced_accuracy(truth, np.array([-1, -1, 0, 1, -1], np.int8), rng())[0] is None
    assert balanced_accuracy(truth[:0], answers[:0], rng())[0] is None


def test_the_interval_is_the_bootstrap_over_windows_of_each_kind():
    truth = np.arange(60) < 25
    answers = np.where(np.arange(60) % 4 == 0, ~truth, truth).astype(np.int8)
    _, detail = balanced_accuracy(truth, answers, rng())
    draws, source = [], np.random.default_rng(7)
    for _ in range(1000):
        parts = [
            source.choice(np.flatnonzero(truth == kind), (truth == kind).sum()) for kind in (0, 1)
        ]
        draws.append(np.mean([(answers[p] == truth[p]).mean() for p in parts]))
    assert detail["interval"] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.02)


def test_answers_that_are_all_right_leave_no_interval():
    truth = np.arange(20) < 8
    score, detail = balanced_accuracy(truth, truth.astype(np.int8), rng())
    assert score == 1
    assert "interval" not in detail


def test_contamination_is_the_chance_to_fire_anywhere_in_a_window():
    source = np.random.default_rng(0)
    fires = source.random((20000, 32)) < 0.01
    assert contamination(0.01, [32]) == pytest.approx(fires.any(axis=1).mean(), abs=0.01)
    assert contamination(0.0, [32]) == 0


def labels(scores, metric="detection"):
    return [Label(i, "x", "rules", s, metric) for i, s in enumerate(scores)]


def test_a_mean_with_its_interval():
    scores = np.random.default_rng(0).normal(0.7, 0.1, 200)
    found = mean_score([*labels(scores), Label(999, "x", "rules", None, "detection")])
    assert found.value == pytest.approx(scores.mean())
    error = scores.std() / np.sqrt(200)
    assert found.interval == pytest.approx(
        (scores.mean() - 1.96 * error, scores.mean() + 1.96 * error), abs=error / 4
    )
    assert found.n == 200
    assert found.per.tolist() == scores.tolist()
    assert "1 latents without a score" in found.note


def test_a_difference_with_its_interval():
    source = np.random.default_rng(1)
    ours, theirs = source.normal(0.8, 0.1, 150), source.normal(0.7, 0.05, 80)
    found = score_difference(labels(ours), labels(theirs))
    assert found.value == pytest.approx(ours.mean() - theirs.mean())
    error = np.sqrt(ours.var() / 150 + theirs.var() / 80)
    half = (found.interval[1] - found.interval[0]) / 2
    assert half == pytest.approx(1.96 * error, rel=0.1)
    assert found.interval[0] < found.value < found.interval[1]


def test_intervals_are_those_of_the_shared_bootstrap():
    scores = np.random.default_rng(2).beta(8, 2, 40)
    source = np.random.default_rng(5)
    draws = np.array([source.choice(scores, len(scores)).mean() for _ in range(20_000)])
    found = mean_score(labels(scores), seed=3)
    assert found.interval == pytest.approx(percentile(draws, scores.mean()), abs=0.003)


def test_one_latent_has_no_interval():
    assert mean_score(labels([0.5])).interval is None
    alike = mean_score(labels([0.5, 0.5, 0.5]))
    assert alike.interval is None
    assert "no interval" in alike.estimator
    assert alike.note == STILL
    assert score_difference(labels([0.5]), labels([0.5, 0.6])).interval is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "0 metrics"),
        (labels([0.5]) + labels([0.5], "fuzzing"), "2 metrics"),
        (labels([None]), "no label has a detection score"),
    ],
)
def test_what_has_no_mean(given, message):
    with pytest.raises(IsthmusError, match=message):
        mean_score(given)


def test_measures_that_do_not_compare():
    with pytest.raises(IsthmusError, match="cannot subtract"):
        score_difference(labels([0.5]), labels([0.5], "fuzzing"))
