"""Figures at equal L0."""

import numpy as np
import pytest

import isthmus
from isthmus.data import Planted
from isthmus.studies.sparse.frontier import at_equal, moved_at_random, off_target, variants


def test_a_power_law_is_read_off_exactly_inside_and_outside():
    l0 = np.array([4.0, 9.0, 30.0])
    fvu = 0.7 * l0**-0.8
    for wanted in (2.0, 4.0, 12.0, 64.0):
        assert at_equal(l0, fvu, wanted) == pytest.approx(0.7 * wanted**-0.8)
    # The order of the levels does not matter, and neither does one that is there twice.
    again = np.array([2, 0, 1, 1])
    assert at_equal(l0[again], fvu[again], 12.0) == pytest.approx(0.7 * 12**-0.8)
    assert at_equal([8.0, 8.0], [0.3, 0.3], 5.0) == pytest.approx(0.3)


def test_the_largest_deviation_counts():
    assert off_target([8.4, 12.0], (8, 16)) == pytest.approx(0.25)


def test_each_kind_is_asked_in_its_own_way():
    found = variants({"topk": 1e-3, "gated": 2e-3}, (8,))
    assert found == {
        "topk 8": {"recipe": "topk", "k": 8, "lr": 1e-3},
        "gated 8": {"recipe": "gated", "l0": 8.0, "lr": 2e-3},
    }


def test_values_moved_to_other_latents_rebuild_nothing():
    rows = Planted(16, 32, 2.0, seed=1).sample(2000)[0]
    model = isthmus.fit(
        "topk", rows, latent_dim=32, k=2, steps=200, batch_size=256, lr=1e-2, progress=False
    )
    moved = moved_at_random(model, rows, 0)
    assert isthmus.evaluate(model, rows)["fvu"].value < 0.3
    assert moved["fvu"] > 1.0
