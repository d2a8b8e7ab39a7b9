"""TPP against loops that say the same, and where the right score is known."""

import numpy as np
import pytest

from isthmus.dictionary_benchmark.ablated_probes import largest_effects, targeted_effects
from isthmus.dictionary_benchmark.concept_probes import ConceptProbe
from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.dictionary_benchmark.probe_perturbation import ProbePerturbation, tpp_scores
from isthmus.dictionary_benchmark.task_protocol import NotMeasurable

from .planted_host import POINT, ground, host, letters_of, random, true, two_attributes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    model = host()
    texts, labels = letters_of({"a": "a", "b": "b", "c": "c", "d": "d"})
    sets = [TextSet("made", tuple(texts), {"class": tuple(labels)})]
    return model, ground(tmp_path_factory.mktemp("tpp"), sets, model)


def mean(outcome, n):
    return np.mean([above for above, _ in outcome.figures[f"tpp_{n}"].values()])


def test_the_true_dictionary_hits_its_class_alone(world):
    model, place = world
    right, wrong = (ProbePerturbation().run(one, place, 0) for one in (true(model), random()))
    assert mean(right, 2) > 0.2
    assert mean(wrong, 2) < mean(right, 2) - 0.1


def test_the_score_is_the_formula_written_out():
    rng = np.random.default_rng(0)
    before, after = rng.random(4), rng.random((4, 4))
    expected = []
    for i in range(4):
        own = before[i] - after[i, i]
        others = [before[j] - after[i, j] for j in range(4) if j != i]
        expected.append(own - sum(others) / 3)
    np.testing.assert_allclose(tpp_scores(before, after), expected)


def test_a_latent_that_is_rarer_in_the_class_has_no_effect_and_signs_are_kept():
    probe = ConceptProbe(np.array([1.0, -2.0]), 0.0)
    atoms = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.5]])
    effects = targeted_effects(np.array([0.5, 0.25, -1.0, 1.0]), atoms, probe)
    np.testing.assert_allclose(effects, [0.5, -0.5, 0.0, 1.0])
    assert largest_effects(effects, 3).tolist() == [3, 0]


def test_attributes_of_two_classes_are_one_question_and_no_comparison(tmp_path):
    place = ground(tmp_path, [two_attributes()])
    with pytest.raises(NotMeasurable, match="no attribute has two classes"):
        ProbePerturbation().premise(place, POINT, 0)
