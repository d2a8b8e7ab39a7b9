import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isthmus.anatomy import Source
from isthmus.data import ArraySource, CollectionSource, Subset, as_source
from isthmus.errors import IsthmusError


def index(*rows):
    return torch.tensor(rows)


NUMERIC = ["bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64",
           "float16", "float32", "float64", ">f4", ">i2"]  # fmt: skip


@pytest.mark.parametrize("dtype", NUMERIC)
def test_rows_of_every_dtype_are_the_indexed_values_as_float32(dtype):
    raw = np.arange(30).reshape(10, 3) % 2 if dtype == "bool" else np.arange(30).reshape(10, 3)
    raw = raw.astype(dtype)
    source = ArraySource(raw)
    rows = source.rows(index(7, 0, 7))
    assert isinstance(source, Source)
    assert rows.dtype == torch.float32
    np.testing.assert_array_equal(rows.numpy(), raw[[7, 0, 7]].astype(np.float32))
    assert (source.signal.low, source.signal.high) == (raw.min(), raw.max())


@given(hnp.arrays(np.float32, (5, 4), elements=st.floats(-1e6, 1e6, width=32)), st.data())
def test_tensor_array_and_view_give_the_same_rows(raw, data):
    at = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=8)))
    expected = raw[at.numpy()]
    reversed_twice = np.ascontiguousarray(raw[::-1])[::-1]
    read_only = raw.copy()
    read_only.flags.writeable = False
    for form in (raw, torch.from_numpy(raw), np.asfortranarray(raw), reversed_twice, read_only):
        np.testing.assert_array_equal(ArraySource(form).rows(at).numpy(), expected)


def test_array_in_memory_is_shared_not_copied():
    raw = np.zeros((4, 2), np.float32)
    source = ArraySource(raw)
    raw[2] = 5
    assert source.rows(index(2)).tolist() == [[5, 5]]


def test_bytes_of_images_are_fractions_and_so_is_their_range():
    raw = np.full((3, 4, 5), 51, np.uint8)
    raw[1, 0, 0] = 255
    source = ArraySource(raw)
    assert source.signal.kind == "image"
    assert source.signal.shape == (1, 4, 5)
    assert source.signal.low == pytest.approx(0.2)
    assert source.signal.high == 1.0
    assert source.rows(index(0)).unique().item() == pytest.approx(0.2)


def test_channels_last_images_come_channels_first():
    raw = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    rows = ArraySource(raw).rows(index(3, 1))
    assert rows.shape == (2, 3, 6, 5)
    np.testing.assert_allclose(rows.numpy(), raw[[3, 1]].transpose(0, 3, 1, 2) / 255, rtol=1e-6)


def test_kind_overrules_the_guess():
    raw = np.zeros((4, 6, 5), np.float32)
    assert ArraySource(raw).signal.kind == "series"
    assert ArraySource(raw, "image").signal.shape == (1, 6, 5)


def test_memory_map_is_not_read_into_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(20, dtype=np.float32).reshape(10, 2))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for form in (mapped, np.asarray(mapped)):
        source = ArraySource(form)
        assert source._tensor is None
        assert np.shares_memory(source._array, mapped)
        assert source.rows(index(9, 0)).tolist() == [[18, 19], [0, 1]]


def test_without_scan_the_range_is_unknown_and_nan_passes():
    signal = ArraySource(np.array([[np.nan]]), scan=False).signal
    assert signal.low is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 6])
def test_scan_names_the_first_bad_row_across_chunks(bad, row, monkeypatch):
    monkeypatch.setattr("isthmus.data.sources.SCAN_ELEMENTS", 4)
    raw = np.zeros((8, 2))
    raw[row, 1] = bad
    raw[7, 0] = np.nan
    with pytest.raises(IsthmusError, match=rf"NaN or infinity \(first in row {row}\)"):
        ArraySource(raw)
    with pytest.raises(IsthmusError, match=rf"row {row}, column 'b'"):
        ArraySource(raw, columns=["a", "b"])


def test_values_beyond_float32_count_as_infinite():
    with pytest.raises(IsthmusError, match="infinity"):
        ArraySource(np.array([[1e300]]))


def test_masked_values_count_as_missing():
    raw = np.ma.MaskedArray([[1, 2], [3, 4]], mask=[[0, 0], [1, 0]])
    with pytest.raises(IsthmusError, match="row 1"):
        ArraySource(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (np.zeros((0, 3)), "empty"),
        (np.zeros((3, 0)), "no elements"),
        (np.zeros(3), "Reshape"),
        (np.array([["a", "b"]]), "not numeric"),
        (np.array([[1, None]], object), "not numeric"),
        (np.zeros((2, 2), complex), "not numeric"),
        (torch.zeros(2, 2).to_sparse(), "to_dense"),
    ],
)
def test_bad_arrays_are_one_sentence_errors(raw, said):
    with pytest.raises(IsthmusError, match=said) as caught:
        ArraySource(raw)
    assert "\n" not in str(caught.value)


def test_gradients_are_left_behind():
    assert not ArraySource(torch.ones(2, 2, requires_grad=True)).rows(index(0)).requires_grad


def test_subset_of_a_subset_reads_the_original_once():
    source = ArraySource(np.arange(10, dtype=np.float32)[:, None])
    inner = Subset(source, [9, 7, 5, 3])
    outer = Subset(inner, torch.tensor([False, True, False, True]))
    assert outer.source is source
    assert len(outer) == 2
    assert outer.rows(index(1, 0)).flatten().tolist() == [3, 7]
    assert outer.signal == source.signal


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ([], "empty"),
        ([0, 3], "row 3 of 3"),
        ([-1], "row -1 of 3"),
        ([0.5], "integers"),
        ([[0]], "integers"),
        (np.array([True]), "one per row"),
        (np.zeros(3, bool), "empty"),
    ],
)
def test_bad_subsets_are_errors(chosen, said):
    with pytest.raises(IsthmusError, match=said):
        Subset(ArraySource(np.zeros((3, 1))), chosen)


def test_collection_gives_aligned_rows_of_every_part():
    a, b = np.arange(4.0)[:, None], np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    source = as_source({"a": a, "b": b})
    assert source.signal.kind == "collection"
    assert source.signal.numel == 7
    assert source.signal.parts["a"].high == 3
    rows = source.rows(index(3, 1))
    assert rows["a"].flatten().tolist() == [3, 1]
    np.testing.assert_allclose(rows["b"][:, 0].numpy(), b[[3, 1]] / 255, rtol=1e-6)
    assert Subset(source, [2]).rows(index(0))["a"].item() == 2


def test_collection_of_unequal_or_no_parts_is_an_error():
    with pytest.raises(IsthmusError, match="'a' has 2, 'b' has 3"):
        as_source({"a": np.zeros((2, 1)), "b": np.zeros((3, 1))})
    with pytest.raises(IsthmusError, match="empty"):
        CollectionSource({})
    with pytest.raises(IsthmusError, match="data of 'b' contain NaN"):
        as_source({"a": np.zeros((1, 1)), "b": np.array([[np.nan]])})


def test_a_collection_within_a_collection_is_one_sentence():
    with pytest.raises(IsthmusError, match=r"'p' is itself a collection.*such as 'p\.a'"):
        as_source({"p": {"a": np.ones((3, 2))}, "c": np.ones((3, 2))})


@pytest.mark.parametrize("kind", ["csr", "dok", "coo"])
def test_sparse_matrices_of_every_kind_are_told_apart_from_mappings(kind):
    source = as_source(scipy.sparse.eye_array(4, format=kind))
    np.testing.assert_array_equal(source.rows(torch.arange(4)).numpy(), np.eye(4))
