"""The plain autoencoder: linear it is PCA."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import isthmus


def error(x, recon):
    return ((x - recon) ** 2).mean()


def test_linear_it_reaches_the_error_of_pca():
    """Baldi and Hornik 1989: the optimum of a linear autoencoder spans the principal subspace.

    Three components, after which the spectrum of the digits drops: where two neighbouring
    components are nearly equal, any optimiser takes long to tell them apart.
    """
    latent_dim = 3
    x = (load_digits().data / 16.0).astype(np.float32)
    pca = PCA(latent_dim).fit(x)
    best = error(x, pca.inverse_transform(pca.transform(x)))
    model = isthmus.fit(
        "plain", x, network="mlp", hidden=(), latent_dim=latent_dim, steps=600, lr=4e-2,
        batch_size=256, lr_schedule="cosine", progress=False,
    )  # fmt: skip
    mine = error(x, model.reconstruct(x))
    assert best * (1 - 1e-5) <= mine <= best * 1.01
    weights = model.decoder.layers[0].weight.detach().numpy()
    cosines = np.linalg.svd(np.linalg.qr(weights)[0].T @ pca.components_.T)[1]
    assert cosines.min() > 0.98


def test_score_is_minus_the_error_in_the_models_units():
    x = np.random.default_rng(0).normal(5, [1, 10, 100], (200, 3)).astype(np.float32)
    model = isthmus.fit("plain", x, latent_dim=2, steps=30, progress=False)
    std = x.std(0)
    expected = -(((model.reconstruct(x) - x) / std) ** 2).mean(1)
    np.testing.assert_allclose(model.score(x), expected, rtol=1e-3, atol=1e-5)
    strange = x[:1] + 50 * std
    assert model.score(strange)[0] < model.score(x).min()


def test_own_networks_are_used_as_they_are():
    encoder, decoder = torch.nn.Linear(3, 2), torch.nn.Linear(2, 3)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    model = isthmus.fit(
        "plain", x, encoder=encoder, decoder=decoder, latent_dim=2, steps=2, progress=False
    )
    assert model.encoder is encoder
    assert model.decoder is decoder
