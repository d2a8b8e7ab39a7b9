"""What is given beside the examples, by columns."""

import numpy as np
import pytest
import torch

from isthmus.data.given import given_source
from isthmus.errors import IsthmusError

pd = pytest.importorskip("pandas")


def frame(kinds):
    return pd.DataFrame({"a": np.arange(4.0), "b": np.arange(4.0) ** 2, "kind": kinds})


@pytest.mark.parametrize("hole", [None, float("nan"), "", " "])
def test_a_missing_label_is_no_level_of_its_own(hole):
    with pytest.raises(IsthmusError, match="'kind', given as 'y', has no value in row 2: leave"):
        given_source(frame(["cat", "dog", hole, "cat"]), {"y": "kind"})


def test_a_table_with_an_empty_cell_is_answered_alike(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,kind\n1,2,cat\n2,3,\n4,5,dog\n")
    with pytest.raises(IsthmusError, match="has no value in row 1: leave"):
        given_source(path, {"y": "kind"})


def test_none_is_a_word():
    source, columns = given_source(frame(["none", "dog", "none", "cat"]), {"y": "kind"})
    assert columns.levels["y"] == ["cat", "dog", "none"]
    assert source.given["y"].tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize("given", [np.zeros(4), [0, 1, 0, 1], 3])
def test_given_is_a_mapping(given):
    with pytest.raises(IsthmusError, match="pass a mapping of names"):
        given_source(np.ones((4, 2)), given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_may_be_nan_where_nothing_was_observed(dtype):
    seen = torch.tensor([[True, False], [True, True], [False, True]])
    X = torch.where(seen, torch.ones(3, 2), torch.nan).to(dtype).requires_grad_(True)
    rows = given_source(X, mask=seen)[0].rows(torch.arange(3))
    assert torch.equal(rows, seen.float())


def test_a_mask_that_does_not_fit_is_said_before_the_nan_that_it_leaves():
    with pytest.raises(IsthmusError, match="the mask has the shape"):
        given_source(np.full((4, 5), np.nan), mask=np.ones((4, 3), bool))
