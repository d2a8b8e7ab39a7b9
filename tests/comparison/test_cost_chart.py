"""The picture of quality over cost."""

import math
import re

import pytest

from isthmus.comparison.cost_chart import HEIGHT, Point, frontier, scatter


def point(name, cost, quality):
    return Point(name, cost, quality, quality - 0.1, quality + 0.1, False)


def test_the_frontier_is_what_nothing_cheaper_matches():
    points = [point("a", 1, 0.2), point("b", 2, 0.9), point("c", 3, 0.8), point("d", 3, 0.95)]
    assert [p.name for p in frontier(points, True)] == ["a", "b", "d"]
    assert [p.name for p in frontier(points, False)] == ["a"]


@pytest.mark.parametrize("number", [1, 2, 12])
def test_every_point_is_drawn_within_the_picture(number):
    points = [point(f"<m{i}>", 0.01 * 3**i, 0.5) for i in range(number)]
    text = scatter([*points, point("bad", 1.0, math.nan)], "seconds", "fvu", False)
    assert text.count("<circle") == number
    assert "&lt;m0&gt;" in text
    assert "<m0>" not in text
    heights = [float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" class="name"', text)]
    assert len(heights) == number
    assert all(0 < y < HEIGHT for y in heights)
    assert all(b - a >= 15.9 for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False))


def test_nothing_measured_is_said():
    assert "Nothing" in scatter([point("a", 1.0, math.nan)], "seconds", "fvu", False)
