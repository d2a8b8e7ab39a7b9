"""AbsTopK: signs are kept, also by AuxK, and opposites share a latent."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.kernels import using

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def fitted(X=X, recipe="abstopk", **options):
    options = {"latent_dim": 24, "k": 4, "steps": 20, "batch_size": 50, **options}
    return isthmus.fit(recipe, X, progress=False, **options)


def pre_activations(model, x):
    w = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    x = x / model.scaler.scale.item()
    return (x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"], w


def largest(u, k):
    cut = np.sort(np.abs(u), 1)[:, -k][:, None]
    return np.where(np.abs(u) >= cut, u, 0.0)


def test_codes_are_the_largest_by_absolute_value():
    model = fitted()
    u, _ = pre_activations(model, X)
    z = model.encode(X)
    np.testing.assert_allclose(z, largest(u, 4), atol=1e-5)
    assert ((z != 0).sum(1) == 4).all()
    assert (z < 0).mean() > 0.02
    norms = model.decoder.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(24), atol=1e-5, rtol=0)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
def test_auxk_is_signed(path):
    made = fitted(latent_dim=640, k=2, k_aux=3, steps=1).train()
    dead = torch.arange(640) >= 320
    with torch.no_grad():
        made.encoder.weight[dead] *= 0.1
    made.bottleneck.counter.silent_rows.copy_(torch.where(dead, 10**9, 0))
    x = torch.from_numpy(X[:40])
    with using(path):
        out = made(x, Clock(5, 1000, 40))
        term = next(p.term for p in made.objective if p.term.name == "auxk")
        got = term(made, out)
        got.mean().backward()
    u, w = pre_activations(made, X[:40])
    error = (out.target - out.recon).detach().double().numpy()
    rest = largest(u[:, dead], 3)
    assert (rest < 0).any()
    left = error - rest @ w["decoder.weight"][dead]
    wanted = (left**2).mean(1) / (error**2).mean()
    np.testing.assert_allclose(got.detach(), wanted, rtol=1e-4)
    sizes = made.encoder.weight.grad.abs().sum(1)
    assert sizes[dead].max() > 0
    assert sizes[~dead].max() == 0


def test_a_negative_value_counts_as_fired():
    made = fitted(steps=1).train()
    out = made(torch.from_numpy(X[:50]), Clock(0, 1000, 50))
    fired = (out.code.z != 0).any(0)
    assert torch.equal(made.bottleneck.counter.silent_rows == 0, fired)


def test_opposite_directions_need_one_latent_where_topk_needs_two():
    """x = a v_i with a of either sign: 8 signed atoms suffice, 8 non-negative ones do not."""
    rng = np.random.default_rng(0)
    atoms = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    sizes = rng.choice([-1.0, 1.0], 2000) * rng.uniform(1.0, 2.0, 2000)
    rows = (sizes[:, None] * atoms[rng.integers(8, size=2000)]).astype(np.float32)
    error = {}
    for recipe in ("topk", "abstopk"):
        model = fitted(rows, recipe, latent_dim=8, k=1, steps=200, lr=1e-2, batch_size=200)
        error[recipe] = -model.score(rows).mean()
    assert error["abstopk"] < 0.5 * error["topk"]
