"""Masks in the layout of the rows, cut to them, or refused in one sentence."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Batch, Signal
from isthmus.anatomy.masks import read_mask, within
from isthmus.data import as_source
from isthmus.errors import IsthmusError

RNG = np.random.default_rng(0)
VECTOR = Signal("vector", (5,))
SMALL = {"latent_dim": 3, "hidden": (8,), "steps": 2, "batch_size": 4, "progress": False}


def test_masks_of_images_may_lack_the_channels_or_have_them_last():
    image = Signal("image", (3, 4, 6), channels_last=True)
    whole = RNG.random((2, 4, 6, 3)) > 0.5
    assert torch.equal(read_mask(whole, image, 2), torch.from_numpy(whole).movedim(-1, 1))
    pixels = whole[..., 0]
    read = read_mask(pixels, image, 2)
    assert read.shape == (2, 3, 4, 6)
    assert all(torch.equal(read[:, i], torch.from_numpy(pixels)) for i in range(3))
    first = np.moveaxis(whole, -1, 1)
    assert torch.equal(read_mask(first, image, 2), torch.from_numpy(first.copy()))
    grey = Signal("image", (1, 4, 6))
    assert torch.equal(read_mask(pixels, grey, 2), torch.from_numpy(pixels)[:, None])


@pytest.mark.parametrize(
    "X",
    [
        RNG.random((32, 6, 6)).astype(np.float32),
        (RNG.random((32, 6, 6)) * 255).astype(np.uint8),
        (RNG.random((32, 6, 7, 3)) * 255).astype(np.uint8),
    ],
)
def test_hidden_pixels_of_images_are_never_looked_at(X):
    mask = RNG.random(X.shape[:3]) > 0.4
    wide = mask.reshape(*mask.shape, *[1] * (X.ndim - 3))
    other = np.where(wide, X, np.zeros((), X.dtype))
    codes = []
    for rows in (X, other):
        source = as_source(rows, "image")
        model = isthmus.fit("plain", source, mask=mask, scaling="global", **SMALL)
        codes.append(model.encode(rows, mask=mask))
        assert np.isfinite(isthmus.evaluate(model, source, mask=mask)["fvu"].value)
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.ones((4, 3), bool), "the mask has the shape"),
        (np.ones((4, 1), bool), "the mask has the shape"),
        (np.ones((4, 5, 2), bool), "the mask has the shape"),
        (np.ones(3, bool), "3 rows for 4"),
        (np.ones(6, bool), "6 rows for 4"),
        (np.array(True), "a single value for 4 rows"),
        (np.ones((4, 5)), "pass booleans"),
        (np.array(["a"] * 4), "pass booleans"),
    ],
)
def test_a_mask_that_is_not_of_these_rows_is_one_sentence(mask, said):
    X = RNG.normal(size=(4, 5)).astype(np.float32)
    with pytest.raises(IsthmusError, match=said):
        read_mask(mask, VECTOR, 4)
    with pytest.raises(IsthmusError, match=said):
        isthmus.fit("plain", X, mask=mask, **SMALL)
    model = isthmus.fit("plain", X, **SMALL)
    for verb in (model.encode, model.reconstruct, model.score):
        with pytest.raises(IsthmusError, match=said):
            verb(X, mask=mask)
    with pytest.raises(IsthmusError, match=said):
        isthmus.evaluate(model, X, mask=mask)


def test_a_mask_beside_what_has_its_own_is_refused_rather_than_ignored():
    X = RNG.normal(size=(8, 5)).astype(np.float32)
    model = isthmus.fit("plain", X, **SMALL)
    for rows in (as_source(X), Batch(torch.from_numpy(X))):
        with pytest.raises(IsthmusError, match="has its own mask"):
            model.encode(rows, mask=np.ones((8, 5), bool))


def test_steps_that_were_not_observed_are_left_out_of_ragged_rows():
    steps = torch.tensor([[True, True, False], [True, True, True]])
    assert torch.equal(
        within(torch.tensor([True, False]), steps), steps & torch.tensor([[True], [False]])
    )
    longer = torch.tensor([[False, True, True, True], [True, False, True, True]])
    assert torch.equal(within(longer, steps), steps & longer[:, :3])
    with pytest.raises(IsthmusError, match="the mask has 2 steps, and the longest row 3"):
        within(longer[:, :2], steps)


def test_a_mask_beside_a_list_of_texts_is_looked_at():
    texts = ["hello there", "a", "the cat sat", "dogs"] * 4
    model = isthmus.fit("text-vae", texts, steps=2, batch_size=8, progress=False)
    mask = np.ones((16, 11), bool)
    assert np.allclose(model.encode(texts, mask=mask), model.encode(texts), atol=1e-6)
    mask[0, 3:6] = False
    changed = np.abs(np.asarray(model.encode(texts, mask=mask)) - np.asarray(model.encode(texts)))
    assert changed[0].max() > 1e-4
    assert changed[1:].max() < 1e-6
    one_by_one = model.encode(texts, mask=mask, batch_size=3)
    assert np.allclose(one_by_one, model.encode(texts, mask=mask), atol=1e-6)


def test_batches_and_sources_are_checked_as_arrays_are():
    X = RNG.normal(size=(8, 5)).astype(np.float32)
    model = isthmus.fit("plain", X, **SMALL)
    for wrong in (torch.zeros(8, 3), {"a": torch.zeros(8, 5)}):
        with pytest.raises(IsthmusError, match="this model reads"):
            model.encode(Batch(wrong))
    with pytest.raises(IsthmusError, match="are a collection of 'a'"):
        model.encode({"a": X})
    with pytest.raises(IsthmusError, match="batch_size=0"):
        model.encode(X, batch_size=0)
