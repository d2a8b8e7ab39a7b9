"""The page: one table, one picture, and what has no number says why."""

import re

import pytest

from isthmus.dictionary_benchmark.benchmark_figures import (
    BenchmarkResult,
    DictionaryRow,
    TaskRun,
)
from isthmus.dictionary_benchmark.benchmark_page import benchmark_page, number, picture
from isthmus.dictionary_benchmark.core_measures import CoreMeasures
from isthmus.dictionary_benchmark.letter_absorption import LetterAbsorption

WHY = "not measurable on this host: it cannot spell"
SETTINGS = {"texts": 100, "context": 64, "tokens": 4096, "latents": 40}


@pytest.fixture
def found():
    rows = [
        DictionaryRow("<b>mine</b>", "layers.1", 64),
        DictionaryRow("pca", "layers.1", 8, "principal components"),
    ]
    core = {
        "<b>mine</b>": {"d": (0.2, 1.0), "e": (0.3, 1.0)},
        "pca": {"d": (0.0, 1.0), "e": (0.0, 1.0)},
    }
    runs = [
        *(TaskRun("core", name, 0, {"fvu": units}) for name, units in core.items()),
        *(TaskRun("absorption", row.name, 0, {}, WHY) for row in rows),
    ]
    tasks = [CoreMeasures(), LetterAbsorption()]
    return BenchmarkResult(
        "resident", "abc", 1, "held-out", {"made": 400}, SETTINGS, rows, tasks, runs
    )


def test_values_stand_with_their_intervals_and_directions(found):
    page = benchmark_page(found)
    assert ">fvu ↓<" in page
    assert "0.250" in page
    assert re.search(r"0\.2\d\d to 0\.3\d\d|0\.1\d\d to 0\.[23]\d\d", page)
    assert page.count(WHY.partition(": ")[2]) >= 2
    assert "400" in page


def test_names_are_text_and_no_markup(found):
    page = benchmark_page(found)
    assert "<b>mine</b>" not in page
    assert "&lt;b&gt;mine&lt;/b&gt;" in page
    assert "principal components" in page


def test_the_picture_has_a_dot_for_each_value_and_a_line_for_each_interval(found):
    drawn = picture(found)
    assert drawn.count("<circle") == 2
    assert len(re.findall(r'class="line[ "]', drawn)) == 1
    assert "lower is better" in drawn


def test_numbers_are_short():
    assert number(float("nan")) == "-"
    assert number(0.123456) == "0.123"
    assert number(1234.56) == "1235"
