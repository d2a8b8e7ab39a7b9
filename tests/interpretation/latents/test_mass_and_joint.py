"""Tokens by activation mass, and latents that fire together."""

import numpy as np
import pytest

from isthmus.interpretation.latents import joint as joint_module
from isthmus.interpretation.latents import mass as mass_module
from isthmus.interpretation.latents.joint import Joint
from isthmus.interpretation.latents.mass import TokenMass

from .streams import cut, made

Z, ROW, PLACE, TOKEN = made(rows=150)


def mass(rows):
    found = TokenMass(Z.shape[1], 30)
    for entries in cut(Z, ROW, PLACE, TOKEN, rows):
        found.update(entries)
    return found


def truth():
    """Mass of each latent by token, ``(latents, 30)``."""
    sums = np.zeros((Z.shape[1], 30))
    np.add.at(sums.T, TOKEN, Z.astype(np.float64))
    return sums


def test_shares_of_tokens_are_exact():
    expected = truth()
    for j, (token, share) in enumerate(mass(9).heaviest(5)):
        order = np.argsort(-expected[j], kind="stable")[:5]
        order = order[expected[j, order] > 0]
        assert token.tolist() == order.tolist()
        np.testing.assert_allclose(share, expected[j, order] / expected[j].sum(), rtol=1e-5)
    assert [int(t) for t in mass(9).heaviest(5)[1][0]] == [7]


def test_what_is_forgotten_is_bounded(monkeypatch):
    monkeypatch.setattr(mass_module, "KEPT", 8)
    monkeypatch.setattr(mass_module, "PENDING", 100)
    found, expected = mass(5), truth()
    assert found.lost.max() > 0
    for j, (token, share) in enumerate(found.heaviest(8)):
        own = share * found.total[j]
        assert (own <= expected[j, token] * (1 + 1e-5)).all()
        assert (own >= expected[j, token] - found.lost[j] * (1 + 1e-5)).all()
        # A token heavier than all that was lost cannot be missing.
        assert set(np.flatnonzero(expected[j] > found.lost[j])) <= set(token)


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
    monkeypatch.setattr(joint_module, limit, {"ENTRIES": 2000, "PAIRS": 10_000}[limit])
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
