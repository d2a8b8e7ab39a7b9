"""Contexts of units, and the families of a head."""

import numpy as np
import pytest

from isthmus.studies.interpret import contexts
from isthmus.studies.interpret.contexts import Contexts, agreements


def test_a_units_strongest_tokens_agree_where_it_follows_a_context():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 50, (20_000, 3))
    units = np.zeros((20_000, 3))
    units[kinds[:, 1] == 7, 0] = 1.0 + rng.random(int((kinds[:, 1] == 7).sum()))
    units[:, 1] = rng.random(20_000)
    units[:5, 2] = 1.0  # too few to count
    often, agreed = agreements(units, Contexts(kinds))
    assert often.tolist() == [0, 1]
    assert agreed[0].argmax() == 1
    assert agreed[0, 1] == 1.0
    assert agreed[1].max() < 0.3
    assert contexts.purity(units, Contexts(kinds)) == pytest.approx((1.0 + 0.02) / 2, abs=0.01)


def test_a_heads_families_are_those_of_its_largest_latents():
    rng = np.random.default_rng(1)
    kinds, heads = rng.integers(0, 50, (20_000, 2)), 6
    latents = heads * contexts.OF_HEAD
    units = np.zeros((20_000, latents))
    shares = np.full((latents, heads), 0.01)
    for i in range(latents):
        head, number = divmod(i, contexts.OF_HEAD)
        shares[i, head] = 0.9
        # The first head has two families, the others one.
        kind = number % 2 if head == 0 else 1
        on = kinds[:, kind] == number
        units[on, i] = 1.0 + rng.random(int(on.sum()))
    found = contexts.heads_of_two_families(units, Contexts(kinds), shares, 0.5)
    assert found == pytest.approx(1 / heads)
    mixed = Contexts(kinds).shuffled(0, 3)
    assert contexts.by_chance(units, mixed) < 0.5
    assert contexts.heads_of_two_families(units, mixed, shares, 0.5) == 0.0


def test_units_fire_as_often_as_they_are_asked_to():
    units = np.random.default_rng(2).normal(size=(10_000, 4))
    on = contexts.strongest(units, 0.02)
    assert ((on > 0).sum(0) == 200).all()
    assert np.array_equal(np.sort(on, 0)[-200:], np.sort(units, 0)[-200:])
