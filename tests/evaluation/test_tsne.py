"""The map of directions in the plane."""

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from isthmus.evaluation import tsne
from isthmus.evaluation.cosines import neighbours, unit_rows
from isthmus.evaluation.tsne import direction_map, principal


def mapped(rows, n=10):
    return direction_map(rows, *neighbours(unit_rows(rows, "rows"), n))


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
