"""Matryoshka over levels of sparsity: all levels in one loss, any of them at inference."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.recipes import get_recipe
from isthmus.recipes.sparse.msae import doubling

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def fitted(recipe="msae", X=X, **options):
    options = {"latent_dim": 48, "k": 2, "steps": 20, "batch_size": 50, **options}
    return isthmus.fit(recipe, X, lr=3e-3, progress=False, **options)


def test_levels_double_up_to_the_width():
    assert doubling(64, 1000) == [64, 128, 256, 512, 1000]
    assert doubling(64, 512) == [64, 128, 256, 512]
    assert doubling(8, 8) == [8]


def strongest(u, k):
    cut = u.detach().sort(1).values[:, -k][:, None]
    return torch.where(u.detach() >= cut, u, 0.0).clamp_min(0.0)


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
@pytest.mark.parametrize("weighting", ["uniform", "reverse"])
@pytest.mark.parametrize(("width", "k"), [(200, 1), (48, 30), (12, 12)])
def test_loss_and_gradients_are_those_of_the_dense_formula(path, weighting, width, k):
    made = fitted(latent_dim=width, k=k, weighting=weighting, steps=1).train()
    x = torch.from_numpy(X[:40])
    with using(path):
        losses = made.objective(made, made(x, Clock(5, 1000, 40)))
        losses.total.backward()
    w = {n: p.detach().double().requires_grad_() for n, p in made.named_parameters()}
    x = made.scaler(x).double()
    u = (x - w["decoder.bias"]) @ w["encoder.weight"].T + w["encoder.bias"]
    levels = doubling(k, width)
    weights = np.ones(len(levels)) if weighting == "uniform" else np.arange(len(levels), 0, -1)
    own = (x - made.scaler(torch.from_numpy(X)).double().mean(0)).square().sum(1)
    expected = 0.0
    for level, weight in zip(levels, weights, strict=True):
        recon = strongest(u, level) @ w["decoder.weight"] + w["decoder.bias"]
        share = ((x - recon) ** 2).sum(1) / own
        expected = expected + weight * share.mean() / weights.sum()
    expected.backward()
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-4)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=5e-4, atol=1e-5, msg=name
        )


def test_short_rows_count_as_much_as_long_ones_and_one_at_the_mean_is_no_infinity():
    rows = np.concatenate([X, X / 100.0])
    rows = np.concatenate([rows, -rows, np.zeros((1, 10), np.float32)])
    made = fitted(X=rows, steps=1).train()
    with torch.no_grad():
        made.decoder.bias.zero_()
        made.encoder.weight.zero_()
        made.encoder.bias.zero_()
        loss = made.objective.terms[0](made, made(torch.from_numpy(rows), Clock(5, 1000, 1201)))
    torch.testing.assert_close(loss[:-1], torch.ones(1200), rtol=1e-3, atol=0)
    assert 0.0 <= loss[-1] < 0.1


def test_at_the_start_all_latents_together_do_not_overshoot():
    recipe = get_recipe("msae")
    made = recipe.build(as_source(X).signal, recipe.parse({"latent_dim": 320, "k": 4})[0])
    made.prepare(torch.from_numpy(X))
    made.bottleneck.use(320)
    error = np.square(made.eval().reconstruct(X) - X).sum()
    assert error < np.square(X - X.mean(0)).sum()


def test_the_rate_falls_over_the_last_fifth():
    rates = [record["lr"] for record in fitted(log_every=1).history]
    assert rates == pytest.approx([3e-3] * 17 + [2.25e-3, 1.5e-3, 0.75e-3])


def test_any_number_of_latents_at_inference_and_it_is_saved(tmp_path):
    model = fitted()
    w = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    u = (X / model.scaler.scale.item() - w["decoder.bias"]) @ w["encoder.weight"].T
    u = np.maximum(u + w["encoder.bias"], 0.0)
    for k in (2, 7, 48):
        if k != 2:
            model.bottleneck.use(k)
        cut = np.sort(u, 1)[:, -k][:, None]
        np.testing.assert_allclose(model.encode(X), np.where(u >= cut, u, 0.0), atol=1e-5)
    model.bottleneck.use(5)
    isthmus.save(model, tmp_path / "saved")
    loaded = isthmus.load(tmp_path / "saved")
    assert loaded.encode(X, code=True).values.shape == (300, 5)
    for k in (0, 49):
        with pytest.raises(IsthmusError, match="choose one from 1 to 48"):
            model.bottleneck.use(k)


def test_the_choice_at_inference_does_not_change_training():
    model = fitted(steps=1).train()
    x = torch.from_numpy(X[:40])
    before = model.objective(model, model(x, Clock(0, 10, 40))).total
    model.bottleneck.use(40)
    assert torch.equal(model.objective(model, model(x, Clock(0, 10, 40))).total, before)


def test_it_starts_at_the_mean_and_equal_rows_are_refused():
    recipe = get_recipe("msae")
    made = recipe.build(as_source(X).signal, recipe.parse({"latent_dim": 8, "k": 2})[0])
    made.prepare(torch.from_numpy(X))
    mean = made.scaler(torch.from_numpy(X)).mean(0)
    torch.testing.assert_close(made.decoder.bias.detach(), mean)
    with pytest.raises(IsthmusError, match="every row of the data is the same"):
        fitted(X=np.ones((60, 4), np.float32))


def test_more_active_latents_than_latents_is_an_error():
    with pytest.raises(IsthmusError, match="k=49 is more than latent_dim=48: choose a smaller k"):
        fitted(k=49)


def test_better_than_topk_off_its_k():
    error = {}
    for recipe in ("msae", "topk"):
        model = fitted(recipe, steps=150)
        for k in (2, 16):
            if recipe == "topk":
                model.bottleneck.k = k
            else:
                model.bottleneck.use(k)
            error[recipe, k] = -model.score(X).mean()
    assert error["msae", 16] < 0.5 * error["topk", 16]
    assert error["msae", 2] < 2.0 * error["topk", 2]
