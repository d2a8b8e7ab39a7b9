"""Schedules are functions of the clock with known values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.anatomy import Clock, Constant, Cosine, Linear, Stairs, as_schedule


def test_linear_is_cut_to_a_share_of_a_short_run():
    ramp = Linear(0.0, 10.0, 1000)
    assert ramp(Clock(0, 100)) == 0.0
    assert ramp(Clock(40, 100)) == pytest.approx(5.0)  # 80 steps long here
    assert ramp(Clock(80, 100)) == 10.0
    assert ramp(Clock(99, 100)) == 10.0
    assert ramp(Clock(500, 100_000)) == pytest.approx(5.0)  # and its own length in a long one


def test_linear_without_a_fit_keeps_its_length():
    assert Linear(1.0, 0.0, 1000, fit=None)(Clock(10, 20)) == pytest.approx(0.99)


def test_cosine():
    fall = Cosine(2.0, 1.0)
    assert fall(Clock(0, 8)) == 2.0
    assert fall(Clock(2, 8)) == pytest.approx(1.5 + 0.5 * math.cos(math.pi / 4))
    assert fall(Clock(8, 8)) == pytest.approx(1.0)


def test_stairs():
    stairs = Stairs((3.0, 2.0, 1.0), (0.5, 0.75))
    assert [stairs(Clock(i, 4)) for i in range(5)] == [3.0, 3.0, 2.0, 1.0, 1.0]


def test_numbers_and_products():
    assert as_schedule(3)(Clock()) == 3.0
    ramp = Linear(0.0, 1.0, 10, fit=None)
    assert as_schedule(ramp) is ramp
    assert (2 * ramp * 3)(Clock(5, 10)) == pytest.approx(3.0)
    assert (Constant(2.0) * 0.25)(Clock()) == 0.5


@given(
    st.integers(0, 200), st.integers(1, 100), st.floats(-5, 5), st.floats(-5, 5), st.integers(1, 99)
)
def test_ramps_stay_between_their_ends(step, total, a, b, steps):
    for schedule in (Linear(a, b, steps), Linear(a, b, steps, fit=None), Cosine(a, b)):
        assert min(a, b) - 1e-9 <= schedule(Clock(step, total)) <= max(a, b) + 1e-9
