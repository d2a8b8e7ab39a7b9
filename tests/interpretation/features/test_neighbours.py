"""Latents that fire together or point alike, and effects on logits."""

import numpy as np
import pytest
import torch

from isthmus.evaluation import cosines as _dictionaries
from isthmus.evaluation.cosines import neighbours, unit_rows
from isthmus.interpretation.features import neighbours as neighbours_module
from isthmus.interpretation.features.neighbours import Joint, logit_effects

from .streams import cut, made


def nearest(rows, n):
    return neighbours(unit_rows(rows, "rows"), n)


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
    monkeypatch.setattr(neighbours_module, "LOGITS", 100)
    up, down = logit_effects(rows, weight, 5)
    effects = (rows @ weight.T).numpy()
    order = np.argsort(effects, 1)
    np.testing.assert_array_equal(up[0], order[:, ::-1][:, :5])
    np.testing.assert_array_equal(down[0], order[:, :5])
    np.testing.assert_allclose(up[1], np.take_along_axis(effects, up[0], 1), rtol=1e-4)
    np.testing.assert_allclose(down[1], np.take_along_axis(effects, down[0], 1), rtol=1e-4)


Z, ROW, PLACE, TOKEN = made(rows=150)


def joint(rows, z=Z):
    found = Joint(z.shape[1], 0)
    for entries in cut(z, ROW, PLACE, TOKEN, rows):
        found.update(entries)
    return found


def correlated():
    z = Z.copy()
    z[:, 4] = z[:, 3] * (np.random.default_rng(0).random(len(z)) < 0.9)
    z[:, 5] = 2 * z[:, 3]
    return z


def test_neighbours_are_those_of_the_correlation_of_firing():
    z = correlated()
    fired = (z != 0).astype(float)
    alive = fired.std(0) > 0
    phi = np.zeros((z.shape[1],) * 2)
    phi[np.ix_(alive, alive)] = np.corrcoef(fired[:, alive].T)
    both = fired.T @ fired
    found = joint(9, z)
    assert found.tokens == len(z)
    for j, (other, value) in enumerate(found.neighbours(3)):
        good = (both[j] >= 3) & (phi[j] > 0) & (np.arange(z.shape[1]) != j)
        order = np.argsort(-phi[j], kind="stable")
        assert other.tolist() == order[good[order]][:3].tolist()
        np.testing.assert_allclose(value, phi[j, other], rtol=1e-4)
    assert found.neighbours(3)[3][0][0] == 5


@pytest.mark.parametrize("limit", ["ENTRIES", "PAIRS"])
def test_with_many_tokens_a_sample_is_taken(monkeypatch, limit):
    monkeypatch.setattr(neighbours_module, limit, {"ENTRIES": 2000, "PAIRS": 10_000}[limit])
    z = correlated()
    one, two = joint(9, z), joint(150, z)
    assert one.share == two.share < 1
    assert one.tokens == two.tokens == pytest.approx(one.share * len(z), rel=0.2)
    whole = np.corrcoef((z[:, 3] != 0), (z[:, 4] != 0))[0, 1]
    for a, b in zip(one.neighbours(3), two.neighbours(3), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_allclose(a[1], b[1])
    phi = dict(zip(*one.neighbours(3)[3], strict=True))
    assert phi[4] == pytest.approx(whole, abs=0.1)
