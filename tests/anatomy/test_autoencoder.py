"""The autoencoder: what users call, modes, errors."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.anatomy import Autoencoder, Clock, Scaler, Signal
from isthmus.bottlenecks import GaussianBottleneck, Identity, StandardNormal
from isthmus.corruptions import GaussianNoise
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, 2.0, (50, 6)).astype(np.float32)


def linear(corruption=None, **parts):
    torch.manual_seed(0)
    model = Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=nn.Linear(3, 6),
        objective=MSE(),
        corruption=corruption,
        scaler=Scaler((6,), "columns"),
        **parts,
    )
    model.prepare(torch.from_numpy(X))
    return model


def by_hand(model, x):
    """Code and reconstruction of the linear model, in NumPy float64."""
    enc, dec = model.encoder, model.decoder
    w, b = (p.detach().double().numpy() for p in (enc.weight, enc.bias))
    v, c = (p.detach().double().numpy() for p in (dec.weight, dec.bias))
    mean, std = x.astype(np.float64).mean(0), x.astype(np.float64).std(0)
    scaled = (x - mean) / std
    z = scaled @ w.T + b
    recon = z @ v.T + c
    return z, recon * std + mean, -((recon - scaled) ** 2).mean(1)


def test_encode_decode_score_against_numpy():
    model = linear()
    z, recon, score = by_hand(model, X)
    np.testing.assert_allclose(model.encode(X), z, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(X), recon, atol=1e-4)
    np.testing.assert_allclose(model.decode(z.astype(np.float32)), recon, atol=1e-4)
    np.testing.assert_allclose(model.score(X), score, atol=1e-5)


def test_batching_changes_nothing():
    model = linear()
    for call in (model.encode, model.reconstruct, model.score):
        np.testing.assert_allclose(call(X, batch_size=7), call(X), atol=1e-6)


def test_an_array_gives_an_array_and_a_tensor_a_tensor():
    model = linear()
    assert isinstance(model.encode(X), np.ndarray)
    assert isinstance(model.encode(torch.from_numpy(X)), torch.Tensor)
    assert isinstance(model.decode(model.encode(torch.from_numpy(X))), torch.Tensor)


def test_a_list_of_rows_is_read_as_the_array():
    model = linear()
    np.testing.assert_array_equal(model.encode(X.tolist()), model.encode(X))


def test_corruption_touches_training_only():
    noisy, clean = linear(GaussianNoise(5.0)), linear()
    noisy.train()
    np.testing.assert_array_equal(noisy.encode(X), clean.encode(X))
    np.testing.assert_array_equal(noisy.score(X), clean.score(X))
    out = noisy(torch.from_numpy(X))
    assert not torch.equal(out.views[0].x, out.x)
    assert torch.equal(out.target, out.x)


def test_modes_are_restored_part_by_part():
    model = linear()
    model.train()
    model.encoder.eval()  # a frozen batch normalisation, say
    model.encode(X)
    assert model.training
    assert model.decoder.training
    assert not model.encoder.training


def test_modes_are_restored_after_an_error():
    model = linear()
    model.train()
    with pytest.raises(IsthmusError):
        model.encode(X[:, :2])
    assert model.training
    assert torch.is_grad_enabled()


def test_encode_leaves_the_global_generator_alone():
    model = linear(GaussianNoise(1.0))
    before = torch.get_rng_state()
    model.encode(X)
    model.score(X)
    assert torch.equal(torch.get_rng_state(), before)


def test_sampling_is_seeded_and_leaves_the_global_generator_alone():
    model = linear(prior=StandardNormal(3))
    before = torch.get_rng_state()
    a, b, c = model.sample(4, seed=1), model.sample(4, seed=1), model.sample(4, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.shape == (4, 6)


def test_a_sampled_code_is_random_in_training_and_the_mean_otherwise():
    torch.manual_seed(0)
    model = Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 6),
        bottleneck=GaussianBottleneck(samples=4),
        decoder=nn.Linear(3, 6),
        objective=MSE(),
    )
    x = torch.from_numpy(X)
    out = model(x, Clock(2, 5))
    assert out.code.z.shape == (4, 50, 3)
    assert out.recon.shape == (4, 50, 6)
    torch.testing.assert_close(out.recon[2], model.decoder(out.code.z[2]))
    assert torch.equal(model.encode(x), out.code.mean.detach())
    assert out.clock == Clock(2, 5)


def test_the_target_is_a_function_of_the_clean_batch():
    model = linear(corruption=GaussianNoise(1.0), target=lambda x: 2 * x)
    out = model(torch.from_numpy(X))
    assert torch.equal(out.target, 2 * out.x)


def test_own_parameters_go_to_their_player():
    model = linear(critics={"critic": nn.Linear(3, 1)})
    model_own = {id(p) for p in model.player_parameters("model")}
    critic_own = {id(p) for p in model.player_parameters("critic")}
    assert critic_own == {id(p) for p in model.critics.parameters()}
    assert model_own | critic_own == {id(p) for p in model.parameters()}
    assert not model_own & critic_own


def without_decoder():
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Linear(6, 3),
        bottleneck=Identity(),
        decoder=None,
        objective=MSE(),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(X[:0]), "empty"),
        (lambda m: m.encode(X[0]), "no axis of features"),
        (lambda m: m.encode(X[:, :4]), "expecting 6 features"),
        (lambda m: m.encode(np.where(X > 3, np.nan, X)), "NaN or infinity"),
        (lambda m: m.encode(X.astype(str)), "not numeric"),
        (lambda m: m.encode("./rows.npy"), "no file"),
        (lambda m: m.encode({1.0, 2.0}), "type set cannot be read here"),
        (lambda m: m.encode([[1.0, 2.0], [3.0]]), "differ in shape"),
        (lambda m: m.sample(3), "no prior"),
        (lambda m: m.decode(np.zeros((0, 3))), "at least one row"),
        (lambda m: m.decode(np.zeros(3)), "matrix"),
        (lambda m: m.decode(np.zeros((2, 7))), "latents"),
        (lambda m: m.decode(np.full((2, 3), np.nan)), "NaN"),
        (lambda m: without_decoder().score(X), "no decoder"),
        (lambda m: without_decoder().reconstruct(X), "no decoder"),
        (lambda m: without_decoder().decode(np.zeros((2, 3))), "no decoder"),
    ],
)
def test_errors_are_one_sentence(call, message):
    with pytest.raises(IsthmusError, match=message) as problem:
        call(linear())
    assert "\n" not in str(problem.value)
