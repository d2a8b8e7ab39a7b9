"""The beta-TCVAE: its three terms in closed form, its two estimators, and the size of the data."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch.distributions import Normal

import isthmus
from isthmus.anatomy import Clock, Code, GaussianCode, Output, View
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.variational import beta_tcvae as page
from isthmus.recipes.variational.beta_tcvae import (
    TotalCorrelation,
    densities,
    stratified,
    weighted,
)
from isthmus.training import Callback, run

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(90, 3)) @ RNG.normal(size=(3, 6)) + 0.1 * RNG.normal(size=(90, 6))).astype(
    np.float32
)


def code(rows, latent, seed=0, spread=1.0):
    g = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(rows, latent, generator=g, dtype=torch.float64)  # noqa: E731
    mean, logvar = spread * draw(), 0.5 * draw() - 1.0
    return GaussianCode(mean + draw() * (0.5 * logvar).exp(), mean, logvar)


def gaussian_family(rows, gain, noise, seed=0):
    """x ~ N(0, 1), q(z|x) = N(gain x, noise^2), and so q(z) = N(0, gain^2 + noise^2).

    Both x and the noise are quantiles, in random order and with either sign, so that few rows are
    accurate.
    """
    half = torch.from_numpy(norm.ppf((np.arange(rows // 2) + 0.5) / (rows // 2)))[:, None]
    eps = half[torch.randperm(rows // 2, generator=torch.Generator().manual_seed(seed))]
    x, eps = torch.cat([half, half]), torch.cat([eps, -eps])
    logvar = torch.full_like(x, 2 * math.log(noise))
    return GaussianCode(gain * x + noise * eps, gain * x, logvar)


# --- closed forms ----------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "noise"), [(0.9, 0.3), (1.5, 0.5), (0.5, 0.8)])
@pytest.mark.parametrize("estimator", ["exact", "stratified", "weighted"])
def test_three_terms_of_an_exact_gaussian_case(gain, noise, estimator):
    rows, total = 1000, 1000 if estimator == "exact" else 60_000
    known = gaussian_family(rows, gain, noise)
    log_weights = {
        "exact": -math.log(rows),
        "stratified": stratified(rows, total),
        "weighted": weighted(rows, total),
    }[estimator]
    found = densities(known, log_weights)
    parts = [p.mean().item() for p in (found.index_code, found.total_correlation,
                                       found.dimension_wise)]  # fmt: skip
    kl = 0.5 * (gain**2 + noise**2 - 1 - 2 * math.log(noise))
    assert sum(parts) == pytest.approx(kl, rel=0.05)

    variance = gain**2 + noise**2
    mutual = 0.5 * math.log(variance / noise**2)
    marginal = 0.5 * (variance - 1 - math.log(variance))
    offset = math.log(total) if estimator == "weighted" else 0.0
    assert parts[0] == pytest.approx(mutual + offset, abs=0.04)
    assert parts[1] == pytest.approx(0.0, abs=1e-9)
    assert parts[2] == pytest.approx(marginal - offset, abs=0.08)


def test_total_correlation_of_correlated_latents():
    rho, noise, rows = 0.8, 0.4, 1500
    generator = np.random.default_rng(1)
    # Means and noise add up to a Gaussian with unit variances and correlation rho.
    covariance = np.array([[1.0, rho], [rho, 1.0]]) - noise**2 * np.eye(2)
    mean = torch.from_numpy(generator.multivariate_normal([0, 0], covariance, size=rows))
    z = mean + noise * torch.from_numpy(generator.normal(size=(rows, 2)))
    known = GaussianCode(z, mean, torch.full_like(mean, 2 * math.log(noise)))
    wanted = -0.5 * math.log(1 - rho**2)
    for log_weights in (-math.log(rows), stratified(rows, 10 * rows)):
        found = densities(known, log_weights).total_correlation.mean().item()
        assert found == pytest.approx(wanted, abs=0.08)
    offset = densities(known, weighted(rows, 10 * rows)).total_correlation.mean().item()
    assert offset == pytest.approx(wanted + math.log(10 * rows), abs=0.08)


def test_densities_are_those_of_scipy():
    known, weights = code(7, 3), stratified(7, 40)
    found = densities(known, weights)
    z, mean, scale = known.z.numpy(), known.mean.numpy(), (0.5 * known.logvar).exp().numpy()
    pairs = norm.logpdf(z[:, None], mean[None], scale[None])
    log_weights = weights.numpy().astype(float)
    np.testing.assert_allclose(found.joint, logsumexp(pairs.sum(2) + log_weights, axis=1))
    np.testing.assert_allclose(
        found.marginals, logsumexp(pairs + log_weights[:, :, None], axis=1), rtol=1e-7
    )
    np.testing.assert_allclose(found.conditional, norm.logpdf(z, mean, scale).sum(1))
    np.testing.assert_allclose(found.prior, norm.logpdf(z).sum(1))


@pytest.mark.parametrize("log_weights", [weighted(5, 60), stratified(5, 60)], ids=["mws", "mss"])
def test_gradients_agree_with_finite_differences(log_weights):
    known = code(5, 2)
    inputs = tuple(t.clone().requires_grad_() for t in (known.z, known.mean, known.logvar))

    def parts(*tensors):
        found = densities(GaussianCode(*tensors), log_weights)
        return found.index_code, found.total_correlation, found.dimension_wise

    assert torch.autograd.gradcheck(parts, inputs)


# --- the estimators --------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_stratified_sampling_is_unbiased_for_the_density(batch):
    """Averaged over every batch that the data allow, it is q(z) to rounding."""
    rows, own = 6, 2
    density = np.random.default_rng(0).uniform(size=rows)  # q(z|x_n) of the draw of row ``own``
    others = [n for n in range(rows) if n != own]
    estimates = []
    for chosen in itertools.permutations(others, batch - 1):
        weights = stratified(batch, rows)[0].exp().numpy()
        estimates.append(weights @ density[[own, *chosen]])
    assert np.mean(estimates) == pytest.approx(density.mean(), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_stratified_weights_add_up_and_each_draw_keeps_its_own(batch):
    weights = stratified(batch, 200).exp()
    torch.testing.assert_close(weights.diagonal(), torch.full((batch,), 1 / 200))
    total = torch.ones(batch) if batch > 1 else torch.tensor([1 / 200])
    torch.testing.assert_close(weights.sum(1), total)
    assert torch.isfinite(stratified(batch, 1)).all()


def test_weighted_sampling_over_all_data_is_log_n_too_low():
    known = code(50, 3)
    exact, found = densities(known, -math.log(50)), densities(known, weighted(50, 50))
    torch.testing.assert_close(found.joint, exact.joint - math.log(50))
    torch.testing.assert_close(found.marginals, exact.marginals - math.log(50))


# --- the recipe ------------------------------------------------------------------------------


def untrained(**options):
    recipe = get_recipe("beta-tcvae")
    torch.manual_seed(0)
    model = recipe.build(as_source(X).signal, recipe.parse({"latent_dim": 4, **options})[0])
    with torch.no_grad():
        model.prepare(torch.from_numpy(X))
    return model


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_the_loss_is_the_weighted_sum_of_the_three_terms(estimator):
    model = untrained(alpha=0.5, beta=3.0, gamma=2.0, estimator=estimator)
    out = model(torch.from_numpy(X[:20]), Clock(rows=90))
    log_weights = weighted(20, 90) if estimator == "weighted" else stratified(20, 90)
    parts = densities(out.code, log_weights)
    nll = -Normal(out.params, 1.0).log_prob(out.target).sum(1)
    expected = nll + 0.5 * parts.index_code + 3 * parts.total_correlation + 2 * parts.dimension_wise
    losses = model.objective(model, out)
    torch.testing.assert_close(losses.total, expected.mean(), rtol=1e-5, atol=1e-4)
    assert list(losses.terms) == [
        "nll", "index_code_mi", "total_correlation", "dimension_wise_kl",
    ]  # fmt: skip


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_with_all_weights_one_it_is_the_vae_whose_kl_is_estimated_by_one_draw(estimator):
    model = untrained(beta=1.0, estimator=estimator)
    out = model(torch.from_numpy(X), Clock(rows=90))
    nll = -Normal(out.params, 1.0).log_prob(out.target).sum(1)
    posterior = Normal(out.code.mean, (0.5 * out.code.logvar).exp())
    ratio = posterior.log_prob(out.code.z) - Normal(0.0, 1.0).log_prob(out.code.z)
    expected = (nll + ratio.sum(1)).mean()
    torch.testing.assert_close(model.objective(model, out).total, expected, rtol=1e-5, atol=1e-4)


def test_the_batch_is_compared_with_itself_once_for_all_three_terms(monkeypatch):
    calls = []
    inner = page.densities
    monkeypatch.setattr(page, "densities", lambda *a: calls.append(a) or inner(*a))
    model = untrained()
    for _ in range(2):
        model.objective(model, model(torch.from_numpy(X[:10]))).total.backward()
    assert len(calls) == 2


def test_looking_at_a_term_without_gradients_does_not_cost_it_them():
    model = untrained()
    out = model(torch.from_numpy(X[:10]))
    term = TotalCorrelation("weighted")
    with torch.no_grad():
        value = term(model, out)
    term(model, out).backward()
    assert next(model.encoder.parameters()).grad.abs().sum() > 0
    torch.testing.assert_close(value, term(model, out).detach())


def test_a_code_without_a_posterior_is_one_sentence():
    z = torch.zeros(3, 2)
    with pytest.raises(IsthmusError, match="needs a GaussianCode"):
        TotalCorrelation("weighted")(untrained(), Output(z, z, [View(z)], [Code(z)]))


def test_published_defaults():
    options, training = get_recipe("beta-tcvae").parse({})
    chosen = [options[n] for n in ("latent_dim", "alpha", "beta", "gamma", "estimator")]
    assert chosen == [10, 1.0, 6.0, 1.0, "weighted"]
    assert (training.batch_size, training.lr, training.epochs) == (2048, 1e-3, 50)


def test_penalising_the_total_correlation_lowers_it():
    """On correlated data, by the exact q(z) of all rows."""
    found = {}
    for beta in (1.0, 20.0):
        model = isthmus.fit(
            "beta-tcvae", X, latent_dim=3, hidden=(16,), beta=beta, estimator="stratified",
            sigma=0.5, steps=120, lr=1e-2, batch_size=90, progress=False,
        )  # fmt: skip
        known = model.encode(X, code=True).draw(1)
        drawn = GaussianCode(known.z[0], known.mean, known.logvar)
        found[beta] = densities(drawn, -math.log(len(X))).total_correlation.mean().item()
    assert found[20.0] < found[1.0] - 0.05


# --- the number of training rows -------------------------------------------------------------


@pytest.fixture
def told(monkeypatch):
    """The numbers of training rows by which the steps of a run weigh."""
    numbers = []
    inner = page.weighted
    monkeypatch.setattr(page, "weighted", lambda n, rows: numbers.append(rows) or inner(n, rows))
    return numbers


class Crash(Callback):
    def on_step(self, trainer, step):
        if step == 2:
            raise RuntimeError("crash")


@pytest.mark.parametrize("sample", [40, 1000])
@pytest.mark.parametrize("validation", [0.0, 0.25])
def test_the_number_of_training_rows_is_known_and_again_when_resumed(
    tmp_path, monkeypatch, told, sample, validation
):
    """Without the rows for validation, and of data larger than the sample for setting up."""
    monkeypatch.setattr(run, "PREPARE_ROWS", sample)
    with pytest.raises(RuntimeError, match="crash"):
        isthmus.fit(
            "beta-tcvae", X, latent_dim=2, hidden=(4,), steps=4, batch_size=10, save_every=1,
            validation=validation, validate_every=1, out=tmp_path / "run", callbacks=[Crash()],
            progress=False,
        )  # fmt: skip
    rows = 90 - math.ceil(validation * 90)
    assert told
    assert set(told) == {rows}
    told.clear()
    isthmus.resume(tmp_path / "run", X, progress=False)
    assert told
    assert set(told) == {rows}


def test_rows_for_validation_of_ones_own_are_not_taken_off(monkeypatch, told):
    monkeypatch.setattr(run, "PREPARE_ROWS", 40)
    isthmus.fit(
        "beta-tcvae", X, latent_dim=2, hidden=(4,), steps=2, batch_size=10, validation=0.5,
        validation_data=X[:30], progress=False,
    )  # fmt: skip
    assert set(told) == {90}


def test_without_a_run_the_batch_is_counted(told):
    model = untrained()
    for rows in (20, 90):
        told.clear()
        model.objective(model, model(torch.from_numpy(X[:rows])))
        assert told == [rows]
