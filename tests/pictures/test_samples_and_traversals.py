"""Samples and traversals: what is drawn against what the model decodes."""

import numpy as np
import pytest

import isthmus
from isthmus import pictures
from isthmus.errors import IsthmusError
from isthmus.pictures import panels
from isthmus.pictures.traversal import _chosen, _codes, _values

pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(96, 6)).astype(np.float32)
IMAGES = RNG.integers(0, 256, size=(64, 8, 8, 3), dtype=np.uint8)
LINEAR = {"hidden": (), "steps": 5, "batch_size": 32, "progress": False}


@pytest.fixture(scope="module")
def vae():
    return isthmus.fit("vae", ROWS, latent_dim=3, **LINEAR)


@pytest.fixture(scope="module")
def coloured():
    return isthmus.fit(
        "vae", IMAGES, latent_dim=2, network="mlp", hidden=(4,), steps=2, progress=False
    )


def drawn(monkeypatch, name):
    """What is handed to a kind of panel, call by call."""
    calls = []
    whole = getattr(panels, name)
    monkeypatch.setattr(panels, name, lambda *a, **k: calls.append((a, k)) or whole(*a, **k))
    return calls


def test_samples_of_images_are_those_of_the_model_in_colour(coloured, monkeypatch):
    calls = drawn(monkeypatch, "mosaic")
    picture = pictures.samples(coloured, 5, seed=3)
    shown = calls[0][0][1]
    assert shown.shape == (2, 3, 8, 8, 3)
    flat = shown.reshape(6, 8, 8, 3)
    raw = coloured.sample(5, seed=3)
    assert raw.dtype == np.uint8 or str(raw.dtype) == "torch.uint8"
    assert np.allclose(flat[:5] * 255, np.asarray(raw), atol=0.51)
    assert np.isnan(flat[5]).all()
    assert picture.about == "5 samples from the prior, seed 3"


def test_the_same_seed_gives_the_same_bytes(vae):
    first, again = (pictures.samples(vae, 8, seed=1).png() for _ in range(2))
    assert first == again
    assert first.startswith(b"\x89PNG")
    assert first != pictures.samples(vae, 8, seed=2).png()


def test_a_table_is_drawn_by_columns_beside_the_data(vae, monkeypatch):
    calls = drawn(monkeypatch, "histograms")
    pictures.samples(vae, 50, against=ROWS)
    columns = calls[0][0][1]
    assert [*columns] == [f"column {k}" for k in range(6)]
    assert np.allclose(np.sort(columns["column 2"]["data"]), np.sort(ROWS[:, 2]))
    assert np.allclose(columns["column 0"]["samples"], np.asarray(vae.sample(50))[:, 0])


def test_models_without_a_prior_say_so_in_one_sentence():
    model = isthmus.fit("plain", ROWS, latent_dim=2, **LINEAR)
    with pytest.raises(IsthmusError, match="has no prior to draw codes from"):
        pictures.samples(model)


def test_a_linear_decoder_is_moved_along_its_columns(vae, monkeypatch):
    calls = drawn(monkeypatch, "fans")
    pictures.traverse(vae, ROWS, latents=[1], span=2.0, steps=5)
    (_, fans, names, at), more = calls[0][0][:4], calls[0][1]
    codes = vae.encode(ROWS)
    middle, std = codes[:, 1].mean(), codes[:, 1].std()
    assert np.allclose(at[0], np.linspace(middle - 2 * std, middle + 2 * std, 5), atol=1e-5)
    weight = vae.decoder.layers[-1].weight.detach().numpy()[:, 1]
    order = [int(name.removeprefix("column ")) for name in more["legends"][0]]
    assert order == [*np.argsort(-np.abs(weight), kind="stable")[:5]]
    change = fans[0][:, -1] - fans[0][:, 0]
    assert np.allclose(change, weight[order] * 4 * std, atol=1e-4)
    assert names == ["latent 1"]


def test_the_other_latents_stand_at_the_code_of_a_row(vae, monkeypatch):
    seen = []
    whole = vae.decode
    monkeypatch.setattr(vae, "decode", lambda z, **k: seen.append(z) or whole(z, **k))
    pictures.traverse(vae, ROWS, latents=[0], steps=3, row=7)
    assert np.allclose(seen[0][:, 1:], vae.encode(ROWS)[7, 1:], atol=1e-6)


def test_latents_of_a_sparse_code_go_from_zero_to_their_largest():
    model = isthmus.fit(
        "topk", ROWS, latent_dim=8, k=2, steps=5, batch_size=32, k_aux=2, progress=False
    )
    codes, _ = _codes(model, ROWS, 0)
    latent = _chosen(codes, None)[0]
    assert _values(codes, latent, 3.0, 4)[-1] == pytest.approx(model.encode(ROWS)[:, latent].max())
    assert _values(codes, latent, 3.0, 4)[0] == 0.0
    assert pictures.traverse(model, ROWS).png()
    with pytest.raises(IsthmusError, match="span counts standard deviations"):
        pictures.traverse(model, ROWS, span=2.0)


def test_without_data_the_prior_says_where_latents_lie(vae):
    assert "samples from the prior, seed 4" in pictures.traverse(vae, seed=4).about


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latents": [3]}, "there is no latent 3: this model has 0 to 2"),
        ({"latents": []}, "no latents are named"),
        ({"steps": 1}, "2 or more"),
        ({"span": 0.0}, "positive number"),
        ({"row": 96}, "there is no row 96"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(vae, options, message):
    with pytest.raises(IsthmusError, match=message):
        pictures.traverse(vae, ROWS, **options)


def test_a_model_that_reads_its_whole_code_has_no_single_latents():
    model = isthmus.fit("barlow-twins", ROWS, latent_dim=4, steps=2, batch_size=16, progress=False)
    with pytest.raises(IsthmusError, match="does not decode from single latents"):
        pictures.traverse(model, ROWS)
