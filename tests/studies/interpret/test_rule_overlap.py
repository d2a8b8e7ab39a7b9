"""Overlap of rules: the Jaccard index of the best match."""

import numpy as np
import pytest

from isthmus.studies.interpret.rule_overlap import by_distance, shared

WHERE = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], dtype=bool)


def test_two_rules_share_what_both_apply_to_of_what_either_does():
    wanted = [[1, 0, 2 / 3, 0], [0, 1, 1 / 3, 0], [2 / 3, 1 / 3, 1, 0], [0, 0, 0, 1]]
    assert shared(WHERE) == pytest.approx(np.array(wanted))


def test_layers_overlap_by_the_best_match_of_each_rule_both_ways():
    # Rules 0 and 1 of one layer, 2 of the next, 3 of the one after it.
    found = by_distance(shared(WHERE), np.array([0, 0, 1, 2]))
    assert found == {1: [pytest.approx((0.5 + 2 / 3) / 2), 0.0], 2: [0.0]}


def test_a_layer_overlaps_a_copy_of_itself_wholly():
    twice = np.concatenate([WHERE, WHERE])
    assert by_distance(shared(twice), np.repeat([0, 3], 4)) == {3: [pytest.approx(1.0)]}
