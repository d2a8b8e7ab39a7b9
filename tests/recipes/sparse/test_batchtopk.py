"""BatchTopK: the page's losses, and a threshold that keeps k on average."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from steps import step_forward

X = np.random.default_rng(0).normal(1.0, 2.0, (400, 10)).astype(np.float32)
X *= np.random.default_rng(1).uniform(0.3, 2.0, (400, 1)).astype(np.float32)


def fitted(**options):
    options = {"latent_dim": 64, "k": 4, "steps": 60, "batch_size": 100, **options}
    return isthmus.fit("batchtopk", X, lr=3e-3, progress=False, **options)


def test_at_inference_k_are_active_on_average_and_rows_differ():
    counts = (fitted(steps=200).encode(X) != 0).sum(1)
    assert counts.mean() == pytest.approx(4.0, rel=0.08)
    assert counts.std() > 1.0


def test_codes_are_what_exceeds_the_saved_threshold(tmp_path):
    model = fitted(out=tmp_path / "run")
    w = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    u = (X / model.scaler.scale.item() - w["decoder.bias"]) @ w["encoder.weight"].T
    u += w["encoder.bias"]
    threshold = float(model.bottleneck.threshold)
    assert threshold > 0
    np.testing.assert_allclose(model.encode(X), np.where(u > threshold, u, 0.0), atol=2e-5)
    loaded = isthmus.load(tmp_path / "run")
    assert float(loaded.bottleneck.threshold) == threshold
    np.testing.assert_array_equal(loaded.encode(X), model.encode(X))


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
def test_loss_and_gradients_are_those_of_the_dense_formula(path):
    made = fitted(latent_dim=640, k=2, k_aux=3, steps=1).train()
    dead = torch.arange(640) % 2 == 1
    with torch.no_grad():
        made.encoder.weight.copy_(made.decoder.weight)
        made.encoder.bias.copy_(torch.where(dead, -2.0, 0.2))
        made.bottleneck.counter.silent_rows.copy_(torch.where(dead, 10**9, 0))
    x = torch.from_numpy(X[:40])
    with using(path):
        losses = made.objective(made, step_forward(made, x, Clock(5, 1000, 40)))
        losses.total.backward()
    w = {n: p.detach().double().requires_grad_() for n, p in made.named_parameters()}
    x = made.scaler(x).double()
    u = (x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"]
    cut = u.detach().flatten().sort().values[-2 * 40]
    z = torch.where(u.detach() >= cut, u, 0.0)
    # Latents that fired in this very batch are dead no more.
    dead &= ~(z != 0).any(0)
    recon = z @ w["decoder.weight"] + w["decoder.bias"]
    rest = u[:, dead]
    third = rest.detach().sort(1).values[:, -3][:, None]
    rest = torch.where(rest.detach() >= third, rest, 0.0).clamp_min(0.0)
    error = (x - recon).detach()
    left = error - rest @ w["decoder.weight"][dead]
    expected = ((x - recon) ** 2).mean() + (left**2).mean() / (error**2).mean() / 32
    expected.backward()
    assert (rest > 0).any()
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=2e-4, atol=2e-6, msg=name
        )


def test_more_active_latents_than_latents_is_an_error():
    with pytest.raises(IsthmusError, match="k=9 is more than latent_dim=8"):
        fitted(latent_dim=8, k=9)


def test_without_auxk_there_is_no_such_term():
    terms = [part.term.name for part in fitted(auxk_weight=0.0, steps=1).objective]
    assert terms == ["mse"]
