"""A measure over units and seeds, and its interval."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from isthmus.dictionary_benchmark.benchmark_figures import (
    BenchmarkResult,
    DictionaryRow,
    TaskRun,
    as_csv,
    over_units,
)
from isthmus.dictionary_benchmark.core_measures import CoreMeasures
from isthmus.dictionary_benchmark.sparse_probing import SparseProbing
from isthmus.dictionary_benchmark.task_protocol import TaskMeasure

ABOUT = TaskMeasure("share", True, "what it is")


def result():
    tasks = [CoreMeasures(), SparseProbing()]
    runs = [
        TaskRun("core", "x", 0, {"l0": {"d": (6.0, 2.0), "e": (1.0, 1.0)}}),
        TaskRun("core", "x", 1, {"l0": {"d": (4.0, 2.0)}}, notes=("a note",)),
        TaskRun("sparse_probing", "x", 0, {}, "not measurable on this host: why"),
    ]
    row = DictionaryRow("x", "layers.0", 8)
    return BenchmarkResult("h", "r", 2, "t", {}, {}, [row], tasks, runs)


def test_a_measure_is_the_ratio_of_sums_over_units_and_seeds():
    found = result().figure(CoreMeasures(), "l0", "x")
    assert found.value == pytest.approx(11 / 5)
    assert found.n == 2
    assert result().figure(SparseProbing(), "accuracy_1", "x") is None
    assert result().reason("sparse_probing", "x").endswith("why")
    assert result().notes("core") == ["a note"]
    assert [about.name for _, about in result().main()] == ["l0"]


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        units = {str(i): (float(v), 1.0) for i, v in enumerate(rng.normal(1.0, 2.0, 30))}
        low, high = over_units(ABOUT, units, "classes").interval
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_one_unit_and_equal_units_have_no_interval():
    assert over_units(ABOUT, {"a": (1.0, 2.0)}, "classes").interval is None
    assert over_units(ABOUT, {"a": (1.0, 2.0), "b": (1.0, 2.0)}, "classes").interval is None


def test_an_interval_over_few_units_says_so():
    units = {str(i): (float(i), 1.0) for i in range(9)}
    assert over_units(ABOUT, units, "documents").note == ""
    few = over_units(ABOUT, dict(list(units.items())[:3]), "documents")
    assert few.interval is not None
    assert few.note == "only 3 of the documents: the interval is too narrow"


def test_the_table_says_direction_interval_and_why_nothing_was_measured():
    rows = list(csv.DictReader(io.StringIO(as_csv(result()))))
    first = next(r for r in rows if r["measure"] == "l0")
    assert (first["better"], first["units"], first["of"]) == ("", "2", "documents")
    probing = next(r for r in rows if r["measure"] == "accuracy_1")
    assert (probing["value"], probing["better"]) == ("", "higher")
    assert probing["note"] == "not measurable on this host: why"


def test_a_reason_says_with_how_many_seeds_where_others_gave_a_number():
    found = result()
    task = next(one for one in found.tasks if one.name == "core")
    lost = TaskRun("core", found.rows[0].name, 1, {}, "not measurable on this host: why")
    mixed = replace(found, seeds=2, runs=[*found.runs, lost])
    sentence = "with 1 of 2 seeds not measurable on this host: why"
    assert mixed.notes(task.name) == [sentence, "a note"]
