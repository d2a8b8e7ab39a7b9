"""Prices of latents that are options: a tanh with a pull on latents that are off, and ramps."""

import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.data import as_source
from isthmus.recipes import get_recipe

D, WIDTH, EPS = 6, 20, 0.3


def rows():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(400, 3, generator=generator) @ torch.randn(3, D, generator=generator)


def untrained(name, **options):
    recipe, data = get_recipe(name), rows()
    torch.manual_seed(0)
    parsed = recipe.parse({"latent_dim": WIDTH, **options})[0]
    model = recipe.build(as_source(data).signal, parsed)
    with torch.no_grad():
        model.prepare(data)
    return model.train()


class Jump(torch.autograd.Function):
    """u H(u - t), to t the rectangular kernel times -t / eps; written from the paper alone."""

    @staticmethod
    def forward(ctx, u, t):
        ctx.save_for_backward(u, t)
        return u * (u > t)

    @staticmethod
    def backward(ctx, g):
        u, t = ctx.saved_tensors
        near = (((u - t) / EPS).abs() < 0.5).to(u.dtype)
        return g * (u > t), -(t / EPS * near * g).sum(0)


def test_the_loss_of_the_january_update_and_its_gradients():
    """``|x - x^|^2 + lambda sum tanh(c |f| |W|) + lambda_P sum ReLU(theta - u) |W|``."""
    model = untrained(
        "jumprelu", penalty="tanh", tanh_scale=3.0, preactivation_weight=0.02, unit=False,
        sparsity=0.8, sparsity_steps=100, threshold=0.2, bandwidth=EPS, subtract_bias=False,
    )  # fmt: skip
    with torch.no_grad():
        model.decoder.weight.mul_(torch.rand(WIDTH, 1) + 0.5)
    out = model(rows()[:50], Clock(50, 1000))
    total = model.objective(model, out, "model").total
    total.backward()

    weights = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    x, t = model.scaler(rows()[:50]), weights["bottleneck.log_threshold"].exp()
    u = x @ weights["encoder.weight"].T + weights["encoder.bias"]
    z, lengths = Jump.apply(u, t), weights["decoder.weight"].norm(dim=1)
    error = (z @ weights["decoder.weight"] + weights["decoder.bias"] - x).square().sum(1)
    price = torch.tanh(3.0 * z * lengths).sum(1)
    lack = (torch.relu(t - u) * lengths).sum(1)
    loss = (error + 0.5 * 0.8 * price + 0.02 * lack).mean()
    torch.testing.assert_close(total, loss, atol=1e-5, rtol=1e-4)
    loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, atol=1e-5, rtol=1e-3)
    assert model.bottleneck.log_threshold.grad.abs().max() > 0


def test_the_control_holds_its_target_by_the_tanh():
    model = isthmus.fit(
        "jumprelu", rows(), latent_dim=WIDTH, l0=3.0, penalty="tanh", unit=False, steps=300,
        batch_size=100, warmup=0, progress=False,
    )  # fmt: skip
    found = isthmus.evaluate(model, rows())
    assert found["l0"].value == pytest.approx(3.0, abs=0.5)
    assert found["fvu"].value < 0.3
    assert {"tanh", "l0"} <= set(model.history[-1])


def test_an_l1_price_may_rise():
    def weight(**options):
        parts = untrained("relu-l1", sparsity=0.6, **options).objective
        return next(part.weight for part in parts if part.term.name == "l1")

    rising = weight(sparsity_steps=20)
    assert [rising(Clock(step, 1000)) for step in (0, 10, 20, 99)] == pytest.approx(
        [0, 0.3, 0.6, 0.6]
    )
    assert weight()(Clock(0, 1000)) == pytest.approx(0.6)
