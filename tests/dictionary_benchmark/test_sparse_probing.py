"""Sparse probing where the right score is known, and the choice of latents written out."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isthmus.dictionary_benchmark.labelled_texts import TextSet
from isthmus.dictionary_benchmark.sparse_probing import (
    SparseProbing,
    known_classes,
    ranked_by_difference,
)
from isthmus.dictionary_benchmark.task_protocol import NotMeasurable

from .planted_host import POINT, ground, host, letters_of, random, true


def labelled(classes, **more):
    texts, labels = letters_of(classes, **more)
    return TextSet("made", tuple(texts), {"class": tuple(labels)})


def accuracy(outcome, k):
    units = outcome.figures[f"accuracy_{k}"]
    return sum(a for a, _ in units.values()) / sum(b for _, b in units.values())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    model = host()
    sets = [labelled({"a": "a", "b": "b", "c": "c"})]
    return model, ground(tmp_path_factory.mktemp("probing"), sets, model)


def test_the_true_dictionary_tells_all_with_one_latent_and_a_random_one_does_not(world):
    model, place = world
    task = SparseProbing()
    right, wrong = (accuracy(task.run(one, place, 0), 1) for one in (true(model), random()))
    assert right == 1.0
    assert wrong < 0.9


def test_what_no_latent_is_alone_several_are_together(tmp_path):
    model = host()
    place = ground(tmp_path, [labelled({"early": "abc", "late": "def"})], model)
    outcome = SparseProbing().run(true(model), place, 0)
    assert accuracy(outcome, 1) < 0.9
    assert accuracy(outcome, 5) > accuracy(outcome, 1) + 0.1


def test_every_class_that_the_host_tells_is_a_unit(world):
    model, place = world
    units = SparseProbing().run(true(model), place, 1).figures["accuracy_2"]
    assert [*units] == ["made/class/a", "made/class/b", "made/class/c"]
    assert all(below == 1.0 for _, below in units.values())


def test_training_and_test_texts_are_apart_and_balanced(world):
    for known in known_classes(world[1], POINT, 0):
        train, on = known.split.fitted
        test, test_on = known.split.held
        assert not set(train.tolist()) & set(test.tolist())
        assert on.mean() == test_on.mean() == 0.5
        right = known.texts.of("class", known.label)
        np.testing.assert_array_equal(right[train], on)
        np.testing.assert_array_equal(right[test], test_on)


def test_texts_that_do_not_differ_are_not_measurable(tmp_path):
    same = labelled({"a": "mno", "b": "mno"})
    place = ground(tmp_path, [same])
    with pytest.raises(NotMeasurable, match="no class of the texts can be told"):
        SparseProbing().premise(place, POINT, 0)


def test_pooled_codes_are_means_over_the_tokens_of_a_text(world):
    model, place = world
    texts = place.sets[0]
    pooled = place.pooled_codes(true(model), texts).toarray()
    for row in (0, 57):
        counts = np.bincount(model.tokenizer.encode(texts.texts[row]), minlength=28)
        np.testing.assert_allclose(pooled[row], 3.0 * counts / counts.sum(), atol=1e-5)
    np.testing.assert_allclose(place.pooled(texts, POINT), pooled @ true(model).atoms, atol=1e-5)


def test_latents_are_ranked_as_published_and_probes_do_as_well_as_scikit_learn(world):
    positive, negative = np.array([0.0, 2.0, 1.0, 1.0]), np.array([0.5, 0.0, 3.0, 1.0])
    assert ranked_by_difference(positive, negative).tolist() == [1, 2, 0, 3]
    place = world[1]
    one, known = random(), known_classes(place, POINT, 0)[1]
    codes = place.pooled_codes(one, known.texts).toarray()
    (train, on), (test, test_on) = known.split.fitted, known.split.held
    gap = np.abs(codes[train[on]].mean(0) - codes[train[~on]].mean(0))
    best = np.argsort(-gap)[:5]
    scaled = (codes[:, best] - codes[train][:, best].mean(0)) / codes[train][:, best].std(0)
    plain = LogisticRegression(C=1.0).fit(scaled[train], on).score(scaled[test], test_on)
    found = SparseProbing().run(one, place, 0).figures["accuracy_5"][known.name][0]
    assert found == pytest.approx(plain, abs=0.08)
