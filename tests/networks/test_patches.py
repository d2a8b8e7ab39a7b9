import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks import Patches

SIDES = st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, SIDES)
def test_images_are_put_back_together(channels, tall, wide, height, width):
    signal = Signal("image", (channels, tall * height, wide * width))
    patches = Patches(signal, (height, width))
    x = torch.randn(3, *signal.shape)
    cut = patches.patchify(x)
    assert patches.grid == (tall, wide)
    assert (
        cut.shape
        == (3, patches.count, patches.dim)
        == (3, tall * wide, signal.numel // (tall * wide))
    )
    assert torch.equal(patches.unpatchify(cut), x)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.none() | SIDES)
def test_vectors_and_series_are_put_back_together(count, size, channels):
    series = channels is not None
    shape = (count * size, channels) if series else (count * size,)
    patches = Patches(Signal("series" if series else "vector", shape), size)
    x = torch.randn(3, *shape)
    cut = patches.patchify(x)
    assert cut.shape == (3, count, size * (channels or 1))
    assert torch.equal(cut[:, -1].flatten(1), x[:, -size:].flatten(1))
    assert torch.equal(patches.unpatchify(cut), x)


def test_patches_are_cut_in_raster_order_with_channels_last():
    image = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)
    cut = Patches(Signal("image", (2, 4, 6)), 2).patchify(torch.from_numpy(image)[None])[0]
    for index in range(6):
        row, column = divmod(index, 3)
        block = image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(cut[index], block.transpose(1, 2, 0).ravel())


def test_an_empty_batch_is_cut_into_no_rows():
    patches = Patches(Signal("image", (1, 4, 4)), 2)
    assert patches.unpatchify(patches.patchify(torch.empty(0, 1, 4, 4))).shape == (0, 1, 4, 4)


@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((1, 8, 8), (2, 2)), ((1, 28, 28), (4, 4)), ((3, 32, 32), (4, 4)),
        ((3, 64, 64), (8, 8)), ((1, 27, 31), (9, 31)), ((1, 1, 1), (1, 1)),
        ((64,), (2,)), ((784,), (28,)), ((31,), (31,)), ((1,), (1,)),
    ],
)  # fmt: skip
def test_a_size_that_fits_is_chosen(shape, patch):
    kind = "image" if len(shape) == 3 else "vector"
    assert Patches(Signal(kind, shape)).patch == patch


@pytest.mark.parametrize(
    ("signal", "patch", "message"),
    [
        (Signal("image", (1, 12, 8)), 3, "patches of 3x3 .* are 1, 2, 4"),
        (Signal("vector", (10,)), 4, "are 1, 2, 5, 10"),
        (Signal("vector", (10,)), 0, "are 1, 2, 5, 10"),
        (Signal("vector", (10,)), (5, 5), "has 2 sizes"),
    ],
)
def test_sizes_that_work_are_named(signal, patch, message):
    with pytest.raises(IsthmusError, match=message):
        Patches(signal, patch)
