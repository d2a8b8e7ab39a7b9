"""Arrays of positions: every one a row of features, and results with the axes that were given."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import isthmus
from isthmus import notices
from isthmus.errors import IsthmusError

RNG = np.random.default_rng(0)
ACTS = RNG.normal(size=(20, 6, 10)).astype(np.float32)
SMALL = {"latent_dim": 16, "k": 3, "steps": 4, "batch_size": 8, "progress": False}


def fitted(X, **options):
    with notices.collected(quiet=True) as said:
        return isthmus.fit("topk", X, **{**SMALL, **options}), said


def test_positions_are_rows_and_come_back_with_their_axes():
    model, said = fitted(ACTS)
    assert model.decoder.weight.shape == (16, 10)
    assert "rows of 10 features" in said[0]
    flat, _ = fitted(ACTS.reshape(-1, 10))
    np.testing.assert_array_equal(model.encode(ACTS), flat.encode(ACTS))
    z = model.encode(ACTS)
    assert z.shape == (20, 6, 16)
    np.testing.assert_allclose(z[3, 4], model.encode(ACTS[3, 4][None])[0], rtol=1e-6)
    assert model.reconstruct(ACTS).shape == ACTS.shape
    assert model.score(ACTS).shape == (20, 6)
    tensor = torch.from_numpy(ACTS).double()
    assert model.reconstruct(tensor).dtype == torch.float64
    assert isthmus.evaluate(model, ACTS)["fvu"].n == 120
    assert model.encode(ACTS, code=True).z.shape == (120, 16)


@pytest.mark.parametrize("axis", [1, -1])
def test_maps(axis):
    maps = RNG.normal(size=(9, 10, 4, 4)).astype(np.float32)
    given = maps if axis == 1 else np.ascontiguousarray(np.moveaxis(maps, 1, -1))
    model, _ = fitted(given)
    assert model.signal.axis == axis
    z = model.encode(given)
    assert np.moveaxis(z, axis, -1).shape == (9, 4, 4, 16)
    assert model.reconstruct(given).shape == given.shape
    np.testing.assert_allclose(
        np.moveaxis(z, axis, -1)[2, 3, 1], model.encode(maps[2, :, 3, 1][None])[0], rtol=1e-6
    )
    with pytest.raises(IsthmusError, match="rows of 10 features"):
        model.encode(np.zeros((2, 9, 5, 5), np.float32))


def test_lists_of_batches_and_of_sequences():
    batches = [torch.randn(50, 10) for _ in range(4)] + [torch.randn(7, 10)]
    model, said = fitted(batches)
    assert "207 rows" in said[0]
    z = model.encode(batches)
    assert [tuple(part.shape) for part in z] == [(50, 16)] * 4 + [(7, 16)]
    assert torch.equal(torch.cat(z), model.encode(torch.cat(batches)))
    assert [len(one) for one in model.reconstruct(batches)] == [50] * 4 + [7]
    assert [len(one) for one in model.score(batches)] == [50] * 4 + [7]
    plain, _ = fitted(batches, k=2)
    assert plain.signal.shape == (10,)


def test_kind_and_axis_override():
    assert fitted(ACTS, kind="series")[0].signal.shape == (6, 10)
    model, said = fitted(ACTS, axis=1)
    assert model.signal.shape == (6,)
    assert said == []
    assert model.encode(ACTS).shape == (20, 16, 10)


def test_series_stay_series_for_models_of_series():
    with notices.collected(quiet=True):
        model = isthmus.fit("plain", ACTS, latent_dim=2, steps=2, progress=False)
    assert model.signal.kind == "series"
    assert model.encode(ACTS).shape == (20, 2)


def test_a_mask_of_positions_is_one_sentence():
    model, _ = fitted(ACTS)
    with pytest.raises(IsthmusError, match=r"X\[mask\]"):
        model.encode(ACTS, mask=np.ones((20, 6), bool))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("recipe", ["topk", "jumprelu", "batchtopk", "relu-l1", "vae", "plain"])
def test_other_precisions(recipe, dtype):
    X = torch.from_numpy(ACTS.reshape(-1, 10))
    own = {n: v for n, v in SMALL.items() if n != "k" or "topk" in recipe}
    model = isthmus.fit(recipe, X, **own)
    before = model.encode(X), model.reconstruct(X), model.score(X), model.decode(model.encode(X))
    model.to(dtype)
    after = model.encode(X), model.reconstruct(X), model.score(X), model.decode(before[0])
    worst = {torch.bfloat16: 0.95, torch.float16: 0.99, torch.float64: 1 - 1e-6}[dtype]
    for one, other in zip(before, after, strict=True):
        assert other.dtype in (torch.float32, torch.float64)
        likeness = F.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0)
        assert likeness > worst
    assert model.encode(X.numpy()).dtype in (np.float32, np.float64)
    assert model.reconstruct(X.to(dtype)).dtype == dtype


@pytest.mark.parametrize("axis", [1, -1])
def test_codes_with_positions_are_decoded_with_their_axes(axis):
    maps = np.moveaxis(ACTS, -1, axis)
    model, _ = fitted(maps, axis=axis)
    z = model.encode(maps)
    found = model.decode(z)
    assert type(found) is np.ndarray
    assert found.shape == maps.shape
    np.testing.assert_allclose(found, model.reconstruct(maps), rtol=1e-5, atol=1e-6)
