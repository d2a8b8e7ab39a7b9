"""Labels on disk."""

import math

import pytest

from isthmus.errors import IsthmusError
from isthmus.interpretation.labels import CONTROLS, Label, read_labels, write_labels


@pytest.fixture
def features(tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "examples.parquet").touch()
    return tmp_path


def test_labels_come_back_as_they_were(features):
    labels = [
        Label(3, "“ the” \u202e\n", "rules", 0.75, "detection", 40, {"interval": [0.7, 0.8]}),
        Label(1, "", "endpoint:x", None, "", 0, {}),
    ]
    path = write_labels(features, labels)
    assert path == features / "features" / "labels.parquet"
    assert read_labels(features) == read_labels(path.parent) == [labels[1], labels[0]]


def test_several_methods_side_by_side_and_the_last_of_a_key(features):
    first = [Label(0, "a", "rules", 0.5, m) for m in ("detection", "fuzzing")]
    write_labels(features, first)
    write_labels(features, [Label(0, "b", "other", 0.5, "detection")])
    write_labels(features, [Label(0, "c", "rules", 0.75, "fuzzing")])
    found = {x.key: x.label for x in read_labels(features)}
    assert found == {
        (0, "rules", "detection"): "a",
        (0, "rules", "fuzzing"): "c",
        (0, "other", "detection"): "b",
    }
    assert [x.label for x in read_labels(features, method="rules", metric="fuzzing")] == ["c"]
    assert read_labels(features, name=CONTROLS) == []


def test_scores_that_are_no_numbers_are_missing(features):
    write_labels(features, [Label(0, "a", "rules", math.nan, "detection")])
    assert read_labels(features)[0].score is None


def test_nothing_is_left_of_a_table_that_could_not_be_written(features):
    write_labels(features, [Label(0, "a", "rules")])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_labels(features, [Label(1, "b", "rules", detail={"x": math.inf})])
    assert [x.label for x in read_labels(features)] == ["a"]
    assert sorted(p.name for p in (features / "features").iterdir()) == [
        "examples.parquet", "labels.parquet",
    ]  # fmt: skip


def test_what_is_no_table(features):
    (features / "features" / "labels.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(IsthmusError, match="delete it and label again"):
        read_labels(features)


def test_a_folder_without_features(tmp_path):
    with pytest.raises(
        IsthmusError, match=r"no features \(features/examples\.parquet\): isthmus report"
    ):
        read_labels(tmp_path)
