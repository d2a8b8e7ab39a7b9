"""Any data made ready: what is done to them is noted, and nothing leaks from the test rows."""

import numpy as np
import pandas as pd
import pytest

from isthmus.comparison.prepared import prepare, split
from isthmus.errors import IsthmusError


@pytest.fixture
def table(tmp_path):
    """Numbers with a gap, a category, free text, a constant, and a label column."""
    rng = np.random.default_rng(0)
    lines = ["size,colour,remark,unit,kind"]
    for i in range(60):
        size = "" if i == 7 else f"{rng.normal(3.0, 2.0):.4f}"
        lines.append(f"{size},{'red' if i % 3 else 'blue'},text number {i},1,{'ab'[i % 2]}")
    path = tmp_path / "things.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_is_made_ready_and_all_is_noted(table):
    found = prepare(table, "kind")
    features = ("size", "size missing", "colour=blue", "colour=red", "unit")
    assert found.columns == features
    assert (found.rows, found.shape) == (60, (5,))
    assert (found.kind, found.classes) == ("classes", ("a", "b"))
    said = " | ".join(found.notes)
    for part in (
        "text with 60 different values",
        "says nothing: 'unit'",
        "1 missing values",
        "2 classes",
    ):
        assert part in said


def test_without_labels_every_column_is_a_feature(table):
    found = prepare(table)
    assert found.labels is None
    assert found.columns[-2:] == ("kind=a", "kind=b")


def test_splits_are_filled_and_scaled_by_the_training_rows(table):
    found = prepare(table, "kind")
    part = split(found, 1)
    assert len(part.test) == 15 or abs(len(part.test) - 15) <= 1
    assert np.isfinite(part.train).all()
    assert np.isfinite(part.test).all()
    np.testing.assert_allclose(part.train.mean(0), 0.0, atol=1e-6)
    assert part.truths is not None
    words = np.array(part.truths)
    np.testing.assert_allclose(part.train[:, ~words].std(0), 1.0, atol=1e-5)
    # What is 0 or 1 for a word or a gap keeps its units: two values that are 1 apart.
    for column in part.train[:, words].T:
        values = np.unique(column)
        np.testing.assert_allclose(np.diff(values), [1.0], atol=1e-6)
    assert part.train.shape[1] == 4  # 'unit' never varies
    assert part.test_labels is not None
    # What the test rows hold changes nothing in the training rows.
    rng = np.random.default_rng(1)
    test = np.zeros(60, bool)
    for label in (0, 1):
        group = np.flatnonzero(found.labels == label)
        test[rng.permutation(group)[: round(0.25 * len(group))]] = True
    lines = table.read_text().splitlines()
    for row in np.flatnonzero(test):
        lines[row + 1] = f"{1e6 + row},green,,2,{lines[row + 1][-1]}"
    moved = table.with_name("moved.csv")
    moved.write_text("\n".join(lines) + "\n")
    again = split(prepare(moved, "kind"), 1)
    np.testing.assert_array_equal(again.train[:, 1:], part.train[:, 1:])
    gap = part.train[:, 0] - again.train[:, 0]
    assert np.abs(gap).max() < 1e-6


def test_classes_keep_their_proportion(table):
    part = split(prepare(table, "kind"), 0)
    assert part.test_labels is not None
    assert abs(part.test_labels.mean() - 0.5) < 0.08


def test_labels_from_files_arrays_and_archives(table, tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    y = np.arange(20) % 2
    np.savez(tmp_path / "a.npz", X=x, y=y)
    np.testing.assert_array_equal(prepare(tmp_path / "a.npz").labels, y)
    np.save(tmp_path / "y.npy", y)
    np.testing.assert_array_equal(prepare(x, tmp_path / "y.npy").labels, y)
    (tmp_path / "y.txt").write_text("\n".join("ab"[v] for v in y) + "\n")
    assert prepare(x, tmp_path / "y.txt").classes == ("a", "b")
    numbers = prepare(x, np.linspace(0.0, 1.0, 20))
    assert (numbers.kind, numbers.classes) == ("numbers", ())


def test_a_named_set_brings_its_labels():
    found = prepare("iris")
    assert found.kind == "classes"
    assert len(found.classes) == 3
    assert len(found.x) == 150


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("kinds", "did you mean 'kind'"),
        (np.zeros(60), "all labels are the same"),
        (np.zeros(3), r"shape \(3,\) and the data 60 rows"),
    ],
)
def test_bad_labels_are_one_sentence(table, labels, message):
    with pytest.raises(IsthmusError, match=message):
        prepare(table, labels)


def test_bad_tables_are_one_sentence(tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("a,b\n1,2\n")
    with pytest.raises(IsthmusError, match="has 1 rows: pass at least 8"):
        prepare(few)
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n" + "1,2\n" * 9 + "1\n")
    with pytest.raises(IsthmusError, match=r"line 11 of .* has 1 cells instead of 2"):
        prepare(ragged)
    texts = tmp_path / "texts.csv"
    texts.write_text("a\n" + "\n".join(f"word {i}" for i in range(40)) + "\n")
    with pytest.raises(IsthmusError, match="has no usable column"):
        prepare(texts)
    still = prepare(np.ones((20, 3), np.float32))
    with pytest.raises(IsthmusError, match="no column of the data varies"):
        split(still, 0)


def test_labels_that_no_two_rows_share_are_one_sentence():
    X = np.random.default_rng(0).normal(size=(12, 3))
    with pytest.raises(IsthmusError, match="every class has one row"):
        split(prepare(X, np.arange(12)), 0)


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series(["a", "b", None] * 20),
        pd.Series(["a", "b", None] * 20, dtype="string"),
        pd.Series(["a", "b", np.nan] * 20, dtype=object),
        pd.Categorical(["a", "b", None] * 20),
        pd.Series(pd.to_datetime(["2020", "2021", None] * 20)),
        pd.Series([True, False, None] * 20, dtype="boolean"),
        ["a", "b", float("nan")] * 20,
        np.ma.masked_array([1, 2, 3] * 20, mask=[0, 0, 1] * 20),
    ],
    ids=lambda one: str(getattr(one, "dtype", type(one).__name__)),
)
def test_a_missing_label_is_no_class_whatever_holds_it(labels):
    x = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(IsthmusError, match="some labels are missing: give every row a class"):
        prepare(x, labels)


def test_an_empty_line_of_a_file_of_labels_is_no_class(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    (tmp_path / "labels.txt").write_text("a\nb\n\n" * 20)
    with pytest.raises(IsthmusError, match="some labels are missing"):
        prepare(x, tmp_path / "labels.txt")
