"""Llama Scope: norms count in the selection, k falls, and thresholds replace it."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.recipes import get_recipe
from isthmus.recipes.sparse.jumprelu import to_jumprelu

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def fitted(recipe="llama-scope", **options):
    options = {"latent_dim": 64, "k": 4, "steps": 120, "batch_size": 50, **options}
    return isthmus.fit(recipe, X, lr=5e-3, progress=False, **options)


def parts(model):
    w = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    h = X / model.scaler.scale.item() @ w["encoder.weight"].T + w["encoder.bias"]
    return h, np.linalg.norm(w["decoder.weight"], axis=1), w


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
def test_codes_are_as_in_numpy(path):
    model = fitted(latent_dim=640, steps=40)
    with torch.no_grad():
        model.decoder.weight.mul_(torch.linspace(0.3, 3.0, 640)[:, None])
    h, norms, w = parts(model)
    cut = np.sort(h * norms, 1)[:, -4][:, None]
    z = np.where(h * norms >= cut, np.maximum(h, 0.0), 0.0)
    with using(path):
        np.testing.assert_allclose(model.encode(X), z, atol=2e-5)
        recon = (z @ w["decoder.weight"] + w["decoder.bias"]) * model.scaler.scale.item()
        np.testing.assert_allclose(model.reconstruct(X), recon, atol=2e-4)


def test_decoder_norms_are_free_and_the_encoder_is_not_centred():
    model = fitted()
    norms = model.decoder.weight.norm(dim=1)
    assert float(norms.detach().std()) > 0.01
    assert model.encoder.subtract_bias is False


def test_k_falls_from_the_elements_of_a_row():
    model = fitted(steps=1).train()
    x = torch.from_numpy(X[:20])
    for step, k in ((0, 10), (5, 7), (10, 4), (99, 4)):
        assert model(x, Clock(step, 100, 20)).code.values.shape == (20, k)
    narrow = fitted(latent_dim=8, steps=1).train()
    assert narrow(x, Clock(0, 100, 20)).code.values.shape == (20, 8)
    given = fitted(k_start=20, steps=1).train()
    assert given(x, Clock(0, 100, 20)).code.values.shape == (20, 20)


def test_it_starts_tied_at_the_one_norm_that_rebuilds_best():
    recipe = get_recipe("llama-scope")
    made = recipe.build(as_source(X).signal, recipe.parse({"latent_dim": 64, "k": 4})[0]).train()
    made.prepare(torch.from_numpy(X))
    weight = made.decoder.weight.detach()
    torch.testing.assert_close(made.encoder.weight.detach(), weight)
    x, first = torch.from_numpy(X), Clock(0, 100, 300)
    best = made(x, first).squared_error().mean()
    for factor in (0.97, 1.03):
        with torch.no_grad():
            made.encoder.weight.mul_(factor)
            made.decoder.weight.mul_(factor)
            assert made(x, first).squared_error().mean() > best
            made.encoder.weight.div_(factor)
            made.decoder.weight.div_(factor)


def test_the_rate_cools_down_to_a_part_of_it_over_the_last_fifth():
    rates = [record["lr"] for record in fitted(steps=50, warmup=0, log_every=1).history]
    assert rates[:41] == pytest.approx([5e-3] * 41)
    assert rates[45] == pytest.approx(5e-3 * (1 + 1 / 32) / 2)
    assert rates[-1] == pytest.approx(5e-3 * (1 / 32 + 0.1 * 31 / 32))


# --- the conversion ---------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["llama-scope", "topk"])
def test_converted_codes_are_those_above_one_threshold(recipe, tmp_path):
    model = fitted(recipe)
    made = to_jumprelu(model, X, batch_size=77)
    if recipe == "topk":
        w = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
        h = (X / model.scaler.scale.item() - w["decoder.bias"]) @ w["encoder.weight"].T
        h, norms = h + w["encoder.bias"], np.ones(64)
    else:
        h, norms, w = parts(model)
    pooled = np.sort((h * norms).ravel())[::-1]
    theta = (pooled[4 * 300 - 1] + pooled[4 * 300]) / 2
    assert theta > 0
    thresholds = made.bottleneck.log_threshold.exp().detach().numpy()
    np.testing.assert_allclose(thresholds, theta / norms, rtol=1e-4)
    z = np.where(h * norms > theta, h, 0.0)
    np.testing.assert_allclose(made.encode(X), z, atol=1e-5)
    assert int((made.encode(X) != 0).sum()) == 4 * 300
    recon = (z @ w["decoder.weight"] + w["decoder.bias"]) * model.scaler.scale.item()
    np.testing.assert_allclose(made.reconstruct(X), recon, atol=1e-4)

    isthmus.save(made, tmp_path / "made", X)
    loaded = isthmus.load(tmp_path / "made")
    np.testing.assert_array_equal(loaded.encode(X), made.encode(X))
    assert loaded.config["recipe"] == "jumprelu"
    assert loaded.decoder.unit == made.decoder.unit == (recipe == "topk")


@pytest.mark.parametrize("recipe", ["llama-scope", "topk"])
def test_a_converted_model_can_be_trained_further(recipe):
    """Norms that were free stay so: brought to 1, the model would be another."""
    made = to_jumprelu(fitted(recipe), X)
    before = made.decoder.weight.detach().norm(dim=1)
    error = -made.score(X).mean()
    on = isthmus.fit(made, X, steps=5, batch_size=50, lr=1e-5, progress=False)
    torch.testing.assert_close(on.decoder.weight.detach().norm(dim=1), before, rtol=1e-3, atol=0)
    assert (float(before.std()) > 0.01) == (recipe == "llama-scope")
    assert -on.score(X).mean() == pytest.approx(error, rel=0.02)


def test_converted_it_still_rebuilds_most_of_sparse_rows():
    rng = np.random.default_rng(0)
    atoms = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    z = np.zeros((600, 10))
    for row in z:
        row[rng.choice(10, 2, replace=False)] = rng.uniform(1.0, 1.5, 2)
    rows = (z @ atoms).astype(np.float32)
    model = isthmus.fit(
        "llama-scope", rows, latent_dim=40, k=2, steps=300, batch_size=100, lr=1e-2, warmup=0,
        progress=False,
    )  # fmt: skip
    assert -model.score(rows).mean() < 0.05
    assert -to_jumprelu(model, rows).score(rows).mean() < 0.15


def test_where_fewer_than_k_are_positive_all_of_them_are_kept():
    model = fitted(k=60, steps=1)
    with torch.no_grad():
        model.encoder.bias.sub_(0.3)
    h = parts(model)[0]
    assert 0 < (h > 0).sum() < 60 * 300
    made = to_jumprelu(model, X)
    np.testing.assert_allclose(made.encode(X), np.maximum(h, 0.0), atol=1e-5)


def test_what_cannot_be_converted():
    for recipe in ("abstopk", "batchtopk"):
        with pytest.raises(IsthmusError, match="only a TopK dictionary"):
            to_jumprelu(fitted(recipe, steps=1), X)
    model = fitted(steps=1)
    with torch.no_grad():
        model.encoder.bias.sub_(1e6)
    with pytest.raises(IsthmusError, match="no latent is positive"):
        to_jumprelu(model, X)
