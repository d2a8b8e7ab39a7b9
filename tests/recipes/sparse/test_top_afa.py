"""top-AFA: the number of latents follows from the lengths, and its theorem holds on every row."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.recipes.sparse import top_afa
from steps import step_forward

rng = np.random.default_rng(0)
X = (rng.random((300, 24)) < 0.2) * rng.random((300, 24))
X = (X @ rng.normal(size=(24, 12))).astype(np.float32)

CLOCK = Clock(5, 1000, 100)


def fitted(**options):
    options = {"latent_dim": 48, "steps": 60, "batch_size": 100, "k_aux": 8, **options}
    return isthmus.fit("top-afa", X, lr=3e-3, progress=False, **options)


def weights(model):
    return {n: p.detach().double().numpy() for n, p in model.named_parameters()}


def inner(model):
    return model.scaler(torch.from_numpy(X)).double().numpy()


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("share", [8, 1])
def test_codes_are_those_of_the_definition(monkeypatch, unit, share):
    monkeypatch.setattr(top_afa, "_SHARE", share)
    model = fitted(unit=unit)
    w, x = weights(model), inner(model)
    left = x - w["decoder.bias"]
    a = np.maximum(left @ w["encoder.weight"].T + w["encoder.bias"], 0.0)
    weighed = a * np.linalg.norm(w["decoder.weight"], axis=1)
    expected = np.zeros_like(a)
    for n in range(len(x)):
        order = np.argsort(-weighed[n], kind="stable")
        sums = np.sqrt(np.cumsum(weighed[n][order] ** 2))
        k = int(np.argmin(np.abs(sums - np.linalg.norm(left[n])))) + 1
        expected[n, order[:k]] = a[n, order[:k]]
    np.testing.assert_allclose(model.encode(X), expected, atol=1e-4)
    counts = (expected != 0).sum(1)
    assert counts.std() > 0  # rows choose for themselves


def test_the_papers_bound_holds_on_every_row():
    # | |z|^2 - |f|^2 | <= eps (|f|_1^2 - |f|_2^2), eps the largest cosine of two atoms.
    model = fitted()
    f, w = model.encode(X).astype(np.float64), weights(model)
    atoms = w["decoder.weight"] / np.linalg.norm(w["decoder.weight"], axis=1, keepdims=True)
    f = f * np.linalg.norm(w["decoder.weight"], axis=1)
    eps = np.abs(atoms @ atoms.T - np.eye(len(atoms))).max()
    z = f @ atoms
    gap = np.abs((z**2).sum(1) - (f**2).sum(1))
    assert (gap <= eps * (np.abs(f).sum(1) ** 2 - (f**2).sum(1)) + 1e-6).all()


def test_the_loss_is_that_of_the_formula():
    model = fitted(steps=1, revive="none", afa_weight=0.5).train()
    x = torch.from_numpy(X[:50])
    losses = model.objective(model, step_forward(model, x, CLOCK))
    code = model.encode(X[:50]).astype(np.float64)
    w, target = weights(model), inner(model)[:50]
    error = code @ w["decoder.weight"] + w["decoder.bias"] - target
    length = np.linalg.norm(code * np.linalg.norm(w["decoder.weight"], axis=1), axis=1)
    gap = length - np.linalg.norm(target - w["decoder.bias"], axis=1)
    expected = (error**2).mean(1) + 0.5 * gap**2 / 12
    assert losses.total.item() == pytest.approx(expected.mean(), rel=1e-4)


def test_gradients_of_the_length_are_finite_where_nothing_is_on():
    model = fitted(steps=1).train()
    with torch.no_grad():
        model.encoder.bias.fill_(-100.0)
    losses = model.objective(model, step_forward(model, torch.from_numpy(X[:20]), CLOCK))
    losses.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
