"""Detection and fuzzing."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from isthmus.interpretation.labels import Explanation, Literal, Rule, Rules
from isthmus.interpretation.labels.evidence import for_scoring
from isthmus.interpretation.labels.folder import blocks, explained_latents
from isthmus.interpretation.labels.methods import Question
from isthmus.interpretation.labels.scoring import (
    balanced_accuracy,
    contamination,
    detection,
    fuzzing,
)

from .made import folder, word

KING = Explanation("king", Rule(((Literal("token", "word", ("king",)),),)))


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    where = folder(tmp_path_factory.mktemp("scoring"), [word("king"), word("of", "in")])
    ((_, windows),) = blocks(where, explained_latents(where, None))
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
    assert set(right) == set(unseen.own)
    assert (Rules().judge([exam.question])[0] == exam.truth).all()


def test_highlights_are_right_where_the_rule_fires_on_half_of_them(unseen):
    w = next(w for w in unseen.own if unseen.windows.texts(w).count(" king") == 1)
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


def test_contamination_is_the_chance_to_fire_anywhere_in_a_window():
    source = np.random.default_rng(0)
    fires = source.random((20000, 32)) < 0.01
    assert contamination(0.01, [32]) == pytest.approx(fires.any(axis=1).mean(), abs=0.01)
    assert contamination(0.0, [32]) == 0
