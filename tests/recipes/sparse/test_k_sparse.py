"""k-sparse: tied weights, unrectified selection, a falling k, and alpha k in evaluation."""

import numpy as np
import pytest
import torch

import isthmus
import isthmus.training
import zoo
from isthmus.anatomy import Clock, SparseCode
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe

X = np.random.default_rng(0).normal(0.5, 2.0, (300, 10)).astype(np.float32)
SMALL = {"latent_dim": 24, "k": 4, "steps": 60, "batch_size": 50, "progress": False}


def fitted(**options):
    return isthmus.fit("k-sparse", X, **{**SMALL, **options})


def untrained(**options):
    recipe = get_recipe("k-sparse")
    torch.manual_seed(0)
    options = {"latent_dim": 24, "k": 4, **options}
    made = recipe.build(as_source(X).signal, recipe.parse(options)[0])
    with torch.no_grad():
        made.prepare(torch.from_numpy(X))
    return made


def pieces(model):
    w = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    return w["decoder.weight"], w["encoder.bias"], w["decoder.bias"]


def largest(u, k):
    return np.where(u >= np.sort(u, 1)[:, -k][:, None], u, 0.0)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 3.0, 1.7])
def test_codes_and_reconstructions_are_those_of_the_formula(alpha):
    model = fitted(alpha=alpha)
    weight, b, out = pieces(model)
    factor = model.scaler.scale.item()
    z = largest((X / factor) @ weight.T + b, round(4 * alpha))
    code = model.encode(X, code=True)
    assert isinstance(code, SparseCode)
    assert code.values.shape == (300, round(4 * alpha))
    np.testing.assert_allclose(model.encode(X), z, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(X), factor * (z @ weight + out), atol=1e-4)


def test_what_is_kept_is_not_rectified():
    model = fitted(k=24, k_start=None)
    values = model.encode(X, code=True).values
    assert (values < 0).any()
    weight, b, _ = pieces(model)
    u = (X / model.scaler.scale.item()) @ weight.T + b
    np.testing.assert_allclose(model.encode(X), u, atol=1e-5)


def test_encoder_and_decoder_share_one_weight_and_its_gradient_comes_from_both():
    model = untrained()
    assert sorted(n for n, _ in model.named_parameters()) == [
        "decoder.bias", "decoder.weight", "encoder.bias",
    ]  # fmt: skip
    model.train()
    x = torch.from_numpy(X[:20])
    model.objective(model, model(x, Clock(9, 10, 20))).total.backward()

    w = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
    scaled = model.scaler(x).double()
    u = scaled @ w["decoder.weight"].T + w["encoder.bias"]
    kept = u.detach() >= u.detach().sort(1).values[:, -4][:, None]
    recon = torch.where(kept, u, 0.0) @ w["decoder.weight"] + w["decoder.bias"]
    (scaled - recon).square().sum(1).mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=1e-4, atol=1e-6, msg=name
        )


def test_k_falls_in_a_straight_line_over_half_of_the_run():
    model = untrained(k_start=20)
    model.train()
    x = torch.from_numpy(X[:5])
    seen = [model(x, Clock(step, 40, 5)).code.values.shape[1] for step in (0, 5, 10, 20, 39)]
    assert seen == [20, 16, 12, 4, 4]
    assert model(x).code.values.shape[1] == 4  # outside a run
    model.eval()
    assert model(x, Clock(0, 40, 5)).code.values.shape[1] == 4


@pytest.mark.parametrize(("asked", "first"), [(None, 4), (100, 24), (2, 4)])
def test_the_first_k_lies_between_k_and_the_number_of_latents(asked, first):
    assert untrained(k_start=asked).bottleneck.annealing.start == first


def test_alpha_is_set_on_a_fitted_model_and_saved_with_it(tmp_path):
    model = fitted()
    before = model.encode(X)
    model.bottleneck.alpha = 3
    assert model.encode(X, code=True).values.shape == (300, 12)
    kept = before != 0
    np.testing.assert_allclose(model.encode(X)[kept], before[kept], atol=1e-6)
    isthmus.save(model, tmp_path / "run")
    again = isthmus.load(tmp_path / "run")
    assert again.bottleneck.alpha == 3.0
    np.testing.assert_array_equal(again.encode(X), model.encode(X))
    model.bottleneck.alpha = 100
    assert model.encode(X, code=True).values.shape == (300, 24)
    with pytest.raises(IsthmusError, match="alpha=0 must be positive"):
        model.bottleneck.alpha = 0


@pytest.mark.parametrize(("asked", "sigma"), [({}, 0.01), ({"sigma": 0.2}, 0.2)])
def test_it_starts_at_sigma_and_on_data_of_unit_size(asked, sigma):
    """Each weight has the published size, however many elements a row has."""
    weight = untrained(latent_dim=2000, **asked).decoder.weight.detach()
    assert float(weight.std()) == pytest.approx(sigma, rel=0.02)
    assert float(weight.mean()) == pytest.approx(0.0, abs=0.05 * sigma)
    assert float(weight.norm(dim=1).std()) > 0.1 * sigma
    model = untrained()
    assert model.scaler(torch.from_numpy(X)).square().sum(1).mean().item() == pytest.approx(1.0)


def test_the_published_rate_is_that_of_unscaled_data_for_the_weights():
    """0.01 on half the squared error of the rows as they are; scaled by c, 0.01 c^2 / 2."""
    c2 = float(np.square(X).sum(1).mean())
    shared = {"steps": 1, "lr_schedule": "constant", "optimiser_options": {}, "k_start": None}
    plain = fitted(scaling="none", lr=0.005, **shared)
    scaled = fitted(lr=0.005 * c2, **shared)
    torch.testing.assert_close(plain.decoder.weight, scaled.decoder.weight, rtol=1e-4, atol=1e-6)
    # Biases are in the units of the data, and their published rate does not grow with c.
    moved = scaled.decoder.bias * c2**0.5 / plain.decoder.bias
    torch.testing.assert_close(moved, torch.full((10,), c2), rtol=1e-3, atol=0)


def test_at_the_first_k_every_unit_learns_and_at_the_last_few_do():
    """What annealing is for: units beyond the k largest of every row get no gradient."""
    learning = {}
    for start in (24, None):
        model = untrained(k=1, k_start=start)
        model.train()
        out = model(torch.from_numpy(X[:8]), Clock(0, 40, 8))
        model.objective(model, out).total.backward()
        learning[start] = int((model.decoder.weight.grad.abs().sum(1) > 0).sum())
    assert learning[24] == 24
    assert learning[None] <= 8


def test_trained_it_rebuilds_better_than_it_began():
    model = fitted(steps=200, k_start=None)
    fresh = untrained(k_start=None)
    assert -model.score(X).mean() < 0.6 * -fresh.score(X).mean()


class Stop(isthmus.training.Callback):
    def __init__(self, after):
        self.after = after

    def on_step(self, trainer, step):
        if step == self.after:
            raise RuntimeError("killed")


@pytest.mark.parametrize("after", [7, 45])
def test_resumed_before_and_after_half_of_the_run_the_weights_are_the_same(tmp_path, after):
    whole = fitted()
    with pytest.raises(RuntimeError, match="killed"):
        fitted(out=tmp_path / "run", callbacks=[Stop(after)], save_every=15)
    assert zoo.sha(isthmus.resume(tmp_path / "run", X, progress=False)) == zoo.sha(whole)
    assert zoo.sha(fitted(k_start=None)) != zoo.sha(whole)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_wide_codes_take_the_sparse_path_and_give_the_same_step(optimiser):
    """Both uses of the shared weight leave their gradient, also where it comes by rows."""
    from isthmus.kernels import using

    models = {}
    for path in ("reference", "auto"):
        with using(path):
            models[path] = fitted(
                latent_dim=640, k=2, k_start=None, steps=5, optimiser=optimiser, lr=1e-2,
                optimiser_options={},
            )  # fmt: skip
    for ours, theirs in zip(*(m.parameters() for m in models.values()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_more_active_latents_than_latents_is_an_error():
    with pytest.raises(IsthmusError, match="k=30 is more than latent_dim=24"):
        fitted(k=30)
