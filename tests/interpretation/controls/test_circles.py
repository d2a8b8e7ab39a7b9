"""Circles that are planted, and none."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from isthmus.errors import IsthmusError
from isthmus.interpretation.controls import circle


def planted(number, times, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    plane = np.linalg.qr(rng.standard_normal((20, 2)))[0]
    which = np.repeat(np.arange(number), 5)
    angle = 2 * np.pi * times * which / number
    rows = np.stack((np.cos(angle), np.sin(angle)), 1) @ plane.T + 3
    return rows + noise * rng.standard_normal(rows.shape), which


@pytest.mark.parametrize("number", [7, 12])
def test_a_planted_circle_is_found_at_its_frequency(number):
    for times in (1, 2, 3):
        found = circle(*planted(number, times), number)
        assert np.isclose(found.shares[times - 1], 1)
        assert np.isclose(found.share, times == 1, atol=1e-9)
        assert np.isclose(sum(found.shares), 1)


@pytest.mark.parametrize("number", [7, 12])
def test_the_share_is_the_r2_of_a_regression_on_the_angle(number):
    rows, which = planted(number, 1, noise=0.3)
    means = np.stack([rows[which == i].mean(0) for i in range(number)])
    angle = 2 * np.pi * np.arange(number) / number
    x = np.stack((np.cos(angle), np.sin(angle)), 1)
    told = LinearRegression().fit(x, means).predict(x)
    spread = ((means - means.mean(0)) ** 2).sum()
    assert np.isclose(circle(rows, which, number).share, 1 - ((means - told) ** 2).sum() / spread)


def test_means_without_order_have_the_share_of_chance():
    rng = np.random.default_rng(1)
    found = [circle(rng.standard_normal((7, 30)), np.arange(7), 7, draws=100) for _ in range(60)]
    assert abs(np.mean([one.share for one in found]) - found[0].chance) < 0.02
    beyond = np.mean([one.share > one.high for one in found])
    assert beyond < 0.15


def test_places_without_rows_and_too_few_are_refused():
    with pytest.raises(IsthmusError, match="each needs a row"):
        circle(np.zeros((3, 2)), np.array([0, 1, 2]), 5)
    with pytest.raises(IsthmusError, match="4 or more"):
        circle(np.zeros((3, 2)), np.array([0, 1, 2]), 3)
