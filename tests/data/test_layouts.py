import numpy as np
import pytest

from isthmus.data.layouts import Arrays, Columns, Other, found_layout, layout_of


def read(how, path, channel=None):
    return layout_of(how).parts(path, "made", channel)


@pytest.fixture
def archive(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    return save


@pytest.mark.parametrize(
    ("then", "shape"), [("", (2, 3, 4)), ("channels last", (2, 4, 3)), ("pixels", (6, 4))]
)
def test_rows_are_turned_as_stated(then, shape, archive):
    rows = np.arange(24).reshape(2, 3, 4)
    train, test, labels, _ = read(
        {"as": "arrays", "train": "x", "labels": "y", "then": then}, archive(x=rows, y=[1, 2])
    )
    assert train.shape == shape
    assert test is None
    assert labels.tolist() == [1, 2]
    if then == "channels last":
        np.testing.assert_array_equal(train[1, 3], rows[1, :, 3])
    if then == "pixels":
        np.testing.assert_array_equal(train[4], rows[1, 1])


def test_bits_become_bytes(archive):
    frames = np.eye(2, dtype=np.uint8)
    train, *_ = read({"as": "arrays", "train": "x", "then": "bytes"}, archive(x=frames))
    assert train.tolist() == [[255, 0], [0, 255]]
    assert train.dtype == np.uint8


def test_table_that_says_so_is_an_array_without_what_is_dropped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("n,a,target,part\n9,1.5,red,train\n9,2,blue,test\n9,3,red,train\n")
    how = {"as": "table", "target": "target", "drop": ["n"], "split": "part", "rows": "array"}
    train, test, labels, held = read(how, path)
    assert train.tolist() == [[1.5], [3]]
    assert train.dtype == np.float32
    assert test.tolist() == [[2]]
    assert (labels.tolist(), held.tolist()) == ([1, 1], [0])


def test_table_with_text_and_gaps_keeps_every_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b,y\n1.5,red,3\n,blue,4\n2,,5\n")
    train, _, labels, _ = read({"as": "table", "target": "y"}, path)
    assert train["a"].isna().tolist() == [False, True, False]
    assert train["b"].isna().tolist() == [False, False, True]
    assert train["b"].tolist()[:2] == ["red", "blue"]
    np.testing.assert_array_equal(labels, np.float32([3, 4, 5]))


def test_what_no_manifest_states_is_found(archive, tmp_path):
    assert found_layout(archive(X=np.eye(2), y=[0, 1])) == Arrays("X", labels="y")
    two = archive(x_train=np.eye(2), x_test=np.eye(2), y_train=[0, 1])
    assert found_layout(two) == Arrays("x_train", "x_test", "y_train")
    assert found_layout(archive(bold=np.eye(2))) == Other()
    assert found_layout(tmp_path / "a.csv.gz") == Columns()
    assert found_layout(tmp_path / "a.txt") == Other("text")
    assert found_layout(tmp_path / "a.npz.missing").holds == "a file of the type '.missing'"


@pytest.mark.parametrize(
    "how",
    [{}, {"as": "pictures"}, {"as": "arrays", "rows": "x"},
     {"as": "arrays", "train": "x", "then": "upside down"}, {"as": "table", "rows": "frame"}],
)  # fmt: skip
def test_unknown_ways_of_reading_are_refused(how):
    with pytest.raises((ValueError, TypeError)):
        layout_of(how)
