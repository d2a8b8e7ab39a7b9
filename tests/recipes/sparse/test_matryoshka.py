"""Matryoshka over prefixes: each prefix rebuilds alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import isthmus
import zoo
from isthmus.anatomy import Clock, SparseCode
from isthmus.errors import IsthmusError
from isthmus.kernels import path_in_use, using
from isthmus.recipes.sparse.matryoshka import prefix_ends, random_ends

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def fitted(recipe="matryoshka", **options):
    options = {"latent_dim": 64, "k": 4, "steps": 20, "batch_size": 50, **options}
    return isthmus.fit(recipe, X, lr=3e-3, progress=False, **options)


def test_published_prefixes():
    assert prefix_ends((1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2), 36864) == [
        2304, 4608, 9216, 18432, 36864,
    ]  # fmt: skip


@given(parts=st.lists(st.integers(1, 9), min_size=1, max_size=6), width=st.integers(1, 200))
def test_prefixes_grow_to_the_width(parts, width):
    ends = prefix_ends(tuple(p / sum(parts) for p in parts), width)
    assert ends[0] >= 1
    assert ends[-1] == width
    assert ends == sorted(set(ends))
    assert len(ends) <= len(parts)


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (1.5, -0.5), (0.0, 1.0)])
def test_shares_that_are_no_whole_are_refused(shares):
    with pytest.raises(IsthmusError, match="add up to 1"):
        fitted(shares=shares)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
@pytest.mark.parametrize("k", [2, 100])
def test_loss_and_gradients_are_those_of_the_dense_formula(path, k):
    made = fitted(latent_dim=640, k=k, steps=1, auxk_weight=0.0).train()
    x = torch.from_numpy(X[:40])
    with using(path):
        out = made(x, Clock(5, 1000, 40))
        assert isinstance(out.code, SparseCode) == (k == 2 and path != "reference")
        losses = made.objective(made, out)
        losses.total.backward()
    # The whole dictionary's error comes from the decoder, without the reconstruction.
    assert (out.residual is not None) == (k == 2 and path_in_use() == "native" and path == "auto")
    assert (out.params is None) == (out.residual is not None)
    w = {n: p.detach().double().requires_grad_() for n, p in made.named_parameters()}
    x = made.scaler(x).double()
    u = (x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"]
    z = torch.where(u.detach() >= u.detach().flatten().sort().values[-k * 40], u, 0.0)
    expected = 0.0
    for end in (0, 40, 80, 160, 320, 640):
        recon = z[:, :end] @ w["decoder.weight"][:end] + w["decoder.bias"]
        expected = expected + ((x - recon) ** 2).mean() / 6
    expected.backward()
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=2e-4, atol=2e-6, msg=name
        )


def test_one_share_is_batchtopk_and_a_bias_that_rebuilds_alone():
    """The empty prefix pulls the bias, and nothing else, to the mean of the data."""
    one, plain = fitted(shares=(1.0,), steps=300), fitted("batchtopk", steps=300)
    mean = one.scaler(torch.from_numpy(X)).mean(0)
    off = [float((m.decoder.bias.detach() - mean).norm()) for m in (one, plain)]
    assert off[0] < 0.5 * off[1]
    made = fitted(latent_dim=32, shares=(1.0,), steps=1, auxk_weight=0.0).train()
    out = made(torch.from_numpy(X[:40]), Clock(5, 1000, 40))
    whole = out.squared_error() / 10
    alone = (out.target - made.decoder.bias).square().mean(1)
    torch.testing.assert_close(made.objective(made, out).total, ((whole + alone) / 2).mean())


def test_random_prefixes_are_short_ones_more_often_and_none_twice():
    torch.manual_seed(0)
    drawn = [random_ends(4, 50) for _ in range(3000)]
    assert all(ends == sorted(set(ends)) and ends[-1] == 50 and ends[0] >= 1 for ends in drawn)
    single = np.array([random_ends(2, 50)[0] for _ in range(20_000)])
    for length in (1, 10, 30):
        share = np.sqrt(length / 49)
        assert (single <= length).mean() == pytest.approx(share, abs=0.015)
    assert random_ends(1, 50) == [50]
    assert random_ends(9, 3) == [1, 2, 3]


def test_random_prefixes_are_a_function_of_seed_and_step_and_rest_in_evaluation():
    one, again = (fitted(prefixes="random", steps=8) for _ in range(2))
    assert zoo.sha(one) == zoo.sha(again)
    assert zoo.sha(one) != zoo.sha(fitted(steps=8))
    x, clock = torch.from_numpy(X[:40]), Clock(5, 1000, 40)
    for drawn in (True, False):
        model, found = one.train(drawn), []
        for seed in range(3):
            torch.manual_seed(seed)
            found.append(float(model.objective(model, model(x, clock)).total.detach()))
        assert (len(set(found)) > 1) == drawn


def test_a_prefix_rebuilds_better_than_one_of_batchtopk():
    error = {}
    for recipe in ("matryoshka", "batchtopk"):
        model = fitted(recipe, steps=150)
        z = model.encode(X)
        z[:, 16:] = 0.0
        error[recipe] = np.square(model.decode(z) - X).mean()
    assert error["matryoshka"] < 0.8 * error["batchtopk"]
