"""Automatic interpretation: the true dictionary can be put in words, and others hardly."""

import numpy as np
import pytest

from isthmus.dictionary_benchmark.label_scores import LabelScores, by_latent
from isthmus.dictionary_benchmark.task_protocol import NotMeasurable
from isthmus.interpretation.labels import Label

from .planted_host import POINT, ground, host, random, true

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    model = host()
    place = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(5)
    (place / "running.txt").write_text("".join(rng.choice(list("abcdefghijklmnop"), 1500)))
    return model, ground(place, [], model, tokens=1500, latents=8)


def mean(outcome, name):
    return np.mean([above for above, _ in outcome.figures[name].values()])


def test_a_latent_that_is_a_letter_is_told_by_its_letter(world):
    model, place = world
    outcome = LabelScores().run(true(model), place, 0)
    assert mean(outcome, "detection") > 0.95
    assert mean(outcome, "detection_shuffled") < 0.75
    assert len(outcome.figures["detection"]) == 8


def test_which_latents_are_explained_is_the_seeds_affair(world):
    model, place = world
    first, again = (LabelScores().run(true(model), place, 0).figures for _ in range(2))
    assert first == again
    other = LabelScores().run(true(model), place, 1).figures["detection"]
    assert other.keys() != first["detection"].keys()


def test_latents_that_are_active_in_every_window_cannot_be_judged_and_are_counted(world):
    outcome = LabelScores().run(random(), world[1], 0)
    (note,) = outcome.notes
    assert note.startswith(f"of 8 latents of random {len(outcome.figures['detection'])} could be")
    assert not LabelScores().run(true(world[0]), world[1], 0).notes


def test_a_text_that_is_too_short_is_not_measurable(tmp_path):
    place = ground(tmp_path, [], tokens=20)
    with pytest.raises(NotMeasurable, match="read more with --tokens"):
        LabelScores().run(true(host()), place, 0)
    assert place.points[0] == POINT


def test_latents_without_a_score_are_left_out():
    labels = [Label(3, "x", "rules", None, "detection"), Label(5, "y", "rules", 0.75, "detection")]
    assert by_latent(labels) == {"latent 5": 0.75}
