import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from isthmus.errors import IsthmusError
from isthmus.interpretation.geometry import feature_families


def tree():
    """Latents 0 and 1 are fields; 2, 3 fire under 0 and 4, 5 under 1; 6 never fires."""
    fired = np.zeros((400, 7))
    row = np.arange(400)
    fired[:, 0], fired[:, 1] = row < 200, row >= 200
    fired[:, 2], fired[:, 3] = row < 90, (row >= 100) & (row < 180)
    fired[:, 4], fired[:, 5] = (row >= 200) & (row < 270), row >= 340
    return fired


def plain(families):
    return [(family.parent, family.children.tolist()) for family in families]


def test_the_tree_that_was_made_is_found():
    assert plain(feature_families(tree())) == [(0, [2, 3]), (1, [4, 5])]
    values = csr_array(tree() * np.random.default_rng(0).uniform(0.1, 9, tree().shape))
    assert plain(feature_families(values)) == [(0, [2, 3]), (1, [4, 5])]


def test_rare_meetings_are_no_edge():
    fired = tree()
    fired[:18, 4] = 1  # 18 of its 88 rows
    assert plain(feature_families(fired, least=0.3)) == [(0, [2, 3]), (1, [4, 5])]


def test_families_below_a_parent_are_found_once_it_is_gone():
    fired = np.zeros((300, 5))
    row = np.arange(300)
    fired[:, 0] = row < 280
    fired[:, 1] = row < 120
    fired[:, 2], fired[:, 3] = row < 50, (row >= 50) & (row < 110)
    fired[:, 4] = (row >= 130) & (row < 200)
    first = plain(feature_families(fired, rounds=1))
    assert [parent for parent, _ in first] == [0]
    both = plain(feature_families(fired, rounds=3))
    assert (1, [2, 3]) in both
    assert both[0] == first[0]


def test_families_that_are_nearly_the_same_join():
    row = np.arange(1000)
    fired = np.zeros((1000, 8))
    fired[:, 0], fired[:, 1] = row < 900, row < 880  # twins over the same children
    for i in range(6):
        fired[:, 2 + i] = (row >= 140 * i) & (row < 140 * i + 100)
    apart = plain(feature_families(fired, same=1.0))
    joined = plain(feature_families(fired))
    assert len(apart) == 2
    assert joined == [(0, [1, 2, 3, 4, 5, 6, 7])]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_tree_has_the_largest_weight(seed):
    """Kruskal in plain Python, over the closeness of pairs."""
    rng = np.random.default_rng(seed)
    fired = rng.random((40, 8)) < rng.uniform(0.1, 0.6, 8)
    families = feature_families(fired, rounds=1, same=1.0, least=0.2)
    rate = fired.sum(0)
    close = {}
    for i in range(8):
        for j in range(i):
            both = int((fired[:, i] & fired[:, j]).sum())
            if both and both / min(rate[i], rate[j]) >= 0.2:
                close[i, j] = both / min(rate[i], rate[j])
    label, weight = list(range(8)), 0.0
    for (i, j), value in sorted(close.items(), key=lambda item: -item[1]):
        if label[i] != label[j]:
            weight += value
            label = [label[i] if one == label[j] else one for one in label]
    pairs = [(f.parent, int(c)) for f in families for c in f.children]
    found = sum(close.get((max(p), min(p)), -9.0) for p in pairs)
    assert found <= weight + 1e-9
    assert all(rate[parent] >= rate[child] for parent, child in pairs)
    connected = {label[i] for i in range(8) if label.count(label[i]) > 1}
    assert {label[f.parent] for f in families} == connected
    # Each component's densest latent is pointed to by nobody.
    for part in connected:
        inside = [i for i in range(8) if label[i] == part]
        densest = max(inside, key=lambda i: (rate[i], -i))
        assert densest in {f.parent for f in families}


def test_shapes_without_families():
    assert feature_families(np.zeros((5, 3))) == []
    with pytest.raises(IsthmusError, match="no families"):
        feature_families(np.zeros((0, 3)))
