"""The denoising autoencoder: the clean input is the target, the closed form is reached."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.corruptions import GaussianNoise, MaskingNoise, SaltAndPepper
from isthmus.recipes import get_recipe


def test_linear_it_reaches_the_marginalised_closed_form():
    """With noise of variance s^2 and no bottleneck the best linear map is C (C + s^2 I)^-1
    (Chen et al. 2012; here the covariance C is that of standardised data).
    """
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4000, 2)) @ rng.normal(size=(2, 4))).astype(np.float32)
    x += 0.3 * rng.normal(size=x.shape).astype(np.float32)
    model = isthmus.fit(
        "denoising", x, noise="gaussian", strength=1.0, network="mlp", hidden=(), latent_dim=4,
        likelihood="gaussian", steps=1200, batch_size=512, lr=2e-2, lr_schedule="cosine",
        progress=False,
    )  # fmt: skip
    weights = model.encoder.layers[0].weight, model.decoder.layers[0].weight
    learned = (weights[1] @ weights[0]).detach().numpy()
    c = np.corrcoef(x.T)
    np.testing.assert_allclose(learned, c @ np.linalg.inv(c + np.eye(4)), atol=0.03)


@pytest.mark.parametrize(
    ("noise", "kind"),
    [("masking", MaskingNoise), ("gaussian", GaussianNoise), ("salt-and-pepper", SaltAndPepper)],
)
def test_the_named_noise_is_applied_to_the_input_only(noise, kind):
    from isthmus.anatomy import Signal

    recipe = get_recipe("denoising")
    options = recipe.parse({"noise": noise, "strength": 0.5, "latent_dim": 3})[0]
    model = recipe.build(Signal("vector", (6,)).bounded(0.0, 1.0), options)
    assert isinstance(model.corruption, kind)
    x = torch.rand(40, 6)
    out = model(x)
    assert torch.equal(out.target, x)
    assert not torch.equal(out.views[0].x, x)
    assert torch.equal(model.encode(x), model.encode(x))
