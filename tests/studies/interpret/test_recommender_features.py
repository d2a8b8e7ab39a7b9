"""What genres say of units."""

import numpy as np
import pytest

from isthmus.studies.interpret.recommender_features import described

RNG = np.random.default_rng(0)
KNOWN = RNG.random((4000, 3)) < [0.02, 0.2, 0.5]
HALF = RNG.random(4000) < 0.5


def test_units_that_are_genres_are_told_by_them_and_noise_is_told_by_chance():
    exact = described(KNOWN.astype(float), KNOWN, HALF)
    # Where p = 1, F1 = 2 / (2 + q), and q is about the genre's share of the rows.
    assert exact["confidence"] == pytest.approx((2 / 2.01 + 2 / 2.19 + 2 / 2.49) / 3, abs=0.01)
    assert exact["units"] >= 2
    noise = described(RNG.random((4000, 30)), KNOWN, HALF)
    # The genre of half the rows has p = q = 1/2, so an F1 of 1/2; chance picks no better one.
    assert noise["confidence"] == pytest.approx(0.5, abs=0.06)
    assert noise["units"] == 0


def test_a_unit_that_is_seldom_on_has_no_score():
    units = np.zeros((4000, 2))
    units[:10] = 1.0
    assert np.isnan(described(units, KNOWN, HALF)["confidence"])
