"""The beta-VAE: its loss in closed form, and capacity held."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

import isthmus
from isthmus.anatomy import Clock
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(400, 3)) @ RNG.normal(size=(3, 8)) + 0.1 * RNG.normal(size=(400, 8))).astype(
    np.float32
)


def untrained(**options):
    from isthmus.data import as_source

    recipe = get_recipe("beta-vae")
    torch.manual_seed(0)
    options = {"latent_dim": 4, "hidden": (16,), **options}
    model = recipe.build(as_source(X).signal, recipe.parse(options)[0])
    with torch.no_grad():
        model.prepare(torch.from_numpy(X))
    return model


def pieces(model, clock):
    """Output, negative log-likelihood and KL of one forward pass, by torch.distributions."""
    torch.manual_seed(1)
    out = model(torch.from_numpy(X[:60]), clock)
    posterior = Normal(out.code.mean, (0.5 * out.code.logvar).exp())
    kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    nll = -Normal(out.params, 1.0).log_prob(out.target).sum(1)
    return out, nll, kl


def test_capacity_is_approached_over_the_stated_steps():
    model = untrained(capacity=6.0, gamma=10.0, capacity_steps=50)
    for step, target in [(0, 0.0), (25, 3.0), (50, 6.0), (80, 6.0)]:
        out, nll, kl = pieces(model, Clock(step, 100))
        losses = model.objective(model, out)
        expected = nll.mean() + 10.0 * (kl.mean() - target).abs()
        torch.testing.assert_close(losses.total, expected, rtol=1e-4, atol=1e-4)


def test_without_capacity_it_is_the_elbo_with_beta():
    model = untrained(capacity=None, beta=4.0)
    out, nll, kl = pieces(model, Clock(3, 10))
    torch.testing.assert_close(
        model.objective(model, out).total, (nll + 4.0 * kl).mean(), rtol=1e-4, atol=1e-4
    )


def test_training_holds_the_kl_at_the_capacity():
    model = isthmus.fit(
        "beta-vae", X, latent_dim=4, hidden=(32,), capacity=3.0, gamma=50.0, steps=600,
        lr=3e-3, batch_size=100, progress=False,
    )  # fmt: skip
    code = model.encode(X, code=True)
    kl = kl_divergence(Normal(code.mean, (0.5 * code.logvar).exp()), Normal(0.0, 1.0)).sum(1)
    assert kl.mean().item() == pytest.approx(3.0, abs=0.4)


def test_a_linear_vae_finds_the_principal_subspace():
    """With fixed noise the optimum of a linear VAE is probabilistic PCA (Lucas et al. 2019)."""
    from sklearn.decomposition import PCA

    model = isthmus.fit(
        "beta-vae", X, latent_dim=3, hidden=(), capacity=None, beta=1.0, sigma=0.2, steps=700,
        lr=1e-2, batch_size=400, lr_schedule="cosine", progress=False,
    )  # fmt: skip
    scaled = model.scaler(torch.from_numpy(X)).numpy()
    atoms = model.decoder.layers[0].weight.detach().numpy()
    principal = PCA(3).fit(scaled).components_
    cosines = np.linalg.svd(np.linalg.qr(atoms)[0].T @ principal.T)[1]
    assert cosines.min() > 0.99


def test_encode_gives_the_mean_and_samples_follow_the_seed():
    model = untrained()
    code = model.encode(X, code=True)
    assert torch.equal(code.z, code.mean)
    assert torch.equal(model.sample(5, seed=1), model.sample(5, seed=1))
    assert model.sample(5, seed=1).shape == (5, 8)


def test_a_bernoulli_likelihood_needs_unit_data():
    with pytest.raises(IsthmusError, match="between 0 and 1"):
        untrained(likelihood="bernoulli")
