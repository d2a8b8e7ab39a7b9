import numpy as np
import pytest
import torch

from isthmus.studies.interpret.planted_circles import (
    RINGS,
    _circles,
    _plane,
    _ranks,
    _resolved,
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


def test_a_circle_is_above_the_clusters_that_score_less():
    scores = np.array([3.0, 1.0, 2.0, 2.0, 0.5])
    circles = [None, 0, 1, None, 1]
    found = _ranks(scores, circles)
    assert found == {
        "above_7": 1 / 4, "above_12": 2 / 4, "above_24": 0.0, "percentile": pytest.approx(0.25)
    }  # fmt: skip
    assert _ranks(scores, circles, np.full(5, 9.0))["above_7"] == 1.0
    assert _ranks(np.array([]), [])["percentile"] == 0.0


def test_points_are_resolved_by_atoms_that_lie_on_them():
    planes = [np.eye(6)[:2], np.eye(6)[2:4], np.eye(6)[4:]]
    angle = 2 * np.pi * np.arange(7) / 7
    atoms = np.stack([np.cos(angle), np.sin(angle)], 1) @ planes[0]
    assert _resolved(5 * atoms, planes) == pytest.approx(7 / sum(RINGS))
    assert _resolved(atoms[:3], planes) == pytest.approx(3 / sum(RINGS))


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
