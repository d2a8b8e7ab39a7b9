"""Unit matching: planted permutations, every pairing of few units, silent units."""

from itertools import permutations

import numpy as np
import pytest

from isthmus.errors import IsthmusError
from isthmus.evaluation.similarity import matched_units, unit_pairs


def test_a_planted_permutation_comes_back():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 12))
    order = rng.permutation(12)
    b = 3.0 * a[:, order] + 1.0 + 0.1 * rng.normal(size=(200, 12))
    partners, values = unit_pairs(a, b)
    np.testing.assert_array_equal(order[partners], np.arange(12))
    assert (values > 0.99).all()
    assert matched_units(a, b).value == pytest.approx(values.mean())
    turned = a @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    assert matched_units(a, turned).value < 0.8


@pytest.mark.parametrize("absolute", [False, True])
def test_it_is_the_best_of_all_pairings(absolute):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30, 5))
    table = np.corrcoef(a.T, b.T)[:5, 5:]
    table = np.abs(table) if absolute else table
    best = max(table[np.arange(5), list(p)].sum() for p in permutations(range(5)))
    assert matched_units(a, b, absolute=absolute).value == pytest.approx(best / 5)
    semi = matched_units(a, b, matching="semi", absolute=absolute)
    assert semi.value == pytest.approx(table.max(1).mean())
    assert semi.value >= matched_units(a, b, absolute=absolute).value


def test_units_that_are_silent_or_left_over_have_no_partner():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(40, 4))
    b = a[:, :2].copy()
    a[:, 3] = 7.0
    partners, values = unit_pairs(a, np.hstack([b, np.zeros((40, 1))]))
    assert partners[:2].tolist() == [0, 1]
    assert partners[2:].tolist() == [-1, -1]
    assert np.isnan(values[2:]).all()
    result = matched_units(a, b)
    assert result.value == pytest.approx(1.0)
    assert result.n == 2
    assert "2 of 4 units" in result.note
    with pytest.raises(IsthmusError, match="matching"):
        unit_pairs(a, b, matching="greedy")
