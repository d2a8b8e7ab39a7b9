"""vSAE: TopK of draws, and a divergence that counts every latent."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

import isthmus
from isthmus.anatomy import Clock
from isthmus.recipes.sparse.vsae import LOGVAR
from steps import step_forward

X = np.random.default_rng(0).normal(0.5, 1.0, (300, 10)).astype(np.float32)

CLOCK = Clock(5, 1000, 100)


def fitted(recipe="vsae", **options):
    options = {
        "latent_dim": 64, "k": 4, "steps": 40, "batch_size": 100, "k_aux": 8, **options,
    }  # fmt: skip
    return isthmus.fit(recipe, X, lr=3e-3, progress=False, **options)


def test_without_noise_and_divergence_it_is_topk_to_the_last_bit():
    plain, drawn = fitted("topk"), fitted(sigma=0.0, beta=0.0)
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, drawn.state_dict()[name]), name


def test_codes_are_the_largest_means_and_nothing_is_drawn():
    model = fitted()
    w = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    u = (X / model.scaler.scale.item() - w["decoder.bias"]) @ w["encoder.weight"].T
    u += w["encoder.bias"]
    cut = np.sort(u, axis=1)[:, [-4]]
    np.testing.assert_allclose(model.encode(X), np.maximum(np.where(u >= cut, u, 0), 0), atol=2e-5)
    np.testing.assert_array_equal(model.encode(X), model.encode(X))


@pytest.mark.parametrize("sigma", [1.0, 0.5, None])
def test_the_divergence_is_that_of_two_normals(sigma):
    model = fitted(sigma=sigma, steps=5).train()
    out = step_forward(model, torch.from_numpy(X[:50]), CLOCK)
    terms = model.objective(model, out).terms
    mean, deviation = out.code.mean, (0.5 * out.code.logvar).exp()
    whole = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum(1).mean()
    if sigma is not None:  # the rest is constant
        torch.testing.assert_close(deviation, torch.full_like(deviation, sigma))
        whole = whole - 64 * (0.5 * sigma**2 - 0.5 - np.log(sigma))
    assert terms["kl"].item() == pytest.approx(whole.item(), rel=1e-4)


def test_draws_have_the_deviation_that_was_asked_for():
    model = fitted(sigma=0.7, k=64, revive="none", steps=1).train()
    x = torch.from_numpy(X[:1]).expand(4000, -1)
    code = step_forward(model, x, CLOCK).code
    u = code.mean[0]
    drawn = torch.zeros(4000, 64).scatter_(1, code.indices, code.values)
    on = u > 2.5 * 0.7  # rectified nowhere
    if not bool(on.any()):
        with torch.no_grad():
            model.encoder.bias.fill_(5.0)
        code = step_forward(model, x, CLOCK).code
        u = code.mean[0]
        drawn = torch.zeros(4000, 64).scatter_(1, code.indices, code.values)
        on = u > 2.5 * 0.7
    assert bool(on.any())
    np.testing.assert_allclose(drawn[:, on].std(0).detach(), 0.7, rtol=0.08)


def test_a_learned_variance_stays_within_its_bounds():
    model = fitted(sigma=None, steps=20).train()
    with torch.no_grad():
        model.bottleneck.logvar.bias.fill_(50.0)
    logvar = step_forward(model, torch.from_numpy(X[:20]), CLOCK).code.logvar
    assert float(logvar.detach().max()) == LOGVAR[1]


def test_more_weight_leaves_smaller_means():
    light, heavy = fitted(beta=1e-4, steps=150), fitted(beta=0.3, steps=150)
    assert np.abs(heavy.encode(X)).sum() < 0.7 * np.abs(light.encode(X)).sum()
