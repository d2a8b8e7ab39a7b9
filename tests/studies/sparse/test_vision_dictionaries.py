"""Profiles of classes, and what is near to them."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from isthmus.studies.sparse.vision_dictionaries import KINDS, area, branches, nearest, profiles

CLASSES = np.repeat(np.arange(len(KINDS)), 30)


def test_codes_of_a_class_are_near_its_profile_and_others_are_not():
    rng = np.random.default_rng(0)
    codes = np.eye(len(KINDS), 16)[CLASSES] * rng.uniform(0.5, 2.0, (len(CLASSES), 1))
    means = profiles(codes, CLASSES)
    np.testing.assert_allclose(means, np.eye(len(KINDS), 16), atol=1e-12)
    foreign = np.zeros((20, 16))
    foreign[:, 12:] = 1.0
    inside, outside = nearest(codes, means), nearest(foreign, means)
    np.testing.assert_allclose(inside, 1.0)
    np.testing.assert_allclose(outside, 0.0)
    assert area(inside, outside) == 1.0


def test_the_area_is_scikit_learns_with_the_known_kind_for_the_positive():
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(0.7, 1.0, 300), rng.normal(size=200)
    expected = roc_auc_score(np.repeat([1, 0], [300, 200]), np.concatenate([inside, outside]))
    assert area(inside, outside) == pytest.approx(expected)


def test_profiles_that_follow_the_tree_are_told_from_those_that_do_not():
    assert branches(np.eye(5)[list(KINDS)]) == pytest.approx(1.0)
    assert branches(np.eye(len(KINDS))) == pytest.approx(0.0)
