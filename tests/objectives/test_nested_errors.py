"""Errors at several numbers of latents: the dense formula, and topk where there is one level."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.objectives.nested_errors import budgets_of
from steps import step_forward

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def fitted(**options):
    options = {"latent_dim": 64, "k": 6, "steps": 20, "batch_size": 50, "lr": 3e-3, **options}
    return isthmus.fit("topk", X, progress=False, **options)


def test_budgets_are_evenly_spaced_and_end_at_k():
    assert budgets_of(32, 4) == [8, 16, 24, 32]
    assert budgets_of(5, 5) == [1, 2, 3, 4, 5]
    assert budgets_of(3, 8) == [1, 2, 3]
    assert budgets_of(7, 3) == [3, 5, 7]
    assert budgets_of(9, 1) == [9]


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
@pytest.mark.parametrize("budgets", [1, 3, 6])
def test_loss_and_gradients_are_those_of_the_dense_formula(path, budgets):
    model = fitted(budgets=budgets, steps=1, revive="none").train()
    x = torch.from_numpy(X[:40])
    with using(path):
        losses = model.objective(model, step_forward(model, x, Clock(5, 1000, 40)))
        losses.total.backward()
    w = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
    x = model.scaler(x).double()
    u = torch.relu((x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"])
    total = 0.0
    levels = {1: [6], 3: [2, 4, 6], 6: [1, 2, 3, 4, 5, 6]}[budgets]
    for level in levels:
        cut = u.detach().sort(1).values[:, -level][:, None]
        recon = torch.where(u.detach() >= cut, u, 0.0) @ w["decoder.weight"] + w["decoder.bias"]
        total = total + (x - recon).square().mean() / len(levels)
    total.backward()
    assert losses.total.item() == pytest.approx(total.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=5e-4, atol=1e-5, msg=name
        )


def test_fewer_latents_rebuild_better_than_topks_own():
    plain, nested = (fitted(steps=400, budgets=b) for b in (0, 6))
    errors = []
    for model in (plain, nested):
        model.bottleneck.k = 2
        errors.append(isthmus.evaluate(model, X)["fvu"].value)
    assert errors[1] < errors[0]


@pytest.mark.parametrize("other", [{"multi_weight": 0.125}, {"k_start": 12}])
def test_what_says_otherwise_is_refused(other):
    with pytest.raises(IsthmusError, match="numbers of latents up to k"):
        fitted(budgets=2, **other)
