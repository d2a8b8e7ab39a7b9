"""PAE: the likelihood against closed forms, learnt variances, and mean-shift scores."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

import isthmus
from isthmus.anatomy import Clock, Signal
from isthmus.errors import IsthmusError
from isthmus.evaluation.anomaly import mean_shift
from isthmus.recipes import get_recipe
from isthmus.recipes.anomaly.pae import LEAST, MeanAndVariance, mean_shift_scores

X = np.random.default_rng(0).normal(1.0, [0.3, 1.5, 2.0, 1.0], (200, 4)).astype(np.float32)


def fitted(name="pae", rows=X, **options):
    options = {"latent_dim": 2, "hidden": (8,), "steps": 40, **options}
    return isthmus.fit(name, rows, progress=False, **options)


# --- the likelihood --------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "leading"), [((4,), ()), ((1, 3, 5), ()), ((4,), (6,))])
def test_the_likelihood_is_that_of_independent_normals(shape, leading):
    torch.manual_seed(0)
    likelihood = MeanAndVariance(shape)
    params, x = torch.randn(*leading, 7, 2, *shape), torch.randn(7, *shape)
    axis = len(leading) + 1
    mean = params.select(axis, 0)
    torch.testing.assert_close(likelihood.mean(params), mean)
    normal = Normal(mean, (0.5 * likelihood.logvar(params)).exp())
    wanted = normal.log_prob(x).flatten(axis).sum(-1)
    assert wanted.shape == (*leading, 7)
    torch.testing.assert_close(likelihood.log_prob(params, x), wanted)


def test_draws_have_the_mean_and_the_variance():
    likelihood = MeanAndVariance((2,))
    params = torch.tensor([[1.0, -2.0], [0.5, -1.0]]).expand(40_000, 2, 2)
    torch.manual_seed(0)
    drawn = likelihood.sample(params)
    torch.testing.assert_close(drawn.mean(0), params[0, 0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), likelihood.logvar(params)[0].exp(), rtol=0.03, atol=0)


def test_log_variances_are_bounded_below_alone():
    raw = torch.tensor([-1e4, -20.0, -3.0, 0.0, 5.0])
    logvar = MeanAndVariance((5,)).logvar(torch.stack([torch.zeros(5), raw]))
    assert logvar[0] == pytest.approx(np.log(LEAST))
    assert (logvar >= np.log(LEAST) - 1e-6).all()
    torch.testing.assert_close(logvar[2:], raw[2:], atol=3e-3, rtol=0)


@pytest.mark.parametrize("scaling", ["none", "columns"])
def test_the_least_variance_is_a_share_of_each_features_own(scaling):
    x = np.hstack([X, np.full((200, 1), 3.0, np.float32)])
    model = fitted(rows=x, steps=1, scaling=scaling, floor=0.02)
    spread = model.scaler(torch.from_numpy(x)).var(0, correction=0)
    wanted = (0.02 * spread).clamp_min(LEAST)
    torch.testing.assert_close(model.likelihood.floor.exp(), wanted)
    assert wanted[4] == LEAST
    params = torch.stack([torch.zeros(1, 5), torch.full((1, 5), -1e4)], 1)
    torch.testing.assert_close(model.likelihood.logvar(params)[0], model.likelihood.floor)


def test_a_feature_that_is_known_exactly_does_not_outweigh_the_others():
    """Of a copied feature an error as large as its spread counts at most a hundredfold."""
    t = np.random.default_rng(0).normal(size=(500, 1))
    x = np.hstack([t, t, t, np.random.default_rng(1).normal(size=(500, 1))]).astype(np.float32)
    model = fitted(rows=x, latent_dim=2, steps=400, lr=1e-2)
    params = model.decode_code(model.clean_code(model.scaler(torch.from_numpy(x))))
    largest = (-model.likelihood.logvar(params)).exp().max()
    assert 20 < largest <= 100.0001


def test_the_loss_is_the_formula_and_its_gradient_that_of_finite_differences():
    recipe = get_recipe("pae")
    torch.manual_seed(0)
    options = recipe.parse({"latent_dim": 2, "hidden": (5,), "w1": 0.7, "w2": 1.9})[0]
    model = recipe.build(Signal("vector", (4,)), options).double()
    x = torch.from_numpy(X[:6]).double()
    out = model(x, Clock())
    mean, logvar = out.params[:, 0], model.likelihood.logvar(out.params)
    wanted = (0.7 * (x - mean) ** 2 / logvar.exp() + 1.9 * logvar).mean(1)
    term = next(iter(model.objective)).term
    torch.testing.assert_close(term(model, out), wanted)

    def loss(params):
        out.params = params
        return term(model, out)

    assert torch.autograd.gradcheck(loss, out.params.detach().requires_grad_())


@pytest.mark.parametrize(("w1", "w2"), [(1.0, 1.0), (2.0, 1.0), (1.0, 3.0)])
def test_the_learnt_variance_is_the_weighted_one(w1, w2):
    """A decoder that ignores its code has its optimum at mu = mean, sigma^2 = (w1 / w2) var."""

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.values = nn.Parameter(torch.zeros(8))

        def forward(self, z):
            return self.values.expand(len(z), 8) + 0.0 * z.sum()

    model = fitted(
        decoder=Constant(), w1=w1, w2=w2, scaling="none", steps=250, lr=0.08, batch_size=200,
        lr_schedule="cosine",
    )  # fmt: skip
    params = model.decode_code(model.clean_code(torch.from_numpy(X[:1])))
    np.testing.assert_allclose(model.likelihood.mean(params)[0].detach(), X.mean(0), atol=0.05)
    variance = model.likelihood.logvar(params)[0].exp().detach()
    np.testing.assert_allclose(variance, w1 / w2 * X.var(0), rtol=0.03)


def test_what_depends_on_the_code_gets_a_small_variance_and_noise_a_large_one():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(600, 1))
    x = np.hstack([t, 2.0 * t, rng.normal(size=(600, 1))]).astype(np.float32)
    model = fitted(rows=x, latent_dim=1, steps=200, lr=2e-2)
    params = model.decode_code(model.clean_code(model.scaler(torch.from_numpy(x))))
    spread = model.likelihood.logvar(params).exp().mean(0).sqrt()
    assert spread[:2].max() < 0.3
    assert spread[2] > 0.7


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (6, 2)])
def test_examples_of_any_shape(shape):
    rows = np.random.default_rng(0).random((20, *shape)).astype(np.float32)
    model = fitted(rows=rows, steps=2)
    assert model.reconstruct(rows).shape == rows.shape
    assert model(torch.from_numpy(rows)).params.shape == (20, 2, *shape)
    z = model.encode(rows)
    np.testing.assert_allclose(model.decode(z), model.reconstruct(rows), atol=1e-5)
    assert mean_shift_scores(model, rows, k=3, by="wnll").shape == (20,)


# --- mean-shift scores -----------------------------------------------------------------------


def test_without_rounds_scores_are_those_of_the_model():
    for name in ("pae", "plain"):
        model = fitted(name)
        np.testing.assert_allclose(
            mean_shift_scores(model, X, k=5, rounds=0), model.score(X, kind="error"), rtol=1e-5
        )


@pytest.mark.parametrize("by", ["mse", "wnll"])
def test_scores_compare_the_row_with_what_is_rebuilt_from_the_shifted_one(by):
    model = fitted(w1=0.5, w2=2.0)
    train, new = X[:150], X[150:]
    mean, std = X.mean(0), X.std(0)
    scaled = (new - mean) / std
    moved = mean_shift(scaled, k=7, rounds=2, data=(train - mean) / std)
    with torch.no_grad():
        params = model.decode_code(model.clean_code(torch.from_numpy(moved).float()))
    mu = model.likelihood.mean(params).numpy()
    logvar = model.likelihood.logvar(params).numpy()
    wanted = (scaled - mu) ** 2
    if by == "wnll":
        wanted = 0.5 * wanted / np.exp(logvar) + 2.0 * logvar
    ours = mean_shift_scores(model, new, train, k=7, rounds=2, by=by, batch_size=16)
    np.testing.assert_allclose(ours, -wanted.mean(1), rtol=1e-3, atol=1e-4)


def test_a_lucky_reconstruction_does_not_excuse_an_outlier():
    """An identity rebuilds everything: only the shift tells what lies outside."""
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    x[0] = 8.0
    model = fitted("plain", x, encoder=nn.Identity(), decoder=Scale(), steps=1, lr=1e-9)
    assert np.abs(model.score(x)).max() < 1e-9
    shifted = mean_shift_scores(model, x, k=10)
    assert shifted.argmin() == 0
    assert shifted[0] < 5 * np.sort(shifted)[1]


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, z):
        return self.one * z


def test_what_cannot_be_scored_is_one_sentence():
    plain = fitted("plain")
    with pytest.raises(IsthmusError, match="needs a model of the recipe 'pae'"):
        mean_shift_scores(plain, X, k=3, by="wnll")
    with pytest.raises(IsthmusError, match="unknown score 'msse': did you mean 'mse'"):
        mean_shift_scores(plain, X, k=3, by="msse")
    plain.decoder = None
    with pytest.raises(IsthmusError, match="no decoder"):
        mean_shift_scores(plain, X, k=3)
