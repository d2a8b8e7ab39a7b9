import sys
from math import ceil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data import ArraySource, as_source, load, split
from isthmus.errors import IsthmusError, MissingExtra

X = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize(
    "given_as",
    [X, torch.from_numpy(X), X.tolist(), tuple(map(tuple, X)), list(torch.from_numpy(X)),
     pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(X, columns=["a", "b"]).astype("Int64")],
)  # fmt: skip
def test_every_form_of_rows_reads_alike(given_as):
    np.testing.assert_array_equal(as_source(given_as).rows(torch.arange(3)).numpy(), X)


def test_source_and_data_pass_through():
    source = ArraySource(X)
    assert as_source(source) is source
    data = load("iris")
    np.testing.assert_array_equal(as_source(data).rows(torch.arange(3)), data.train[:3])


def test_a_name_comes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iris").mkdir()
    assert as_source("iris").signal.shape == (4,)
    with pytest.raises(IsthmusError, match="holds no images"):
        as_source("./iris")
    np.save(tmp_path / "x.npy", X)
    assert as_source("x.npy").signal.shape == X.shape[1:]


def test_a_folder_that_is_a_store_is_named_as_one(tmp_path):
    (tmp_path / "provenance.json").write_text("{}")
    with pytest.raises(IsthmusError, match=r"is a store of activations: name a point.*@POINT"):
        as_source(tmp_path)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([], "empty"),
        ([[[1, 2]], [[1], [2]]], "steps of shape"),
        ([torch.zeros(2, 3), torch.zeros(3, 2)], "row 1 of the list has steps of shape"),
        ([["a"]], "not numeric"),
        ([1.0, 2.0], "Reshape"),
        (pd.DataFrame({"a": []}), "empty"),
        (3.0, "type float"),
        (None, "type NoneType"),
        ("\0", "unknown data set"),
        ("a" * 5000, "unknown data set"),
        ("./nothing", "no file or folder"),
        ("nothing.csv", "no file or folder"),
    ],
)
def test_unreadable_data_are_one_sentence_errors(bad, said, monkeypatch):
    monkeypatch.delenv("ISTHMUS_DATA", raising=False)
    with pytest.raises(IsthmusError, match=said) as caught:
        as_source(bad)
    assert "\n" not in str(caught.value)


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_split_covers_every_row_once(n, share, seed):
    source = ArraySource(np.arange(n, dtype=np.float32)[:, None])
    train, held = split(source, share, seed)
    assert len(held) == min(n - 1, ceil(share * n))
    assert sorted([*train.index.tolist(), *held.index.tolist()]) == list(range(n))
    again = split(source, share, seed)[1]
    assert torch.equal(again.index, held.index)


def test_split_depends_on_the_seed():
    source = ArraySource(np.zeros((100, 1)))
    assert not torch.equal(split(source, 0.3, 0)[1].index, split(source, 0.3, 1)[1].index)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_split_refuses_bad_shares(share):
    with pytest.raises(IsthmusError, match="out of range"):
        split(ArraySource(X), share)


def test_split_refuses_a_single_row():
    with pytest.raises(IsthmusError, match="at least two rows"):
        split(ArraySource(X[:1]), 0.5)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("t.parquet", "pyarrow", "tables"), ("t.csv.zst", "pyarrow", "tables"), ("", "PIL", "images")],
)
def test_missing_extras_say_what_to_install(name, module, extra, tmp_path, monkeypatch):
    if name:
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"isthmus\[{extra}\]"):
        as_source(tmp_path / name)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"a": [1], "s": ["x"], "t": [pd.Timestamp(0)]}), "'s', 't'"),
        (pd.DataFrame({"a": [1.0, None]}), "row 1, column 'a'"),
        (pd.DataFrame({"a": pd.array([1, None], "Int64")}), "row 1, column 'a'"),
    ],
)
def test_a_table_of_more_than_numbers_has_no_rows_before_a_fit(frame, said):
    source = as_source(frame)
    assert len(source) == len(frame)
    with pytest.raises(IsthmusError, match=said):
        source.rows(torch.arange(1))


def test_a_file_is_read_wherever_the_data_folder_variable_points(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path / "nowhere"))
    np.save(tmp_path / "x.npy", X)
    assert as_source(str(tmp_path / "x.npy")).signal.shape == X.shape[1:]
    with pytest.raises(IsthmusError, match="ISTHMUS_DATA"):
        as_source("mnist")
