"""The map of directions in the plane."""

import numpy as np
import pytest
import torch
from sklearn.manifold import smacof
from sklearn.neighbors import NearestNeighbors

from isthmus.evaluation import tsne
from isthmus.evaluation.cosines import neighbours, unit_rows
from isthmus.evaluation.tsne import direction_map, principal


def mapped(rows, n=10):
    return direction_map(rows, *neighbours(unit_rows(rows, "rows"), n))


@pytest.mark.slow
def test_the_map_shows_groups_that_two_components_cannot():
    torch.manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(15, 32), dim=1)
    group = torch.arange(450) % 15
    rows = centres[group] + 0.7 * torch.randn(450, 32) / 32**0.5
    places = mapped(rows)

    def purity(at):
        near = NearestNeighbors(n_neighbors=6).fit(at).kneighbors(at)[1][:, 1:]
        return float((group.numpy()[near] == group.numpy()[:, None]).mean())

    assert purity(places) > 0.98
    assert purity(principal(rows)) < 0.8
    assert places.shape == (450, 2)
    assert np.isfinite(places).all()
    np.testing.assert_array_equal(places, mapped(rows))


def test_maps_of_next_to_nothing(monkeypatch):
    monkeypatch.setattr(tsne, "LATE", 5)
    assert mapped(torch.ones(1, 4)).shape == (1, 2)
    for rows in (torch.ones(5, 4), torch.zeros(5, 4), torch.eye(4), torch.randn(3, 1)):
        places = mapped(rows)
        assert places.shape == (len(rows), 2)
        assert np.isfinite(places).all()


def stress(places, wanted):
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    return float(((apart - wanted) ** 2).sum())


@pytest.mark.parametrize("latents", [*range(2, 17), 30, 50])
@pytest.mark.parametrize("elements", [2, 64])
def test_few_latents_lie_as_far_apart_as_they_point(latents, elements):
    """No worse than scikit-learn's majorisation from the same start, and better than the start."""
    rows = torch.randn(latents, elements, generator=torch.Generator().manual_seed(latents))
    units = torch.nn.functional.normalize(rows, dim=1).double()
    wanted = torch.cdist(units, units, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    places, start = mapped(rows).astype(float), principal(rows)
    assert places.shape == (latents, 2)
    assert np.isfinite(places).all()
    assert np.abs(places).max() < 2.5  # unit vectors are at most 2 apart
    _, peer = smacof(wanted, init=start.astype(float), n_init=1, max_iter=300, eps=0.0)
    # The peer counts each pair once.
    assert stress(places, wanted) <= 2 * peer * 1.02 + 1e-9
    assert stress(places, wanted) <= stress(start, wanted) + 1e-9
    np.testing.assert_array_equal(places, mapped(rows))


def test_distances_that_fit_the_plane_are_kept():
    angles = torch.arange(12) * (2 * np.pi / 12)
    rows = torch.stack([angles.cos(), angles.sin()], 1)
    places = mapped(rows).astype(float)
    wanted = np.linalg.norm(rows.numpy()[:, None] - rows.numpy(), axis=2)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.testing.assert_allclose(apart, wanted, atol=5e-3)


def test_latents_on_one_spot_of_the_components_come_apart():
    """The first two components of these put several latents on each other."""
    rows = torch.cat([torch.eye(6), -torch.eye(6)])
    places = mapped(rows).astype(float)
    apart = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(12, 1)]
    assert apart.min() > 0.1


def test_maps_of_some_more_latents_stay_together():
    for latents in (51, 70):
        rows = torch.randn(latents, 8, generator=torch.Generator().manual_seed(0))
        assert np.abs(mapped(rows)).max() < 20
