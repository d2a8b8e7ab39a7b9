"""What goes into reconstruct comes back: shape, layout, units, type."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import isthmus
from isthmus import notices
from isthmus.anatomy import Signal
from isthmus.anatomy.layout import raw_rows, restored
from isthmus.data import as_source

DIGITS = (load_digits().images[:60] / 16).astype(np.float32)
BYTES = (DIGITS * 255).astype(np.uint8)
COLOUR = np.repeat(BYTES[..., None], 3, -1)


def fitted(X, recipe="vae", **options):
    with notices.collected(quiet=True):
        return isthmus.fit(recipe, X, latent_dim=4, steps=3, progress=False, **options)


@pytest.mark.parametrize(
    "X",
    [
        BYTES, BYTES[:, None], BYTES[..., None], COLOUR, COLOUR.transpose(0, 3, 1, 2),
        torch.from_numpy(COLOUR), DIGITS[..., None], DIGITS, DIGITS.astype(np.float64),
        DIGITS.astype(np.float16), (DIGITS * 65535).astype(np.uint16),
        (DIGITS * 255).astype(np.int64), np.stack([DIGITS, DIGITS], -1), DIGITS * 255,
        torch.from_numpy(DIGITS).bfloat16(), np.asfortranarray(DIGITS[..., None]),
    ],
    ids=lambda X: f"{X.dtype}-{tuple(X.shape)}",
)  # fmt: skip
def test_images(X):
    model = fitted(X)
    with notices.collected(quiet=True):
        recon = model.reconstruct(X)
        again = model.reconstruct(as_source(X, "image"))
    assert type(recon) is type(X)
    assert recon.dtype == X.dtype
    assert recon.shape == X.shape
    assert tuple(again.shape) == tuple(X.shape)
    assert torch.equal(again.double(), _plain(recon))
    drawn = model.sample(3)
    assert tuple(drawn.shape[1:]) == tuple(X.shape[1:])
    # The same numbers as the model has, in other axes and units.
    inside = model.reconstruct(X, as_read=True)
    assert tuple(inside.shape[1:]) == model.signal.shape
    inside = (inside.movedim(1, -1) if model.signal.channels_last else inside).flatten().double()
    unit = 255.0 if model.signal.dtype == "uint8" else 1.0
    whole = "int" in str(X.dtype)
    step = 1.0 if whole else 0.02 * float(inside.abs().max())
    assert float((_plain(recon).flatten() - unit * inside).abs().max()) <= step


def _plain(values):
    array = isinstance(values, np.ndarray)
    return torch.from_numpy(values.astype(np.float64)) if array else values.double()


def test_bytes_are_rounded_and_clipped():
    signal = Signal("image", (1, 1, 3), "uint8", flat=True)
    recon = torch.tensor([[[[-0.1, 0.4999 / 255, 1.2]]]])
    assert restored(np.zeros((1, 1, 3), "u1"), recon, signal).tolist() == [[[0, 0, 255]]]
    assert raw_rows(recon, signal).dtype == torch.uint8


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32", "int64", "uint64"])
def test_whole_numbers_are_rounded_within_their_type_and_it_is_said(dtype):
    X = np.arange(40).reshape(10, 4).astype(dtype)
    recon = torch.full((10, 4), 1e30)
    with notices.collected(quiet=True) as said:
        found = restored(X, recon, Signal.infer(X))
    assert found.dtype == X.dtype
    assert (found > np.iinfo(dtype).max * 0.99).all()
    assert "pass them as floats" in said[0]


def test_lists_come_back_as_lists():
    arrays, tensors = list(DIGITS), list(torch.from_numpy(DIGITS))
    model = fitted(arrays)
    assert all(isinstance(one, np.ndarray) and one.shape == (8, 8)
               for one in model.reconstruct(arrays))  # fmt: skip
    assert all(isinstance(one, torch.Tensor) for one in model.reconstruct(tensors))
    numbers = DIGITS[:, 0].tolist()
    assert isinstance(fitted(numbers, "plain").reconstruct(numbers)[0], list)


def test_series_whose_channels_come_first():
    X = np.random.default_rng(0).normal(size=(20, 3, 30))
    model = fitted(X, "plain", axis=1)
    assert model.signal.shape == (30, 3)
    assert model.reconstruct(X).shape == X.shape
    np.testing.assert_allclose(
        model.reconstruct(X), model.reconstruct(as_source(X, axis=1)).numpy(), rtol=1e-6
    )
    other = fitted(np.ascontiguousarray(X.transpose(0, 2, 1)), "plain")
    np.testing.assert_array_equal(model.encode(X), other.encode(X.transpose(0, 2, 1)))


def test_decode_and_sample_of_bytes_are_bytes():
    model = fitted(COLOUR)
    assert model.decode(model.encode(COLOUR)).dtype == np.uint8
    assert np.array_equal(model.decode(model.encode(COLOUR)), model.reconstruct(COLOUR))
    assert model.sample(2).dtype == torch.uint8
    assert model.sample(2, as_read=True).shape == (2, 3, 8, 8)
    pair = {"a": BYTES, "b": DIGITS.reshape(60, -1)}
    drawn = fitted(pair, "mvae").reconstruct(pair)
    assert drawn["a"].dtype == np.uint8
    assert drawn["b"].dtype == np.float32
