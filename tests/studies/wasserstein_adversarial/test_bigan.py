"""The latent regressor, and the features that are compared."""

import numpy as np
import torch
from torch import nn

import isthmus
from isthmus.studies.wasserstein_adversarial import bigan
from isthmus.studies.wasserstein_adversarial.bigan import _distance, _features, _regressor


def small():
    rows = np.random.default_rng(0).integers(0, 256, (64, 4, 4)).astype(np.uint8)
    training = {**bigan.TRAINING, "batch_size": 16, "progress": False}
    model = isthmus.fit(
        "bigan", rows, latent_dim=bigan.LATENT, hidden=(8, 8), steps=2, seed=0, **training
    )
    return rows, model


def test_the_regressor_learns_z_and_leaves_the_generator_alone():
    rows, model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = _regressor(model, 0)
    fitted = _regressor(model, 0)
    settings = {**bigan.TRAINING, "batch_size": 64, "lr": 5e-3, "progress": False}
    isthmus.fit(fitted, rows, steps=60, seed=0, **settings)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    errors = []
    for one in (start, fitted):
        torch.manual_seed(1)
        with torch.no_grad():
            out = one.train()(torch.zeros(256, 1, 4, 4))
            errors.append(float(out.code.z.sub(out.target).square().mean()))
            assert out.target.shape == (256, bigan.LATENT)
    assert errors[1] < 0.9 * errors[0]


def test_features_are_those_of_the_last_hidden_layer():
    rows, model = small()
    found = _features(model, rows)
    assert found.shape == (64, 8)
    last = list(model.encoder)[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        z = torch.tanh(0.5 * last(torch.from_numpy(found)))
    np.testing.assert_allclose(z, model.encode(rows), rtol=1e-5, atol=1e-6)


def test_distances_are_euclidean():
    images = np.ones((2, 1, 4, 4), np.float32)
    assert _distance(images, np.zeros_like(images)) == 4.0
