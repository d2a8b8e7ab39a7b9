"""Areas under curves and heads of edges, by hand."""

import numpy as np
import pytest

from isthmus.studies.circuits.discrete_circuits import among_edges, area


def test_the_area_is_the_share_of_pairs_in_the_right_order_and_ties_count_half():
    truth = np.array([True, True, False, False, False])
    scores = np.array([3.0, 1.0, 1.0, 0.0, 2.0])
    pairs = [(a, b) for a in scores[truth] for b in scores[~truth]]
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
    assert area(scores, truth) == pytest.approx(expected)
    deals = np.stack([scores, -scores])
    assert area(deals.reshape(2, 1, 5), truth) == pytest.approx(0.5)


def test_heads_are_counted_in_the_strongest_pairs():
    edges = np.zeros((4, 4))
    for i, j, value in ((0, 1, 9.0), (0, 2, 8.0), (1, 2, 1.0), (2, 3, 2.0)):
        edges[i, j] = edges[j, i] = value
    assert among_edges(edges).tolist() == [1, 1, 0, 0]  # one of six pairs
    wide = np.zeros((8, 8))
    wide[:5, :5] = 1.0  # ten pairs, of which the first quarter of all is seven
    assert among_edges(wide).tolist()[5:] == [0, 0, 0]
