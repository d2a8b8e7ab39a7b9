"""What genres say of units, rows of films, and the films themselves."""

import numpy as np
import pytest

from isthmus import data
from isthmus.studies.benches.films import LEAST, NEEDS, films
from isthmus.studies.interpret.recommender_features import described, popularity, rows_of

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


def test_rows_hold_every_film_once_in_order():
    rows = rows_of([np.arange(1, 8), np.array([9])], 3)
    np.testing.assert_array_equal(rows, [[1, 2, 3], [4, 5, 6], [7, 0, 0], [9, 0, 0]])
    assert popularity(np.array([[1, 1, 2, 0]]), np.array([[5, 1, 2, 0], [1, 9, 0, 0]])) == 2 / 3


@pytest.mark.skipif(not all(map(data.is_name, NEEDS)), reason=f"needs {NEEDS}")
def test_films_are_numbered_from_one_and_have_genres():
    found = films()
    assert len(found.sequences) == 706
    watched = np.concatenate(found.sequences)
    counts = np.bincount(watched, minlength=len(found.genres))
    assert counts[0] == 0
    assert counts[1:].min() >= LEAST
    assert not found.genres[0].any()
    assert found.genres[1:].any(1).mean() > 0.99
    drama = found.genres[:, found.names.index("Drama")].mean()
    assert 0.3 < drama < 0.6
