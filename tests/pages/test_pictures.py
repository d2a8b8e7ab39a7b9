"""Pictures: latent directions against their definition, and a file that is an image."""

import numpy as np
import pytest

import isthmus
from isthmus.errors import IsthmusError
from isthmus.pages import latent_directions, picture

X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)


def test_directions_of_a_linear_decoder_are_its_scaled_columns():
    model = isthmus.fit(
        "plain", X, latent_dim=3, hidden=(), scaling="none", steps=5, progress=False
    )
    directions, latents = latent_directions(model, X, 3)
    weight = model.decoder.layers[-1].weight.detach().numpy()
    spread = model.encode(X).std(0, ddof=1)
    assert np.allclose(directions, (weight * spread).T[latents], atol=1e-5)
    assert (np.diff(np.linalg.norm(directions, axis=1)) <= 0).all()


def test_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    digits = isthmus.data.load("digits")
    for recipe in ("topk", "beta-vae"):
        model = isthmus.fit(recipe, digits, latent_dim=64, steps=2, progress=False)
        path = picture(model, digits.test, tmp_path / f"{recipe}.png", title="a [title]")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_joint_embedding_has_no_directions():
    model = isthmus.fit("barlow-twins", X, latent_dim=4, steps=2, batch_size=16, progress=False)
    with pytest.raises(IsthmusError, match="decode"):
        latent_directions(model, X)
