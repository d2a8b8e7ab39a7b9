"""Experts behind a router: topk where there is one, the dense formula where there are several."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from steps import step_forward

X = np.random.default_rng(0).normal(0.5, 1.0, (300, 10)).astype(np.float32)
CLOCK = Clock(5, 1000, 40)


def fitted(recipe="switch", **options):
    options = {"latent_dim": 64, "k": 3, "steps": 30, "batch_size": 50, "lr": 3e-3, **options}
    return isthmus.fit(recipe, X, progress=False, **options)


def test_with_one_expert_it_is_topk():
    plain, one = fitted("topk"), fitted(experts=1)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(weight, one.state_dict()[name], rtol=1e-6, atol=1e-6, msg=name)
    np.testing.assert_allclose(one.encode(X), plain.encode(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
@pytest.mark.parametrize("experts", [2, 8])
def test_loss_and_gradients_are_those_of_the_dense_formula(path, experts):
    model = fitted(experts=experts, balance=0.7, steps=1, revive="none").train()
    x = torch.from_numpy(X[:40])
    with using(path):
        losses = model.objective(model, step_forward(model, x, CLOCK))
        losses.total.backward()
    w = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
    x = model.scaler(x).double()
    logits = (x - w["bottleneck.router_centre"]) @ w["bottleneck.router.weight"].T
    p = torch.softmax(logits + w["bottleneck.router.bias"], 1)
    expert, size = p.argmax(1), 64 // experts
    u = (x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"]
    own = torch.arange(64) // size == expert[:, None]
    u = torch.where(own, u, -torch.inf)
    cut = u.detach().sort(1).values[:, -3][:, None]
    z = torch.where(u.detach() >= cut, u, 0.0).clamp_min(0.0) * p.max(1, keepdim=True).values
    error = (x - z @ w["decoder.weight"] - w["decoder.bias"]).square().mean()
    load = torch.bincount(expert, minlength=experts) / 40
    balance = experts * (load * p.mean(0)).sum()
    (error + 0.7 * balance).backward()
    assert losses.terms["balance"].item() == pytest.approx(balance.item(), rel=1e-5)
    assert losses.total.item() == pytest.approx((error + 0.7 * balance).item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=1e-3, atol=1e-5, msg=name
        )


def test_a_row_uses_latents_of_one_expert_whatever_the_other_rows_are():
    model = fitted(experts=4, steps=100)
    z = model.encode(X)
    used = np.stack([(z[:, 16 * i : 16 * (i + 1)] != 0).any(1) for i in range(4)])
    assert (used.sum(0) <= 1).all()
    assert (used.any(1)).sum() > 1
    np.testing.assert_allclose(model.encode(X[7:8]), z[7:8], rtol=1e-5, atol=1e-6)
    assert ((z > 0).sum(1) <= 3).all()


def test_an_even_load_is_one_and_balance_evens_it():
    def load(balance):
        model = fitted(experts=4, steps=150, balance=balance)
        z = model.encode(X)
        shares = np.array([(z[:, 16 * i : 16 * (i + 1)] != 0).any(1).mean() for i in range(4)])
        return shares.max()

    assert load(1.0) < min(0.4, load(0.0))


def test_experts_that_do_not_divide_the_latents_are_refused():
    with pytest.raises(IsthmusError, match="cannot be divided among 5"):
        fitted(experts=5)
    with pytest.raises(IsthmusError, match=r"k=9 is more than the 8 latents .* of latent_dim=64"):
        fitted(experts=8, k=9)
