"""Neighbours by direction, effects on logits, and the map."""

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from isthmus.evaluation import cosines as _dictionaries
from isthmus.interpretation.latents import directions
from isthmus.interpretation.latents import layout as layout_module
from isthmus.interpretation.latents.directions import logit_effects, nearest
from isthmus.interpretation.latents.layout import layout, principal


def test_neighbours_are_those_of_the_whole_matrix(monkeypatch):
    rows = torch.randn(50, 8) * torch.rand(50, 1)
    cosine = np.corrcoef(rows.numpy(), rowvar=True)
    cosine = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2)
    cosine.fill_diagonal_(-2)
    monkeypatch.setattr(_dictionaries, "PIECE", 300)
    numbers, values = nearest(rows, 4)
    assert numbers.tolist() == cosine.topk(4).indices.tolist()
    np.testing.assert_allclose(values, cosine.topk(4).values, atol=1e-6)
    assert nearest(rows[:3], 4)[0].shape == (3, 2)


def test_effects_are_those_of_the_whole_product(monkeypatch):
    rows, weight = torch.randn(20, 8), torch.randn(30, 8)
    monkeypatch.setattr(directions, "PIECE", 100)
    up, down = logit_effects(rows, weight, 5)
    effects = (rows @ weight.T).numpy()
    order = np.argsort(effects, 1)
    np.testing.assert_array_equal(up[0], order[:, ::-1][:, :5])
    np.testing.assert_array_equal(down[0], order[:, :5])
    np.testing.assert_allclose(up[1], np.take_along_axis(effects, up[0], 1), rtol=1e-4)
    np.testing.assert_allclose(down[1], np.take_along_axis(effects, down[0], 1), rtol=1e-4)


def test_the_map_shows_groups_that_two_components_cannot():
    torch.manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(15, 32), dim=1)
    group = torch.arange(450) % 15
    rows = centres[group] + 0.7 * torch.randn(450, 32) / 32**0.5
    places = layout(rows, *nearest(rows, 10))

    def purity(at):
        near = NearestNeighbors(n_neighbors=6).fit(at).kneighbors(at)[1][:, 1:]
        return float((group.numpy()[near] == group.numpy()[:, None]).mean())

    assert purity(places) > 0.98
    assert purity(principal(rows)) < 0.8
    assert places.shape == (450, 2)
    assert np.isfinite(places).all()
    np.testing.assert_array_equal(places, layout(rows, *nearest(rows, 10)))


def test_maps_of_next_to_nothing(monkeypatch):
    monkeypatch.setattr(layout_module, "LATE", 5)
    assert layout(torch.ones(1, 4), *nearest(torch.ones(1, 4), 10)).shape == (1, 2)
    for rows in (torch.ones(5, 4), torch.zeros(5, 4), torch.eye(4), torch.randn(3, 1)):
        found = layout(rows, *nearest(rows, 10))
        assert found.shape == (len(rows), 2)
        assert np.isfinite(found).all()
