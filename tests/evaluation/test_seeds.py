"""Bootstrap intervals over seeds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.evaluation.intervals import over_seeds

numbers = st.floats(-1e6, 1e6)


def test_three_seeds_give_their_range():
    found = over_seeds([1.0, 5.0, 3.0])
    assert (found.mean, found.low, found.high) == (3.0, 1.0, 5.0)


def test_five_seeds_are_enumerated():
    values = [0.0, 1.0, 2.0, 5.0, 9.0]
    means = np.sort([np.mean(c) for c in itertools.product(values, repeat=5)])
    found = over_seeds(values)
    assert found.low == pytest.approx(means[math.ceil(0.025 * len(means)) - 1])
    assert found.high == pytest.approx(means[math.ceil(0.975 * len(means)) - 1])


def test_many_seeds_come_close_to_the_normal_interval():
    values = np.random.default_rng(0).normal(size=40)
    half = 1.96 * values.std() / math.sqrt(40)
    found = over_seeds(list(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.06)
    assert found.high == pytest.approx(values.mean() + half, abs=0.06)


@given(st.lists(numbers, min_size=1, max_size=5))
def test_the_interval_holds_the_mean_and_stays_within_the_seeds(values):
    found = over_seeds(values)
    slack = 1e-9 * max(1.0, max(map(abs, values)))
    assert min(values) - slack <= found.low <= found.mean + slack
    assert found.mean - slack <= found.high <= max(values) + slack


def test_an_undefined_seed_leaves_it_undefined():
    assert math.isnan(over_seeds([1.0, math.nan]).mean)
    assert math.isnan(over_seeds([]).mean)
    assert str(over_seeds([math.nan])) == "undefined"
