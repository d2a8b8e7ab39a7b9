import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isthmus.activations import formats
from isthmus.errors import IsthmusError

VALUES = hnp.arrays(np.float32, (5, 7), elements=st.floats(-1e4, 1e4, width=32))
STEP = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def back(stored, dtype, index):
    """Through the reader, as mapped tensors."""
    arrays = {
        suffix: torch.from_numpy(array.copy().view(np.int16) if array.dtype == np.uint16 else array)
        for suffix, array in stored.items()
    }
    out = torch.full((len(index), 7), torch.nan)
    formats.Column.of(arrays, dtype).take(np.array(index), out)
    return out.numpy()


@pytest.mark.parametrize("dtype", formats.FORMATS)
@given(values=VALUES)
def test_rounding_is_that_of_the_format(dtype, values):
    stored = formats.encode(torch.from_numpy(values), dtype)
    layout = formats.arrays_of(dtype, 7)
    for suffix, array in stored.items():
        assert (array.dtype, array.shape[1:]) == layout[suffix]
    index = [4, 0, 0, 2]
    found, true = back(stored, dtype, index), values[index]
    if dtype == "int8":
        scale = np.abs(true).max(1, keepdims=True) / 127
        assert (np.abs(found - true) <= scale * 0.5001 + 1e-30).all()
    else:
        assert (np.abs(found - true) <= STEP[dtype] * np.abs(true) + 2.0**-24).all()
    assert formats.finite(stored, dtype)


def test_bfloat16_is_the_upper_half_of_float32():
    values = torch.tensor([[1.0, -2.5, 3.140625, 2.0**90, 0.0, -0.0, 7.0]])
    stored = formats.encode(values, "bfloat16")[""]
    upper = (values.numpy().view(np.uint32) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(stored, upper)


def test_8_bits_use_their_whole_range_in_every_row():
    values = torch.tensor([[1e-6, -6e-7], [0.0, 0.0], [254.0, 2.0]])
    stored = formats.encode(values, "int8")
    np.testing.assert_array_equal(stored[""], [[127, -76], [0, 0], [127, 1]])
    np.testing.assert_allclose(stored[".scale"], [1e-6 / 127, 0.0, 2.0])


@pytest.mark.parametrize("dtype", formats.FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found(dtype, bad):
    values = torch.ones(3, 7)
    values[1, 4] = bad
    assert not formats.finite(formats.encode(values, dtype), dtype)


def test_too_large_for_float16_is_found():
    stored = formats.encode(torch.full((1, 7), 7e4), "float16")
    assert not formats.finite(stored, "float16")
    with pytest.raises(IsthmusError, match="'p' are not finite in float16: use bfloat16"):
        raise formats.overflow("p", "float16")


def test_rows_to_a_part_of_wider_rows():
    stored = formats.encode(torch.arange(35.0).reshape(5, 7), "float32")
    out = torch.zeros(2, 10)
    column = formats.Column.of({"": torch.from_numpy(stored[""])}, "float32")
    column.take(np.array([3, 1]), out[:, 2:9])
    assert out[:, 2:9].tolist() == [list(range(21, 28)), list(range(7, 14))]
    assert out[:, [0, 1, 9]].sum() == 0


def test_an_unknown_format():
    with pytest.raises(IsthmusError, match="did you mean 'bfloat16'"):
        formats.check("bf16loat")
