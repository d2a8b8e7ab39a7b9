"""Signals: inference, reading, errors, round trip."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError


@pytest.mark.parametrize(
    ("rows", "kind", "shape", "last"),
    [
        (np.zeros((5, 7)), "vector", (7,), False),
        (np.zeros((5, 7, 2)), "series", (7, 2), False),
        (np.zeros((5, 7, 9), np.uint8), "image", (1, 7, 9), False),
        (np.zeros((5, 7, 9, 3), np.uint8), "image", (3, 7, 9), True),
        (np.zeros((5, 7, 9, 1)), "image", (1, 7, 9), True),
        (np.zeros((5, 3, 9, 7)), "image", (3, 9, 7), False),
        (np.zeros((5, 3, 9, 3)), "image", (3, 9, 3), False),
        (torch.zeros(5, 7, dtype=torch.bfloat16), "vector", (7,), False),
    ],
)
def test_infer(rows, kind, shape, last):
    signal = Signal.infer(rows)
    assert (signal.kind, signal.shape, signal.channels_last) == (kind, shape, last)
    assert signal.tensor(rows).shape == (5, *shape)
    assert signal.tensor(rows).dtype == torch.float32
    assert signal.numel == np.prod(shape)


def test_infer_collection():
    signal = Signal.infer({"a": np.zeros((4, 2)), "b": np.zeros((4, 8, 8), np.uint8)})
    assert signal.kind == "collection"
    assert signal.numel == 2 + 64
    assert str(signal) == "{a: vector 2, b: image 1x8x8}"
    assert Signal.from_dict(signal.to_dict()) == signal
    with pytest.raises(IsthmusError, match="part by part"):
        signal.tensor(np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (np.zeros(5), None, "no axis of features"),
        (np.zeros(()), None, "no axis of features"),
        (np.array([["a", "b"]]), None, "not numeric"),
        (np.zeros((2, 3), complex), None, "not numeric"),
        (np.zeros((2, 3, 4, 5, 6)), None, "fit no kind"),
        (np.zeros((2, 3)), "image", "image"),
        (np.zeros((2, 3, 4, 5, 6)), "image", "image"),
        (np.zeros((2, 3)), "imag", "image"),
    ],
)
def test_infer_errors(rows, kind, message):
    with pytest.raises(IsthmusError, match=message):
        Signal.infer(rows, kind)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 5)), "expecting 4 features"),
        (np.zeros((3, 2, 2)), "does not fit"),
        (np.array([["a"] * 4] * 3), "not numeric"),
        (np.array([[1.0, 2, 3, 4], [1, np.nan, 3, 4]]), "first in row 1"),
        (np.array([[1.0, 2, 3, np.inf]]), "first in row 0"),
        (np.array([[1.0, 2, 3, 1e300]]), "infinity"),
    ],
)
def test_tensor_errors(rows, message):
    with pytest.raises(IsthmusError, match=message):
        Signal("vector", (4,), "float64").tensor(rows)


def test_bytes_for_a_float_image_model_are_refused():
    signal = Signal("image", (1, 4, 4), "float32")
    with pytest.raises(IsthmusError, match="got bytes"):
        signal.tensor(np.zeros((2, 4, 4), np.uint8))


def test_bytes_are_fractions_of_255_in_images_only():
    rows = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    x = Signal.infer(rows).tensor(rows)
    np.testing.assert_allclose(x.numpy().ravel(), np.arange(256) / 255.0, rtol=1e-6)
    flat = rows.reshape(1, 256)
    np.testing.assert_array_equal(Signal.infer(flat).tensor(flat).numpy(), flat.astype(np.float32))


def test_channels_last_pixels_go_where_they_belong():
    rows = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    x = Signal.infer(rows).tensor(rows)
    assert x.is_contiguous()
    np.testing.assert_allclose(x[1, 2, 3, 4].item(), rows[1, 3, 4, 2] / 255.0, rtol=1e-6)


@given(
    hnp.arrays(
        st.sampled_from(
            [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint16, np.uint64, np.bool_]
        ),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements=st.integers(0, 1),
    ),
    st.booleans(),
    st.booleans(),
)
def test_reading_keeps_values_of_every_dtype_order_and_stride(rows, swap, reverse):
    expected = rows.astype(np.float32)
    odd = rows.astype(rows.dtype.newbyteorder()) if swap else rows
    odd = np.asfortranarray(odd)[::-1] if reverse else odd
    expected = expected[::-1] if reverse else expected
    np.testing.assert_array_equal(Signal.infer(odd).tensor(odd).numpy(), expected)


def test_reading_does_not_change_the_users_array():
    rows = np.full((2, 4, 4), 200, np.uint8)
    Signal.infer(rows).tensor(rows)
    assert (rows == 200).all()
    image = torch.full((2, 4, 4), 200, dtype=torch.uint8)
    Signal.infer(image).tensor(image)
    assert bool((image == 200).all())


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [(0.0, 1.0, True), (0.0, 1.1, False), (-0.1, 1.0, False), (None, None, False)],
)
def test_unit_range(low, high, unit):
    signal = Signal("vector", (3,))
    assert (signal if low is None else signal.bounded(low, high)).is_unit is unit


signals = st.builds(
    Signal,
    kind=st.sampled_from(["vector", "image", "series"]),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(["uint8", "float32", "bfloat16"]),
    low=st.none() | st.floats(-5, 0),
    high=st.none() | st.floats(0, 5),
    channels_last=st.booleans(),
)


@given(signals)
def test_dictionary_round_trip_through_json(signal):
    import json

    assert Signal.from_dict(json.loads(json.dumps(signal.to_dict()))) == signal
