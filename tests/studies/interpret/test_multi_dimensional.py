import numpy as np
import pytest
import torch

from isthmus.studies.interpret.multi_dimensional import (
    RINGS,
    WIDTH,
    _circles,
    _plane,
    _ranks,
    planted,
)


def test_planted_circles_lie_in_their_planes():
    made = planted(4000, 0, 0)
    again = planted(4000, 0, 1)
    np.testing.assert_array_equal(made.planes[0], again.planes[0])
    assert not np.allclose(made.rows, again.rows)
    for points, plane in zip(RINGS, made.planes, strict=True):
        np.testing.assert_allclose(plane @ plane.T, np.eye(2), atol=1e-12)
        inside = made.rows @ plane.T
        far = np.linalg.norm(inside, axis=1) > 0.8
        # A fifth of the rows lie on the circle; few others reach so far into its plane.
        assert 0.15 < far.mean() < 0.4
        assert points in RINGS


def test_ranks_count_from_one_and_ties_rank_last():
    scores = np.array([3.0, 1.0, 2.0, 2.0, 0.5])
    circles = [None, 0, 1, None, 1]
    assert _ranks(scores, circles) == {"rank_7": 4.0, "rank_12": 3.0, "rank_24": float(WIDTH)}
    assert _ranks(scores, circles, np.zeros(5))["rank_7"] == 5.0
    assert _ranks(np.array([]), [])["rank_24"] == WIDTH


def test_a_cluster_belongs_to_the_plane_that_its_directions_lie_in():
    planes = [np.eye(6)[:2], np.eye(6)[2:4]]
    atoms = torch.eye(6)
    assert _circles(np.array([0, 1]), atoms, planes) == 0
    assert _circles(np.array([2, 3, 4]), atoms, planes) == 1
    assert _circles(np.array([4, 5]), atoms, planes) is None


def test_the_plane_is_that_of_the_principal_components():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 5)) * [0.1, 3.0, 0.2, 2.0, 0.1] + 4.0
    plane = _plane(torch.from_numpy(rows))
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T)))[::-1]
    assert np.sort(plane.var(0, ddof=1))[::-1] == pytest.approx(values[:2])
    np.testing.assert_allclose(plane.mean(0), 0.0, atol=1e-9)
