"""Means over latents."""

import numpy as np
import pytest

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels import Label, mean_score, score_difference


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


def test_one_latent_has_no_interval():
    assert mean_score(labels([0.5])).interval is None
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
