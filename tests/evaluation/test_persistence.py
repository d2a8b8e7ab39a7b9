import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import cdist

from isthmus import IsthmusError
from isthmus.evaluation import distances as _neighbours
from isthmus.evaluation.persistence import h0_distance, h0_persistence, total_persistence


def cloud(n=60, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("d", [1, 3, 50])
def test_it_is_the_minimum_spanning_tree(d):
    x = cloud(80, d)
    tree = minimum_spanning_tree(cdist(x, x)).tocoo()
    got = h0_persistence(x)
    wanted = {frozenset(e) for e in zip(tree.row.tolist(), tree.col.tolist(), strict=True)}
    assert {frozenset(e) for e in got.edges.tolist()} == wanted
    np.testing.assert_allclose(got.lengths, np.sort(tree.data))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=25))
def test_deaths_count_components_even_among_ties_and_copies(points):
    x = np.array(points, dtype=float)
    got = h0_persistence(x)
    distances = cdist(x, x)
    for scale in np.unique(distances):
        components = connected_components(distances <= scale)[0]
        assert len(x) - (got.lengths <= scale).sum() == components
    spanned = np.zeros((len(x), len(x)))
    spanned[tuple(got.edges.T)] = 1
    assert connected_components(spanned, directed=False)[0] == 1
    np.testing.assert_array_equal(got.lengths, distances[tuple(got.edges.T)])


def test_ties_are_settled_by_the_numbers_of_rows():
    square = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
    got = h0_persistence(square)
    np.testing.assert_array_equal(got.edges, [[0, 1], [0, 3], [1, 2]])
    np.testing.assert_array_equal(got.lengths, [1, 1, 1])


def test_the_order_of_rows_changes_no_length():
    x = cloud().round(1)
    order = np.random.default_rng(1).permutation(len(x))
    a, b = h0_persistence(x), h0_persistence(x[order])
    np.testing.assert_allclose(a.lengths, b.lengths, atol=1e-12)


def test_rows_of_any_shape_and_given_distances():
    x = cloud(20, 6)
    wanted = h0_persistence(x)
    for got in (
        h0_persistence(torch.tensor(x).reshape(20, 2, 3)),
        h0_persistence(cdist(x, x), metric="precomputed"),
    ):
        np.testing.assert_array_equal(got.edges, wanted.edges)
        np.testing.assert_allclose(got.lengths, wanted.lengths)


def test_two_clusters_show_as_one_long_edge():
    x = np.concatenate([cloud(30) * 0.1, cloud(30, seed=1) * 0.1 + 10])
    result = total_persistence(x)
    assert result.per[-1] > 10 > 1 > result.per[-2]
    assert result.value == pytest.approx(result.per.sum())
    assert result.n == 60


def test_distance_ignores_rotation_and_scale():
    x = cloud()
    turned = 7 * x @ np.linalg.qr(cloud(3, 3, 1))[0] + 5
    assert h0_distance(x, turned).value == pytest.approx(0, abs=1e-12)
    line = np.linspace(0, 1, 60)[:, None]
    first = h0_persistence(x).lengths
    assert h0_distance(x, line).value == pytest.approx(1 - (first / first[-1]).mean())


def test_misuse_is_one_sentence(monkeypatch):
    with pytest.raises(IsthmusError, match="2 or more rows"):
        h0_persistence(np.zeros((1, 3)))
    with pytest.raises(IsthmusError, match="rows contain NaN"):
        h0_persistence([[0.0], [np.nan]])
    with pytest.raises(IsthmusError, match="did you mean 'precomputed'"):
        h0_persistence(np.eye(3), metric="precomputd")
    with pytest.raises(IsthmusError, match="not symmetric"):
        h0_persistence(np.arange(9).reshape(3, 3), metric="precomputed")
    with pytest.raises(IsthmusError, match="not symmetric"):
        h0_persistence(np.zeros((3, 2)), metric="precomputed")
    with pytest.raises(IsthmusError, match="negative"):
        h0_persistence(-np.ones((3, 3)), metric="precomputed")
    with pytest.raises(IsthmusError, match="5 and 6 rows"):
        h0_distance(cloud(5), cloud(6))
    with pytest.raises(IsthmusError, match="all rows of one set are equal"):
        h0_distance(cloud(5), np.ones((5, 2)))
    monkeypatch.setattr(_neighbours, "LARGEST", 30)
    with pytest.raises(IsthmusError, match="at most 30 rows, not 31"):
        h0_persistence(cloud(31))
