"""Scores: the bound per row against closed forms, and what a row's score may not depend on."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score
from torch import nn

import isthmus
from isthmus.anatomy import Autoencoder, Gaussian, Signal
from isthmus.anatomy.scoring import points
from isthmus.bottlenecks import GaussianBottleneck, StandardNormal
from isthmus.errors import IsthmusError
from isthmus.likelihoods import LearnedGaussian
from isthmus.objectives import KL, NegativeLogLikelihood

D, L = 6, 2


def rows(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, L)) @ rng.normal(size=(L, D)) + rng.normal(size=(n, D))).astype(
        "float32"
    )


def linear(sigma=0.7, decoder=None, likelihood=None, objective=None, samples=None):
    torch.manual_seed(3)
    X = rows()
    return Autoencoder(
        Signal.infer(X),
        encoder=nn.Linear(D, 2 * L),
        bottleneck=GaussianBottleneck(samples),
        decoder=decoder or nn.Linear(L, D),
        objective=objective or NegativeLogLikelihood() + KL(),
        likelihood=likelihood or Gaussian(sigma),
        prior=StandardNormal(L),
    ).eval()


def by_hand(model, X, sigma):
    """The evidence lower bound of a linear Gaussian VAE, element by element in double."""
    h = X.astype(float) @ model.encoder.weight.detach().double().numpy().T
    h += model.encoder.bias.detach().double().numpy()
    mean, variance = h[:, :L], np.exp(h[:, L:])
    weight = model.decoder.weight.detach().double().numpy()
    rebuilt = mean @ weight.T + model.decoder.bias.detach().double().numpy()
    squared = (X - rebuilt) ** 2 + variance @ (weight**2).T
    likelihood = -0.5 * (squared / sigma**2 + np.log(2 * np.pi * sigma**2)).sum(1)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1)
    return likelihood - kl


def test_the_score_of_a_linear_vae_is_its_bound_in_closed_form():
    model, X = linear(), rows()
    np.testing.assert_allclose(model.score(X), by_hand(model, X, 0.7), rtol=1e-5)


@pytest.mark.parametrize("draws", [2 * L, 32])
def test_draws_average_a_linear_decoder_exactly(draws):
    """Behind a Sequential it is not seen to be linear: the points of the noise do it."""
    model, X = linear(), rows()
    expected = by_hand(model, X, 0.7)
    model.decoder = nn.Sequential(model.decoder)
    np.testing.assert_allclose(model.score(X, draws=draws), expected, rtol=1e-4)


def test_the_points_of_the_noise_have_mean_zero_and_the_identity_as_covariance():
    noise = points(40, (5,), 1).double()
    torch.testing.assert_close(noise.mean(0), torch.zeros(5).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(noise.T @ noise / 40, torch.eye(5).double(), atol=1e-5, rtol=0)
    assert not torch.equal(points(40, (5,), 1), points(40, (5,), 2))
    wide = points(16, (100,), 0)  # less than a block: pairs along 8 directions
    assert wide.shape == (16, 100)
    torch.testing.assert_close(wide.square().sum(1), torch.full((16,), 100.0))


def test_a_learnt_sigma_for_each_column_is_used():
    likelihood = LearnedGaussian((D,))
    sigmas = np.linspace(0.3, 2.0, D)
    with torch.no_grad():
        likelihood.log_sigma.copy_(torch.tensor(np.log(sigmas)))
    model, X = linear(likelihood=likelihood), rows()
    np.testing.assert_allclose(model.score(X), by_hand(model, X, sigmas), rtol=1e-5)


@pytest.mark.parametrize("beta", [0.1, 7.0])
def test_the_weight_of_the_objective_does_not_change_the_bound(beta):
    model = linear(objective=NegativeLogLikelihood() + beta * KL())
    np.testing.assert_allclose(model.score(rows()), by_hand(model, rows(), 0.7), rtol=1e-5)


def test_several_draws_a_row_give_the_importance_weighted_bound():
    """Which rises with the draws from the evidence lower bound to log p(x)."""
    model, X = linear(samples=8), rows()
    weight = model.decoder.weight.detach().double().numpy()
    covariance = weight @ weight.T + 0.49 * np.eye(D)
    exact = multivariate_normal(model.decoder.bias.detach().numpy(), covariance).logpdf(X)
    few, many = model.score(X, draws=8).mean(), model.score(X, draws=4096)
    assert by_hand(model, X, 0.7).mean() < few < many.mean()
    # Never above, but for what the draws leave open; near it where q is not far off.
    assert (many < exact + 0.1).all()
    assert np.median(np.abs(many - exact)) < 0.05


def fitted(recipe="vae", **options):
    X = rows(60)
    steps = {"steps": 30, "hidden": (16,), "latent_dim": 3, **options}
    return isthmus.fit(recipe, X, progress=False, seed=4, **steps), X


@pytest.mark.parametrize("recipe", ["vae", "beta-vae", "iwae", "pae", "ard-vae", "plain"])
def test_a_score_depends_on_no_other_row(recipe):
    model, X = fitted(recipe)
    whole = model.score(X)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_array_equal(model.score(X), whole)
    np.testing.assert_allclose(model.score(X[::-1].copy()), whole[::-1], **close)
    np.testing.assert_allclose(model.score(X, batch_size=7), whole, **close)
    np.testing.assert_allclose(model.score(X[41:42]), whole[41:42], **close)
    torch.manual_seed(11)  # the global state is neither read nor moved
    before = torch.get_rng_state()
    np.testing.assert_array_equal(model.score(X), whole)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_of_the_fit_fixes_the_draws():
    model, X = fitted()
    np.testing.assert_array_equal(model.score(X), model.score(X, seed=4))
    assert not np.array_equal(model.score(X), model.score(X, seed=5))


def test_the_mean_of_the_scores_is_the_elbo_that_evaluate_reports():
    model, X = fitted(steps=200)
    elbo = isthmus.evaluate(model, X, samples=512)["elbo"]
    assert model.score(X, draws=512).mean() == pytest.approx(elbo.value, abs=0.05)


def test_a_change_of_units_shifts_the_bound_by_the_logarithm_of_the_factors():
    X = rows(60)
    options = {"steps": 20, "hidden": (8,), "latent_dim": 2, "progress": False}
    factors = np.array([1, 2, 4, 8, 16, 32], "float32")  # exact in binary
    one = isthmus.fit("vae", X, **options).score(X)
    other = isthmus.fit("vae", X * factors, **options).score(X * factors)
    np.testing.assert_allclose(other, one - np.log(factors).sum(), rtol=1e-4, atol=1e-3)


def test_a_variational_score_counts_what_the_code_costs():
    """Anomalies far out along the latents are rebuilt well, and cost many nats."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(2, 8))
    normal = rng.normal(size=(300, 2)) @ axes + 0.3 * rng.normal(size=(300, 8))
    far = 4.0 * np.sign(rng.normal(size=(12, 2))) @ axes + 0.3 * rng.normal(size=(12, 8))
    X, y = np.vstack([normal, far]).astype("float32"), np.arange(312) >= 300
    model = isthmus.fit("vae", X, progress=False, steps=800, latent_dim=2, hidden=(), lr=0.01)
    code = model.encode(X, code=True)
    kl = 0.5 * (code.mean**2 + code.logvar.exp() - 1 - code.logvar).sum(1).numpy()
    loss = -0.5 * X.shape[1] * model.score(X, kind="error") + kl
    assert roc_auc_score(y, -model.score(X)) == pytest.approx(roc_auc_score(y, loss), abs=0.02)
    assert roc_auc_score(y, -model.score(X)) > 0.95
    assert roc_auc_score(y, -model.score(X)) > roc_auc_score(y, -model.score(X, kind="error"))


def test_parts_that_are_not_observed_leave_the_bound():
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=(30, 3)).astype("f4"), "b": rng.normal(size=(30, 4)).astype("f4")}
    seen = {"a": np.ones(30, bool), "b": np.arange(30) % 2 == 0}
    for recipe in ("mvae", "mmvae", "mopoe"):
        model = isthmus.fit(
            recipe, X, mask=seen, progress=False, steps=5, latent_dim=2, hidden=(8,)
        )
        whole = model.score(X, mask=seen)
        changed = {"a": X["a"], "b": np.where(seen["b"][:, None], X["b"], 9.0).astype("f4")}
        np.testing.assert_allclose(model.score(changed, mask=seen), whole, rtol=1e-5)
        alone = {n: part[3:4] for n, part in X.items()}
        mask = {n: part[3:4] for n, part in seen.items()}
        np.testing.assert_allclose(model.score(alone, mask=mask), whole[3:4], rtol=1e-4)


def test_the_density_of_a_model_that_tells_its_spread():
    model, X = fitted("pae")
    x = model.scaler(torch.from_numpy(X))
    with torch.no_grad():
        params = model.decoder(model.encoder(x))
    mean, logvar = params[:, 0].double(), model.likelihood.logvar(params).double()
    normal = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    expected = normal.log_prob(x.double()).sum(1) - model.scaler.scale.double().log().sum()
    np.testing.assert_allclose(model.score(X), expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_asked_is_said_in_a_sentence():
    model, X = fitted("plain")
    with pytest.raises(IsthmusError, match="no bound on the log-likelihood"):
        model.score(X, kind="bound")
    with pytest.raises(IsthmusError, match="'bound'"):
        model.score(X, kind="bounds")
    for draws in (0, "many", 2.5):
        with pytest.raises(IsthmusError, match=f"draws={draws}"):
            model.score(X, draws=draws)


# --- what drives a score ---------------------------------------------------------------------


def test_the_drivers_of_a_solved_linear_model_add_up_to_its_score():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))).astype("f4")
    model = isthmus.fit("trimmed-linear-vae", X, latent_dim=2, progress=False)
    assert np.ptp(model.score(X) + model.drivers(X).sum(1)) < 1e-4 * np.ptp(model.score(X))


def test_the_drivers_of_a_linear_model_add_up_to_its_score():
    model, X = linear(), rows()
    with torch.no_grad():  # a posterior whose variance is no function of the row
        model.encoder.weight[L:] = 0.0
        model.encoder.bias[:L] = 0.7
    total = model.drivers(X).sum(1)
    np.testing.assert_allclose(total + model.score(X), total[0] + model.score(X)[0], rtol=1e-4)


@pytest.mark.parametrize("recipe", ["plain", "vae", "pae", "trimmed-linear-vae"])
def test_the_column_that_is_wrong_drives_the_score(recipe):
    rng = np.random.default_rng(1)
    X = (rng.normal(size=(400, 2)) @ rng.normal(size=(2, 8))).astype("f4")
    X += 0.1 * rng.normal(size=X.shape).astype("f4")
    options = {} if recipe == "trimmed-linear-vae" else {"steps": 400, "hidden": (16,), "lr": 0.01}
    if recipe != "trimmed-linear-vae":
        options["latent_dim"] = 2
    model = isthmus.fit(recipe, X, progress=False, **options)
    strange = X[:8].copy()
    strange[np.arange(8), np.arange(8)] += 6 * X.std(0)
    drivers = model.drivers(strange)
    assert drivers.shape == (8, 8)
    assert (drivers.argmax(1) == np.arange(8)).mean() >= 0.7


def test_rows_without_columns_have_no_drivers():
    model = isthmus.fit("text-vae", ["a b", "b a", "a a"] * 4, progress=False, steps=2)
    with pytest.raises(IsthmusError, match="no columns to name"):
        model.drivers(["a b"])


def test_log_two_pi_is_counted():
    """A perfect reconstruction at the prior scores the normal density's height."""
    model = linear(sigma=1.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    score = model.score(np.zeros((1, D), "f4"))[0]
    assert score == pytest.approx(-0.5 * D * math.log(2 * math.pi), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("recipe", ["plain", "vae"])
def test_a_model_in_half_precision_says_what_drives_a_score(recipe, dtype):
    X = rows()
    model = isthmus.fit(recipe, X, latent_dim=2, steps=3, batch_size=8, progress=False)
    expected = model.drivers(X)
    found = model.to(dtype).drivers(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_of_another_precision_is_saved_and_loaded(dtype, tmp_path):
    X = rows()
    model = isthmus.fit("vae", X, latent_dim=2, steps=3, batch_size=8, progress=False).to(dtype)
    isthmus.save(model, tmp_path / "half")
    again = isthmus.load(tmp_path / "half")
    np.testing.assert_allclose(again.encode(X), model.encode(X), rtol=1e-5, atol=1e-6)


# --- rows far from all that the model knows --------------------------------------------------


@pytest.mark.parametrize("recipe", ["plain", "vae", "trimmed-linear-vae"])
@pytest.mark.parametrize("size", [1e25, 1e30, 3e38])
def test_a_huge_cell_has_a_finite_score_and_is_the_one_that_is_blamed(recipe, size):
    X = np.random.default_rng(0).normal(size=(200, 3)).astype("f4")
    options = {} if recipe == "trimmed-linear-vae" else {"steps": 5, "latent_dim": 2}
    model = isthmus.fit(recipe, X, progress=False, **options)
    plain = X[:4]
    huge, large = plain.copy(), plain.copy()
    huge[0, 1], large[0, 1] = size, 1e12  # what single precision holds: the same but for the size
    scores, drivers = model.score(huge), model.drivers(huge)
    assert np.isfinite(scores).all()
    assert np.isfinite(drivers).all()
    assert drivers[0].argmax() == 1
    squared = (size / 1e12) ** 2
    assert scores[0] == pytest.approx(squared * float(model.score(large)[0]), rel=1e-3)
    # The rows beside it are what they were, to the bit.
    np.testing.assert_array_equal(scores[1:], model.score(plain)[1:].astype(float))
    np.testing.assert_array_equal(drivers[1:], model.drivers(plain)[1:].astype(float))
    assert model.predict(huge, threshold=float(scores[0]) / 2)[0] == -1
    assert isinstance(model.score(torch.from_numpy(huge)), torch.Tensor)


def test_of_two_huge_cells_the_larger_scores_less():
    X = rows()
    model = isthmus.fit("vae", X, latent_dim=2, steps=3, batch_size=8, progress=False)
    X[0, 0], X[1, 0] = 1e30, 1e32
    scores = model.score(X)
    assert scores[1] < scores[0] < scores[2:].min()


def test_what_has_no_number_in_double_precision_is_least_normal_by_its_largest_deviation():
    class Steep(nn.Linear):
        """A decoder whose output no floating type holds for large codes."""

        def forward(self, z):
            return torch.exp(super().forward(z).square()) * 0.0 + 1.0

    torch.manual_seed(0)
    model = linear(decoder=Steep(L, D))
    X = rows()
    X[3, 4] = 1e6
    scores, drivers = model.score(X), model.drivers(X)
    assert scores[3] == -np.inf
    assert np.isfinite(np.delete(scores, 3)).all()
    assert drivers[3].argmax() == 4
    np.testing.assert_allclose(drivers[3], 0.5 * X[3].astype(float) ** 2)
    assert model.predict(X, threshold=-1e30)[3] == -1


@pytest.mark.parametrize("measure", ["score", "drivers"])
def test_weights_that_are_no_numbers_are_not_blamed_on_rows(measure):
    model = isthmus.fit("vae", rows(), latent_dim=2, steps=3, batch_size=8, progress=False)
    with torch.no_grad():
        next(model.decoder.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(IsthmusError, match="weights hold NaN or infinity, in decoder"):
        getattr(model, measure)(rows())
