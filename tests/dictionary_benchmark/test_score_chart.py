"""The picture of all scores."""

import math
import re
from xml.etree import ElementTree

from isthmus.dictionary_benchmark.score_chart import (
    ACROSS,
    ChartColumn,
    Scored,
    score_chart,
    standalone,
)


def column(title, *values):
    return ChartColumn(title, "higher is better", values)


def test_larger_values_stand_further_right_and_intervals_around_them():
    low, high = Scored(0.2, 0.1, 0.3), Scored(0.8, 0.7, 0.9)
    drawn = score_chart(["x", "y"], [False, True], [column("f1", low, high)])
    first, second = (float(x) for x in re.findall(r'cx="([\d.]+)"', drawn))
    assert first < second
    left, right = map(float, re.findall(r'class="line" x1="([\d.]+)" x2="([\d.]+)"', drawn)[0])
    assert left < first < right
    assert 'class="spot baseline"' in drawn


def test_what_was_not_measured_is_not_drawn():
    nothing = Scored(math.nan, math.nan, math.nan)
    drawn = score_chart(["x", "y"], [False] * 2, [column("a", Scored(1, 1, 1), nothing)])
    assert drawn.count("<circle") == 1
    assert "Nothing was measured" in score_chart(["x"], [False], [column("a", nothing)])


def test_more_measures_than_fit_stand_below_and_the_file_is_whole():
    columns = [column(f"m{i}", Scored(float(i), 0.0, 9.0)) for i in range(ACROSS + 1)]
    drawn = score_chart(["a & b"], [False], columns)
    assert drawn.count("a &amp; b") == 2
    tree = ElementTree.fromstring(standalone(drawn))
    assert tree.tag.endswith("svg")
    assert len(tree.findall(".//{*}circle")) == ACROSS + 1
