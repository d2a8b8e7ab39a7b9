"""Networks that keep an image's places: sizes, layout, and what each place sees."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.networks import GridDecoder, GridEncoder, ResidualStack, grid_shape

SMALL = {"channels": 6, "blocks": 1, "inner": 2}


def image(*shape):
    return Signal("image", shape)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    halvings=st.integers(0, 4),
)
@example(1, 28, 28, 2)
@example(3, 27, 31, 3)
@example(3, 64, 5, 4)
def test_the_decoder_returns_the_size_the_encoder_read(channels, height, width, halvings):
    signal = image(channels, height, width)
    rows, columns = grid_shape(signal, halvings)
    options = {"halvings": halvings, **SMALL}
    z = GridEncoder(signal, 5, **options)(torch.randn(2, *signal.shape))
    assert z.shape == (2, rows * columns * 5)
    assert GridDecoder(signal, 5, **options)(z).shape == (2, *signal.shape)


@pytest.mark.parametrize(
    ("side", "halvings", "grid"), [(128, 2, 32), (32, 2, 8), (28, 2, 7), (28, 0, 28), (9, 5, 2)]
)
def test_each_strided_layer_halves(side, halvings, grid):
    assert grid_shape(image(1, side, side), halvings) == (grid, grid)


def test_the_numbers_of_a_place_lie_side_by_side_row_by_row():
    """Far from each other, a pixel reaches the places around it and no others."""
    signal = image(1, 64, 32)
    assert grid_shape(signal, 2) == (16, 8)
    encoder = GridEncoder(signal, 3, **SMALL)
    x = torch.zeros(2, *signal.shape)
    x[1, 0, 50, 4] = 1.0
    z = encoder(x).detach().unflatten(1, (16, 8, 3))
    moved = (z[1] != z[0]).any(2)
    assert bool(moved[12, 1])
    assert not bool(moved[:8].any())
    assert not bool(moved[:, 5:].any())
    decoder = GridDecoder(signal, 3, **SMALL)
    other = z[:1].clone()
    other[0, 12, 1] += 1.0
    both = decoder(torch.cat([z[:1], other]).flatten(1)).detach()
    moved = both[0, 0] != both[1, 0]
    assert bool(moved[48:52, 4:8].any())
    assert not bool(moved[:32].any())
    assert not bool(moved[:, 24:].any())


def test_a_residual_stack_is_its_formula():
    stack = ResidualStack(4, 2, 3).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    expected = x
    for block in stack.blocks:
        inner = torch.nn.functional.conv2d(
            expected.clamp_min(0.0), block[1].weight, block[1].bias, padding=1
        )
        last = block[3].weight[:, :, 0, 0]
        added = torch.einsum("oi,nihw->nohw", last, inner.clamp_min(0.0))
        expected = expected + added + block[3].bias[:, None, None]
    torch.testing.assert_close(stack(x), expected.clamp_min(0.0))


def test_the_published_sizes():
    """The layers of the authors' example, 32 x 32 colour images, weights and biases counted."""
    signal = image(3, 32, 32)
    encoder, decoder = GridEncoder(signal, 64), GridDecoder(signal, 64)
    blocks = 2 * ((9 * 128 + 1) * 32 + (32 + 1) * 128)
    down = (16 * 3 + 1) * 64 + (16 * 64 + 1) * 128 + (9 * 128 + 1) * 128 + (128 + 1) * 64
    up = (9 * 64 + 1) * 128 + (16 * 128 * 64 + 64) + (16 * 64 * 3 + 3)
    assert sum(p.numel() for p in encoder.parameters()) == down + blocks
    assert sum(p.numel() for p in decoder.parameters()) == up + blocks


def test_signals_without_places_are_a_sentence():
    with pytest.raises(IsthmusError, match="reads images"):
        GridEncoder(Signal("vector", (9,)), 3)
