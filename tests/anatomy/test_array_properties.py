"""Codes of a row depend on its values alone: not on layout, type or the rest of the batch."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import isthmus
from isthmus import notices
from isthmus.data import as_source
from isthmus.errors import IsthmusError

DIGITS = load_digits().images[:40] / 16
KINDS = ("vector", "dictionary", "positions", "series", "grey", "colour", "bytes")
FEW = settings(max_examples=12, deadline=None)


def rows_of(kind):
    """Values that every type below holds exactly, so that types may not matter."""
    rng = np.random.default_rng(3)
    if kind in ("vector", "dictionary"):
        return rng.integers(-8, 9, (40, 6)).astype(np.float32) / 4
    if kind == "positions":
        return rng.integers(-8, 9, (40, 3, 6)).astype(np.float32) / 4
    if kind == "series":
        return rng.integers(-8, 9, (40, 9, 2)).astype(np.float32) / 4
    if kind == "grey":
        return DIGITS.astype(np.float32)
    colour = np.stack([DIGITS, DIGITS[:, ::-1], DIGITS.transpose(0, 2, 1)], -1).astype(np.float32)
    return (colour * 240).astype(np.uint8) if kind == "bytes" else colour


@cache
def fitted(kind):
    recipe, own = "plain", {"latent_dim": 3}
    if kind in ("dictionary", "positions"):
        recipe, own = "topk", {"latent_dim": 12, "k": 2}
    with notices.collected(quiet=True):
        return isthmus.fit(recipe, rows_of(kind), steps=3, progress=False, **own)


def forms(draw, rows, kind, tmp):
    """The same rows in another layout, type or container."""
    kinds = ["C", "F", "negative", "sliced", "read-only", "mapped", "transposed", "tensor",
             "strided tensor", "swapped", "wide", "half", "list", "tensors"]  # fmt: skip
    form = draw(st.sampled_from(kinds))
    if kind == "bytes" and form in ("swapped", "half", "wide"):
        return rows.astype({"swapped": ">i2", "half": np.int16, "wide": np.int64}[form])
    match form:
        case "F":
            return np.asfortranarray(rows)
        case "negative":
            return np.ascontiguousarray(rows[:, ::-1])[:, ::-1]
        case "sliced":
            wide = np.repeat(rows, 2, axis=-1)
            return wide[..., ::2]
        case "read-only":
            rows = rows.copy()
            rows.flags.writeable = False
            return rows
        case "mapped":
            path = tmp / f"{kind}.npy"
            np.save(path, rows)
            return np.load(path, mmap_mode="r")
        case "transposed":
            return np.ascontiguousarray(np.moveaxis(rows, -1, 0)).transpose(*range(1, rows.ndim), 0)
        case "tensor":
            return torch.from_numpy(rows.copy())
        case "strided tensor":
            return torch.from_numpy(np.repeat(rows, 2, 0))[::2]
        case "swapped":
            return rows.astype(">f4")
        case "wide":
            return rows.astype(np.float64)
        case "half":
            return rows.astype(np.float16)
        case "list" if kind != "positions":
            return list(rows)
        case "tensors" if kind != "positions":
            return list(torch.from_numpy(rows))
    return rows


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    return tmp_path_factory.mktemp("arrays")


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_layout_type_and_batch_do_not_matter(kind, tmp, data):
    model, rows = fitted(kind), rows_of(kind)
    index = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=12))
    X = forms(data.draw, rows[index], kind, tmp)
    batch = data.draw(st.integers(1, 13))
    with notices.collected(quiet=True):
        whole, codes = model.encode(rows), model.encode(X, batch_size=batch)
        scores, recon = model.score(X, batch_size=batch), model.reconstruct(X, batch_size=batch)
    # Rounding may differ with the number of rows that are multiplied at once.
    np.testing.assert_allclose(np.asarray(codes), whole[index], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.asarray(scores), model.score(rows)[index], rtol=1e-3, atol=1e-5)
    assert type(recon) is (np.ndarray if isinstance(X, np.memmap) else type(X))
    parts = list(zip(X, recon, strict=True)) if isinstance(X, list) else [(X, recon)]
    for one, back in parts:
        assert tuple(back.shape) == tuple(one.shape)
        assert back.dtype == (one.dtype.newbyteorder("=") if hasattr(one.dtype, "newbyteorder")
                              else one.dtype)  # fmt: skip
    with notices.collected(quiet=True):
        own = kind not in ("positions", "grey") and not isinstance(X, list)
        if own and (kind != "bytes" or str(X.dtype).endswith("uint8")):
            np.testing.assert_allclose(
                np.asarray(model.encode(as_source(X))), np.asarray(codes), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_for_the_same_rows_in_the_same_batches(kind, tmp):
    model, rows = fitted(kind), rows_of(kind)
    np.save(tmp / f"{kind}.npy", rows)
    forms_ = [np.asfortranarray(rows), np.load(tmp / f"{kind}.npy", mmap_mode="r"),
              np.repeat(rows, 2, -1)[..., ::2], rows[::-1].copy()[::-1]]  # fmt: skip
    for X in forms_:
        np.testing.assert_array_equal(model.encode(X), model.encode(rows))


SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
TYPES = st.sampled_from(["u1", "i2", "i8", "u8", "f2", "f4", "f8", ">f4", ">i4", "?", "c8", "U3"])


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, dtype=TYPES, scale=st.sampled_from([0.5, 1, 100, 1e6]), seed=st.integers(0, 9),
       recipe=st.sampled_from(["plain", "topk", "vae"]))  # fmt: skip
def test_any_array_is_fitted_and_rebuilt_or_refused_in_one_sentence(
    shape, dtype, scale, seed, recipe
):
    values = np.random.default_rng(seed).normal(size=(12, *shape)) * scale
    with np.errstate(all="ignore"):
        X = (np.abs(values) if dtype[0] in "u" else values).astype(dtype)
    own = {"k": 2} if recipe == "topk" else {"hidden": (8,)}
    try:
        with notices.collected(quiet=True):
            model = isthmus.fit(recipe, X, latent_dim=4, steps=1, batch_size=4, progress=False,
                                **own)  # fmt: skip
            recon = model.reconstruct(X)
            codes = model.encode(X)
    except IsthmusError:
        return
    assert recon.shape == X.shape
    assert len(codes) == len(X)
    assert np.isfinite(recon.astype("f8")).all()
    if X.dtype.kind != "b":
        assert recon.dtype == X.dtype.newbyteorder("=")
