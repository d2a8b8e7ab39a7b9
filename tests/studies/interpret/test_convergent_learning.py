"""Matches of units, and what a few units say beyond one."""

import numpy as np
import pytest

from isthmus.studies.interpret.convergent_learning import gain, matched

RNG = np.random.default_rng(0)
UNITS = RNG.normal(size=(4000, 12))


def test_a_copy_matches_in_any_order_and_strangers_do_not():
    copy = matched(UNITS, 2.0 * UNITS[:, ::-1] + 1.0)
    assert copy == pytest.approx({"semi": 1.0, "one_to_one": 1.0})
    strangers = matched(UNITS, RNG.normal(size=(4000, 12)))
    assert strangers["one_to_one"] < strangers["semi"] < 0.1


def test_sums_of_two_units_gain_by_the_second():
    noise = 0.1 * RNG.normal(size=(4000, 12))
    pairs = UNITS[:, :6] + UNITS[:, 6:] + noise[:, :6]
    # One of two equal parts explains half, but for the noise.
    assert gain(UNITS, pairs, 2) == pytest.approx(1.0 / 2.01, abs=0.04)
    assert gain(UNITS, UNITS + noise, 2) == pytest.approx(0.0, abs=0.01)
