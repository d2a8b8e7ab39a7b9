"""The ARD-VAE: its KL, the refresh of its prior, exact resume, and the axes that it keeps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.distributions import Normal, kl_divergence

import isthmus
import zoo
from isthmus.anatomy import Clock, GaussianCode, Output, Signal, Step, View
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.variational.ard_vae import (
    RelevanceKL,
    RelevancePrior,
    relevance,
    relevant_axes,
)
from isthmus.training import Callback

RNG = np.random.default_rng(0)
TRUE = 3
X = RNG.normal(size=(600, TRUE)) @ np.linalg.qr(RNG.normal(size=(10, TRUE)))[0].T
X = (X + 0.02 * RNG.normal(size=X.shape)).astype(np.float32)


def untrained(**options):
    recipe = get_recipe("ard-vae")
    torch.manual_seed(0)
    options = {"latent_dim": 4, "hidden": (8,), "scaling": "none", **options}
    model = recipe.build(as_source(X).signal, recipe.parse(options)[0])
    with torch.no_grad():
        model.prepare(torch.from_numpy(X))
    return model


def prior_of(*variances, draws=10):
    prior = RelevancePrior(len(variances), draws)
    prior.variance.copy_(torch.tensor(variances))
    return prior


# --- the loss and the prior ------------------------------------------------------------------


def test_kl_and_loss_by_torch_distributions():
    model = untrained(beta=0.7)
    model.prior.variance.copy_(torch.tensor([0.1, 1.0, 3.0, 1e-4]))
    out = model(torch.from_numpy(X[:50]), Clock())
    posterior = Normal(out.code.mean, (0.5 * out.code.logvar).exp())
    prior = Normal(torch.zeros(4), model.prior.variance.sqrt())
    kl = kl_divergence(posterior, prior).sum(1)
    torch.testing.assert_close(RelevanceKL()(model, out), kl, rtol=1e-5, atol=1e-4)
    squared = (out.recon - out.target).square().sum(1)
    total = model.objective(model, out).total
    torch.testing.assert_close(total, (squared + 0.7 * kl).mean(), rtol=1e-5, atol=1e-4)

    # beta times the negative ELBO of the model's own likelihood, but for a constant
    nll = -model.likelihood.log_prob(out.params, out.target)
    constant = 0.7 * nll - squared
    torch.testing.assert_close(constant, constant[:1].expand_as(constant), rtol=1e-4, atol=1e-4)


def test_no_gradient_reaches_the_variances():
    model = untrained()
    model.objective(model, model(torch.from_numpy(X[:20]))).total.backward()
    assert not model.prior.variance.requires_grad
    assert "prior.variance" not in dict(model.named_parameters())


def test_the_prior_samples_and_scores_as_its_variances_say():
    prior = prior_of(0.25, 4.0)
    torch.manual_seed(0)
    z = prior.sample(40_000)
    torch.testing.assert_close(z.var(0), torch.tensor([0.25, 4.0]), rtol=0.03, atol=0)
    wanted = Normal(0.0, torch.tensor([0.5, 2.0])).log_prob(z).sum(1)
    torch.testing.assert_close(prior.log_prob(z), wanted)
    assert prior.log_prob(z.view(2, -1, 2)).shape == (2, 20_000)


def test_bounds_on_the_likelihood_use_the_models_own_prior():
    model = isthmus.fit(
        "ard-vae", X, latent_dim=3, hidden=(), steps=30, batch_size=100, progress=False
    )
    table = isthmus.evaluate(model, X[:50])
    assert "own prior" in table["importance_bound"].estimator


# --- the refresh -----------------------------------------------------------------------------


def test_the_first_variances_are_those_of_the_untrained_encoder():
    model = untrained(draws=10_000)
    code = model.encode(X, code=True)
    expected = (code.mean.square() + code.logvar.exp()).mean(0)
    torch.testing.assert_close(model.prior.variance, expected, rtol=0.25, atol=0)
    assert model.training


def test_sorted_data_are_sampled_evenly_for_the_first_variances():
    """The first rows alone, all of one kind, would tell nothing of the others."""
    recipe = get_recipe("ard-vae")
    x = torch.cat([torch.zeros(500, 2), torch.full((500, 2), 10.0)])
    chosen = recipe.parse({"latent_dim": 2, "draws": 100, "scaling": "none"})[0]
    chosen["encoder"] = nn.Linear(2, 4)
    model = recipe.build(Signal("vector", (2,)), chosen)
    with torch.no_grad():
        model.encoder.weight.copy_(torch.cat([torch.eye(2), torch.zeros(2, 2)]))
        model.encoder.bias.copy_(torch.tensor([0.0, 0.0, -9.0, -9.0]))
        model.prepare(x)
    torch.testing.assert_close(model.prior.variance, torch.full((2,), 50.0), rtol=0.01, atol=0)


def output_of(z, clock):
    """A step whose draws are ``z``."""
    step = Step(clock)
    return Output(z, z, [View(z)], [GaussianCode(z, z, torch.zeros_like(z))], step=step), step


@pytest.mark.parametrize("draws", [10, 40, 1000])
def test_variances_are_the_mean_square_of_an_epochs_last_draws(draws):
    rows, size, epoch = 60, 10, 6
    part = RelevancePrior(2, draws)
    torch.manual_seed(0)
    seen, before = [], part.variance.clone()
    for step in range(3 * epoch):
        z = torch.randn(size, 2)
        part.observe(*output_of(z, Clock(step, 600, size, rows)))
        assert torch.equal(part.variance, before)
        part.after_update()
        seen.append(z)
        if (step + 1) % epoch:
            assert torch.equal(part.variance, before)
            continue
        used = torch.cat(seen[-min(epoch, -(-draws // size)) :])
        torch.testing.assert_close(part.variance, used.square().mean(0))
        before = part.variance.clone()


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_the_draws_of_a_batch_in_parts_count_all_and_once(parts, monkeypatch):
    """The stepper shows the prior the joined rows of all parts."""
    seen = []
    monkeypatch.setattr(RelevancePrior, "_add", lambda self, z: seen.append(z.clone()))
    monkeypatch.setattr(RelevancePrior, "_refresh", lambda self: None)
    isthmus.fit(
        "ard-vae", X, latent_dim=3, hidden=(), draws=100, steps=12, batch_size=100,
        accumulate=parts, progress=False,
    )  # fmt: skip
    looked, *steps = seen
    assert len(looked) == 100
    # 600 rows are six steps, but a run of 12 is refreshed at every one of them
    assert [z.shape for z in steps] == [(100, 3)] * 12
    assert all(len(z.unique(dim=0)) == 100 for z in steps)


def test_only_training_draws_count():
    model = untrained(draws=100)
    before = model.prior.variance.clone()
    clock = Clock(1, 100, 10, 20)
    x = torch.from_numpy(X[:10])
    model.clean_code(x)
    model(x)
    model(x, clock)
    model.eval()(x, clock)
    for part in model.modules():
        if isinstance(part, RelevancePrior):
            part.after_update()
    assert int(model.prior.counted) == 0
    assert torch.equal(model.prior.variance, before)


def test_a_short_run_is_refreshed_ten_times():
    part = RelevancePrior(2, 100)
    assert part.period(Clock(0, 50_000, 100, 10_000)) == 100  # an epoch
    assert part.period(Clock(0, 200, 100, 10_000)) == 20
    assert part.period(Clock(0, 5, 100, 10_000)) == 1


class Stop(Callback):
    """A crash after a step."""

    def __init__(self, at):
        self.at = at

    def on_step(self, trainer, step):
        if step == self.at:
            raise RuntimeError("crash")


RUN = {
    "latent_dim": 3, "hidden": (6,), "draws": 70, "steps": 40, "batch_size": 10, "progress": False,
    "validation": 0.9, "validate_every": 20,
}  # fmt: skip


@pytest.mark.parametrize("at", [3, 6, 13])
def test_a_run_resumed_within_an_epoch_ends_on_the_same_bits(tmp_path, monkeypatch, at):
    from isthmus.training import journal

    monkeypatch.setattr(journal, "synced", lambda path: None)
    rows = X[:400]  # 40 to train on: an epoch, and a refresh, every four steps
    whole = isthmus.fit("ard-vae", rows, **RUN)
    options = {**RUN, "save_every": at}
    with pytest.raises(RuntimeError, match="crash"):
        isthmus.fit("ard-vae", rows, out=tmp_path / "run", callbacks=[Stop(at + 1)], **options)
    resumed = isthmus.resume(tmp_path / "run", rows, progress=False)
    assert zoo.sha(resumed) == zoo.sha(whole)
    assert not torch.equal(whole.prior.variance, torch.ones(3))


def test_looking_at_held_out_rows_does_not_change_the_prior():
    settings = {**RUN, "steps": 10, "validation": 0.5}
    often = isthmus.fit("ard-vae", X, **{**settings, "validate_every": 1})
    never = isthmus.fit("ard-vae", X, **{**settings, "validate_every": 1000})
    assert zoo.sha(often) == zoo.sha(never)


# --- relevance -------------------------------------------------------------------------------


def linear_model(variances):
    model = untrained(hidden=(), latent_dim=len(variances))
    model.prior.variance.copy_(torch.tensor(variances))
    return model


def test_relevance_of_a_linear_decoder_is_variance_times_squared_length():
    model = linear_model([0.5, 2.0, 1e-3])
    weight = model.decoder.layers[0].weight.detach().double()
    wanted = model.prior.variance.double() * weight.square().sum(0)
    for data in (X, torch.from_numpy(X), as_source(X)):
        torch.testing.assert_close(relevance(model, data, rows=20), wanted, rtol=1e-5, atol=0)
    assert all(p.grad is None for p in model.parameters())


def test_relevance_of_a_deep_decoder_by_the_jacobian():
    model = untrained(hidden=(6,))
    model.train()
    X_ = X[:30]
    found = relevance(model, X_)
    assert model.training
    z = model.encode(torch.from_numpy(X_))
    squares = [
        torch.autograd.functional.jacobian(lambda a: model.decoder(a[None])[0], row).square().sum(0)
        for row in z
    ]
    wanted = model.prior.variance * torch.stack(squares).mean(0)
    torch.testing.assert_close(found, wanted.double(), rtol=1e-4, atol=1e-9)


def test_relevance_of_a_plain_vae_uses_the_spread_of_its_codes():
    model = isthmus.fit("beta-vae", X, latent_dim=2, hidden=(), steps=5, progress=False)
    code = model.encode(X, code=True)
    variance = (code.mean.square() + code.logvar.exp()).mean(0)
    wanted = variance * model.decoder.layers[0].weight.detach().square().sum(0)
    found = relevance(model, X, rows=len(X))
    torch.testing.assert_close(found, wanted.double(), rtol=1e-4, atol=0)


def test_relevance_works_for_images_of_any_network():
    images = np.random.default_rng(0).uniform(size=(4, 1, 8, 8)).astype(np.float32)
    for network in ("conv", "transformer"):
        recipe = get_recipe("ard-vae")
        model = recipe.build(
            as_source(images).signal, recipe.parse({"latent_dim": 2, "network": network})[0]
        )
        found = relevance(model, images)
        assert found.shape == (2,)
        assert (found > 0).all()


def test_relevance_needs_a_posterior_and_a_decoder():
    plain = isthmus.fit("plain", X, latent_dim=2, hidden=(), steps=2, progress=False)
    with pytest.raises(IsthmusError, match="no posterior variances"):
        relevance(plain, X)
    plain.decoder = None
    with pytest.raises(IsthmusError, match="no decoder"):
        relevance(plain, X)


@given(
    hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1e3)),
    st.floats(0.01, 1.0),
)
def test_axes_are_the_fewest_that_hold_the_share(values, share):
    axes = relevant_axes(values, share).numpy()
    kept = values[axes]
    assert (np.diff(kept) <= 0).all()
    total = values.sum()
    if total == 0:
        assert len(axes) == 0
        return
    assert kept.sum() >= share * total * (1 - 1e-9)
    assert kept[:-1].sum() < share * total * (1 + 1e-9)
    assert (kept > 0).all()
    assert np.delete(values, axes).max(initial=0.0) <= kept.min()


def test_axes_by_hand():
    values = torch.tensor([0.0, 60.0, 0.5, 39.0, 0.5])
    assert relevant_axes(values).tolist() == [1, 3]
    assert relevant_axes(values, 0.5).tolist() == [1]
    assert sorted(relevant_axes(values, 1.0).tolist()) == [1, 2, 3, 4]
    with pytest.raises(IsthmusError, match=r"share=1\.5"):
        relevant_axes(values, 1.5)


@pytest.mark.parametrize("latent_dim", [4, 8])
def test_as_many_axes_are_found_as_the_data_have_whatever_the_latent_size(latent_dim):
    model = isthmus.fit(
        "ard-vae", X, latent_dim=latent_dim, hidden=(), beta=0.3, scaling="none", steps=600,
        lr=1e-2, lr_schedule="cosine", batch_size=50, progress=False,
    )  # fmt: skip
    axes = relevant_axes(relevance(model, X))
    assert len(axes) == TRUE
    codes = model.encode(X)
    only = np.zeros_like(codes)
    only[:, axes.numpy()] = codes[:, axes.numpy()]
    error, least = (((model.decode(z) - X) ** 2).mean() for z in (only, codes))
    assert error < 1.1 * least
    assert least < 0.1 * X.var()


def test_published_defaults():
    options, training = get_recipe("ard-vae").parse({})
    assert (options["latent_dim"], options["beta"], options["draws"]) == (128, 0.5, 10_000)
    assert (training.lr, training.batch_size, training.epochs) == (5e-4, 100, 50)
