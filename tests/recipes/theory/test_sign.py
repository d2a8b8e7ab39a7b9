"""Sign: the closed forms against sampling and each other, and training against both."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Signal
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.theory.sign import (
    C1,
    SignBottleneck,
    optimal_gain,
    optimal_risk,
    population_risk,
    weights,
)


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def frame(n, d, rounds=3000):
    """Unit rows whose ``B^T B`` is ``(n/d) I``, by alternating projections."""
    b = np.random.default_rng(0).normal(size=(n, d))
    for _ in range(rounds):
        u, _, v = np.linalg.svd(b, full_matrices=False)
        b = np.sqrt(n / d) * u @ v
        b /= np.linalg.norm(b, axis=1, keepdims=True)
    return b


# --- the closed forms ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "risk"), [(0.25, 0.8408), (0.5, 0.6817), (1.0, 0.3634), (1.5, 0.2757), (2.0, 0.2220)]
)
def test_optimal_risk_is_the_published_law(rate, risk):
    assert optimal_risk(rate) == pytest.approx(risk, abs=1e-4)


def test_the_two_laws_meet_at_one_bit_and_more_bits_never_hurt():
    assert optimal_risk(1.0) == pytest.approx(optimal_risk(1.0 + 1e-9))
    assert optimal_gain(0.3) == pytest.approx(C1)
    assert optimal_gain(1.0) == pytest.approx(optimal_gain(1.0 + 1e-9))
    risks = [optimal_risk(rate) for rate in np.linspace(0.01, 8, 200)]
    assert (np.diff(risks) < 0).all()


@pytest.mark.parametrize("correlated", [False, True])
def test_population_risk_is_what_sampling_finds(correlated):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(5, 7)), rng.normal(size=(7, 5))
    root = rng.normal(size=(5, 5)) if correlated else np.eye(5)
    x = rng.normal(size=(400_000, 5)) @ root.T
    losses = ((x - np.sign(x @ b.T) @ a.T) ** 2).mean(1)
    exact = population_risk(a, b, root @ root.T if correlated else None)
    assert exact == pytest.approx(losses.mean(), abs=5 * losses.std() / 400_000**0.5)
    assert population_risk(torch.from_numpy(a), 3.0 * b, root @ root.T) == pytest.approx(exact)


@pytest.mark.parametrize("rate", [0.25, 0.5, 1.0])
def test_orthonormal_rows_attain_the_law_exactly(rate):
    d = 40
    b = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0][: int(rate * d)]
    assert population_risk(C1 * b.T, b) == pytest.approx(optimal_risk(rate), abs=1e-12)
    for gain in (0.95 * C1, 1.05 * C1):
        assert population_risk(gain * b.T, b) > optimal_risk(rate)


def test_a_tight_frame_comes_near_the_law_and_its_gain_is_the_best():
    b = frame(120, 60, rounds=60)
    risks = [population_risk(g * optimal_gain(2.0) * b.T, b) for g in (0.93, 1.0, 1.07)]
    assert risks[1] == pytest.approx(optimal_risk(2.0), abs=0.006)
    assert risks[1] == min(risks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimal_risk(0.0), "rate=0.0 must be positive"),
        (lambda: optimal_gain(float("nan")), "rate=nan must be positive"),
        (lambda: population_risk(np.ones((3, 2)), np.ones((3, 2))), "do not fit"),
        (lambda: population_risk(np.ones((2, 1)), np.zeros((1, 2))), "row of B"),
        (lambda: population_risk(np.ones(2), np.ones((1, 2))), "is no matrix"),
        (lambda: population_risk(np.ones((2, 1)), np.ones((1, 2)), np.eye(3)), "covariance"),
    ],
)
def test_what_has_no_risk_is_an_error(call, message):
    with pytest.raises(IsthmusError, match=message):
        call()


# --- the model -------------------------------------------------------------------------------


def untrained(d=12, **options):
    recipe = get_recipe("sign")
    torch.manual_seed(0)
    return recipe.build(Signal("vector", (d,)), recipe.parse({"scaling": "none", **options})[0])


def test_codes_are_signs_and_decoding_is_tied():
    model, x = untrained(latent_dim=7), gaussian(30, 12)
    a, b = weights(model)
    assert a.shape == (12, 7)
    np.testing.assert_allclose(a, model.decoder.gain.item() * b.T)
    np.testing.assert_array_equal(model.encode(x), np.sign(x @ b.T))
    np.testing.assert_allclose(model.reconstruct(x), np.sign(x @ b.T) @ a.T, atol=1e-5)
    np.testing.assert_array_equal(model.encode(np.zeros((1, 12), np.float32)), np.ones((1, 7)))
    assert sorted(n for n, _ in model.named_parameters()) == ["decoder.scaled", "encoder.weight"]
    assert untrained(d=9).encode(gaussian(3, 9)).shape == (3, 9)  # one bit per element


def test_the_gradient_is_that_of_the_surrogate():
    u = torch.linspace(-2, 2, 9).double().requires_grad_()
    z = SignBottleneck(tau=0.3)(u[None]).z
    assert set(z.tolist()[0]) == {-1.0, 1.0}
    z.sum().backward()
    through = u.grad.clone()
    u.grad = None
    torch.tanh(u / 0.3).sum().backward()
    torch.testing.assert_close(through, u.grad)


def test_the_gain_starts_where_the_population_risk_is_least():
    a, b = weights(untrained(latent_dim=20))
    risks = [population_risk(factor * a, b) for factor in (0.99, 1.0, 1.01)]
    assert risks[1] == min(risks)
    assert risks[0] == pytest.approx(risks[2], rel=1e-5)  # the middle of a parabola


@pytest.mark.parametrize("average", [None, 0.9])
def test_rows_keep_norm_one(average):
    model = isthmus.fit(
        "sign", gaussian(200, 6), latent_dim=9, steps=30, lr=0.03, average=average, progress=False
    )
    torch.testing.assert_close(model.encoder.weight.norm(dim=1), torch.ones(9))


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_training_reaches_the_law(rate):
    d = 20
    model = isthmus.fit(
        "sign", gaussian(20_000, d), latent_dim=int(rate * d), scaling="none", steps=350,
        progress=False,
    )  # fmt: skip
    fresh = gaussian(20_000, d, seed=1)
    measured = -model.score(fresh).mean()
    a, b = weights(model)
    assert measured == pytest.approx(population_risk(a, b), abs=0.01)
    assert optimal_risk(rate) - 0.01 < measured < optimal_risk(rate) + 0.03
    assert population_risk(*weights(untrained(d, latent_dim=int(rate * d)))) > measured + 0.02


def test_weights_of_another_model_are_an_error():
    model = isthmus.fit("plain", gaussian(20, 3), latent_dim=2, steps=1, progress=False)
    with pytest.raises(IsthmusError, match="recipe 'sign'"):
        weights(model)


def test_data_that_are_not_white_do_not_diverge():
    rng = np.random.default_rng(0)
    common = 2.0 + rng.standard_normal((512, 1))  # one direction of 400 times the variance
    rows = (common + 0.1 * rng.standard_normal((512, 784))).astype(np.float32)
    wanted = {"steps": 60, "progress": False, "scaling": "none"}
    with pytest.raises(IsthmusError, match="NaN or infinite"):
        isthmus.fit("sign", rows, clip=None, **wanted)
    model = isthmus.fit("sign", rows, **wanted)
    assert np.isfinite(np.asarray(model.reconstruct(rows))).all()
