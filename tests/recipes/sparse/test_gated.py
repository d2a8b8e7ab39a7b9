"""The gated dictionary: its loss, and what each part of it trains."""

import numpy as np
import pytest
import torch

import isthmus

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def fitted(**options):
    options = {"latent_dim": 24, "steps": 30, "batch_size": 50, "lr": 1e-2, "warmup": 0, **options}
    return isthmus.fit("gated", X, **options, progress=False)


def test_the_loss_is_the_papers():
    model = fitted(sparsity=0.05, sparsity_steps=10)
    p = {n: t.double().numpy() for n, t in model.state_dict().items()}
    x = X[:50].astype(np.float64) / p["scaler.scale"]
    assert (x**2).sum(1).mean() == pytest.approx(1.0, rel=0.2)
    inner = (x - p["decoder.bias"]) @ p["encoder.weight"].T
    pi = inner + p["encoder.bias"]
    size = np.exp(p["bottleneck.log_scale"]) * inner + p["bottleneck.bias"]
    z = (pi > 0) * np.maximum(size, 0.0)
    gate = np.maximum(pi, 0.0)
    errors = [((x - f @ p["decoder.weight"] - p["decoder.bias"]) ** 2).sum(1) for f in (z, gate)]
    terms = model.objective(model, model(torch.from_numpy(X[:50]))).terms
    assert terms["squared_error"].item() == pytest.approx(errors[0].mean(), rel=1e-4)
    assert terms["gate_error"].item() == pytest.approx(errors[1].mean(), rel=1e-4)
    assert terms["l1"].item() == pytest.approx(gate.sum(1).mean(), rel=1e-4)
    np.testing.assert_allclose(model.encode(X[:50]), z, atol=1e-5)


def test_every_parameter_is_trained_and_rows_keep_norm_one():
    before, after = fitted(steps=1).state_dict(), fitted().state_dict()
    for name in ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias",
                 "bottleneck.log_scale", "bottleneck.bias"):  # fmt: skip
        assert not torch.equal(before[name], after[name]), name
    torch.testing.assert_close(after["decoder.weight"].norm(dim=1), torch.ones(24))


def test_the_penalty_trains_gates_and_not_sizes():
    model = fitted()
    model.train()
    out = model(torch.from_numpy(X[:50]))
    l1 = next(part.term for part in model.objective if part.term.name == "l1")
    l1(model, out).sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"encoder.weight", "encoder.bias", "decoder.bias"}


def test_a_dearer_gate_means_fewer_of_them():
    cheap = (fitted(sparsity=0.0).encode(X) > 0).sum(1).mean()
    dear = (fitted(sparsity=1.0).encode(X) > 0).sum(1).mean()
    assert dear < 0.7 * cheap
