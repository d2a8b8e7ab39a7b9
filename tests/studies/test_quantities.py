"""Quantities: what they compute, their texts, their nulls, and which are refused."""

import math

import pytest

from isthmus.errors import IsthmusError
from isthmus.studies import apart, less, quantity, ratio, value

F = {"a": {"x": 2.0, "y": 8.0}, "b": {"x": 1.0, "y": 2.0}, "c": {"x": 4.0, "y": 0.0}}


def test_a_ratio_of_several_measures_is_their_geometric_mean():
    one, both = ratio("x", "a", to="b"), ratio(("x", "y"), "a", to="b")
    assert one(F) == 2.0
    assert both(F) == pytest.approx(math.sqrt(2.0 * 4.0))
    assert both.text == "x and y of a divided by that of b"
    assert (both.null, both.logarithmic) == (1.0, True)


def test_a_difference_of_several_measures_is_their_mean():
    assert less(("x", "y"), "a", than="b")(F) == pytest.approx((1.0 + 6.0) / 2)
    assert less("x", "a", than="b").null == 0.0


def test_how_far_two_are_apart_is_the_same_in_either_direction():
    figures = {"a": {"l0": 18.0}, "b": {"l0": 20.0}, "c": {"l0": 22.0}}
    assert apart("l0", "a", to="b")(figures) == pytest.approx(0.1)
    assert apart("l0", "c", to="b")(figures) == pytest.approx(0.1)
    assert apart("l0", "a", to="b").text == "l0 of a, relative to b, from 1"
    assert not apart("l0", "a", to="b").logarithmic


def test_a_control_takes_the_place_of_the_method():
    assert ratio("x", "a", to="b").for_arm("c")(F) == 4.0
    assert less("x", "a", than="b").for_arm("c").text == "x of c, less that of b"
    assert value("x", "a").for_arm("c")(F) == 4.0
    with pytest.raises(ValueError, match="give its control as a quantity"):
        quantity("own", lambda f: f["a"]["x"]).for_arm("b")


def test_a_ratio_of_negative_numbers_has_no_side():
    below_zero = {"a": {"x": -1.1}, "b": {"x": -2.0}}
    assert math.isnan(ratio("x", "a", to="b")(below_zero))
    assert math.isnan(quantity("complex", lambda f: f["a"]["x"] ** 0.5)(below_zero))
    assert math.isnan(quantity("overflow", lambda f: 1e200**2)(F))


def test_an_arm_that_is_not_measured_is_one_sentence():
    with pytest.raises(IsthmusError, match=r"'x of d.*' wants 'd'.*its arms are a, b, c"):
        ratio("x", "d", to="b")(F)


def test_what_is_undefined_is_nan():
    assert math.isnan(ratio("y", "a", to="c")(F))
    assert math.isnan(ratio("y", "c", to="a")(F))


def _worst(figures):
    return max(found["x"] for found in figures.values())


def test_a_best_of_and_a_worst_of_are_known():
    assert quantity("worst", _worst).is_extreme
    inner = lambda f: 1.0 + _worst(f)  # noqa: E731
    assert quantity("through another", inner).is_extreme
    inner.__module__ = "isthmus.studies.made"
    assert not quantity("of a package that is not looked into", inner).is_extreme
    _worst.__module__ = "isthmus.studies.other"
    assert quantity("through another of the library", inner).is_extreme
    assert not ratio(("x", "y"), "a", to="b").is_extreme
    assert not less("x", "a", than="b").is_extreme
