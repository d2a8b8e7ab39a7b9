"""Groups of layers: which are similar, and which other groupings there are."""

from math import comb

import numpy as np
import pytest

from isthmus.studies.sparse.layer_groups import angular_distances, closeness, grouped, groupings


def test_layers_at_small_angles_are_grouped():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 500, 32))
    layers = [first, 3.0 * first, second, second + 0.1 * rng.normal(size=(500, 32)), -first]
    distances = angular_distances(layers)
    assert distances[0, 1] == pytest.approx(0.0, abs=1e-3)
    assert distances[0, 4] == pytest.approx(1.0, abs=1e-3)
    # The angle of independent rows is a right one.
    assert distances[0, 2] == pytest.approx(0.5, abs=0.02)
    assert grouped(distances[:4][:, :4]) == ((0, 1), (2, 3))
    assert closeness(distances[:4][:, :4], ((0, 1), (2, 3))) < 0.1
    assert closeness(distances[:4][:, :4], ((0, 2), (1, 3))) > 1.0


@pytest.mark.parametrize(("layers", "size"), [(5, 2), (5, 1), (4, 2), (6, 3)])
def test_every_grouping_of_the_sizes_is_there_once(layers, size):
    ways = list(groupings(layers, size))
    twice = 2 if 2 * size == layers else 1
    assert len(ways) == len(set(ways)) == comb(layers, size) // twice
    for groups in ways:
        assert sorted(sum(groups, ())) == list(range(layers))
        assert size in map(len, groups)
        assert groups == tuple(sorted(groups))
