"""Series in any units: a model is fitted to what varies, and rebuilds in the data's own units."""

import numpy as np
import pytest

import isthmus
from isthmus import notices

RNG = np.random.default_rng(0)
WAVES = np.sin(np.arange(20)[None, :, None] * 0.5 + RNG.uniform(0, 6, (60, 1, 2)))
SMALL = {"latent_dim": 2, "steps": 40, "batch_size": 16, "seed": 0, "progress": False}


@pytest.mark.parametrize(
    ("factor", "offset"), [(255.0, 0.0), (1e4, 2e4), (1.0, 40.0), (1e-4, 0.0), (0.5, 20.0)]
)
def test_the_units_of_series_change_nothing(factor, offset):
    X = (WAVES * factor + offset).astype(np.float32)
    with notices.collected(quiet=True) as said:
        model = isthmus.fit("vae", X, **SMALL)
    assert any("mean 0 and variance 1" in line for line in said)
    plain = isthmus.fit("vae", WAVES.astype(np.float32), scaling="columns", **SMALL)
    np.testing.assert_allclose(model.encode(X), plain.encode(WAVES), rtol=0.02, atol=0.02)
    own = (model.reconstruct(X) - offset) / factor
    np.testing.assert_allclose(own, plain.reconstruct(WAVES.astype(np.float32)), atol=0.02)


@pytest.mark.parametrize(
    ("recipe", "X", "scaling"),
    [
        ("vae", WAVES, "none"),
        ("vae", WAVES * 10, "none"),
        ("plain", (WAVES + 1) / 2, "none"),
        # Its likelihood has the deviation 1, beside which these would not vary.
        ("vae", (WAVES + 1) / 2, "centred"),
    ],
)
def test_series_that_look_standardised_are_left_as_they_are(recipe, X, scaling):
    model = isthmus.fit(recipe, X.astype(np.float32), **SMALL)
    assert model.scaler.mode == scaling
