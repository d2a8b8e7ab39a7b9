"""Latents chosen by size and influence: topk without influence, the dense formula with it."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock, View
from isthmus.errors import IsthmusError
from isthmus.interpretation.encoding import coded
from isthmus.kernels import using
from isthmus.notices import collected
from steps import step_forward

RNG = np.random.default_rng(0)
X = RNG.normal(0.5, 1.0, (300, 10)).astype(np.float32)
G = (RNG.normal(size=(300, 10)) * RNG.gamma(0.5, size=(300, 1))).astype(np.float32)
ROWS = {"x": X, "gradient": G}
CLOCK = Clock(5, 1000, 40)


def fitted(recipe="g-sae", rows=ROWS, **options):
    options = {"latent_dim": 64, "k": 3, "steps": 30, "batch_size": 50, "lr": 3e-3, **options}
    return isthmus.fit(recipe, rows, progress=False, **options)


@pytest.mark.parametrize("width", [64, 2048])
def test_without_influence_it_is_topk_bit_for_bit(width):
    plain = fitted("topk", X, latent_dim=width)
    mine = fitted(beta=0.0, latent_dim=width)
    weights = {n.replace("each.x.", ""): p for n, p in mine.state_dict().items()}
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert np.array_equal(plain.encode(X), mine.encode(ROWS))
    assert not np.array_equal(plain.encode(X), fitted(latent_dim=width).encode(ROWS))


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
def test_loss_and_gradients_are_those_of_the_dense_formula(path):
    model = fitted(beta=2.0, steps=1, revive="none", latent_dim=512).train()
    rows = {name: torch.from_numpy(part[:40]) for name, part in ROWS.items()}
    with using(path):
        out = step_forward(model, rows, CLOCK)
        losses = model.objective(model, out)
        losses.total.backward()
    w = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
    x, g = (rows[n].double() / rows_scale(n) for n in ("x", "gradient"))
    u = (x - w["decoder.bias"]) @ w["encoder.each.x.weight"].T + w["encoder.each.x.bias"]
    z = u.clamp_min(0.0)
    score = (z + 2.0 * z * (g @ w["decoder.weight"].T).abs()).detach()
    kept = torch.zeros_like(z).scatter(1, score.topk(3, dim=1).indices, 1.0)
    assert not torch.equal(kept, torch.zeros_like(z).scatter(1, z.topk(3, dim=1).indices, 1.0))
    error = (x - (z * kept) @ w["decoder.weight"] - w["decoder.bias"]).square().mean()
    error.backward()
    torch.testing.assert_close(out.code.z.double(), z * kept, rtol=1e-4, atol=1e-5)
    assert losses.total.item() == pytest.approx(error.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), w[name].grad, rtol=1e-3, atol=1e-5, msg=name
        )


def rows_scale(name):
    return float(np.sqrt(np.square(ROWS[name].astype(np.float64)).mean()))


def test_influence_is_what_the_loss_changes_by_without_the_latent():
    """``z_i d_i . g`` is, for a loss that is linear, the difference that latent i makes."""
    model = fitted()
    row = {name: torch.from_numpy(part[:1]) for name, part in ROWS.items()}
    scaled = model.scaler(row)
    h = model.encode_view(View(scaled))
    z, atoms, g = torch.relu(h.dense())[0], model.decoder.weight, scaled["gradient"][0]
    whole = (z @ atoms) @ g
    without = torch.stack([((z - z * one) @ atoms) @ g for one in torch.eye(len(z))])
    wanted = (whole - without).abs()
    _, indices = model.bottleneck.chosen(h, scaled["gradient"], atoms)
    best = (z + model.bottleneck.beta * wanted).topk(3).indices
    assert set(indices[0].tolist()) == set(best.tolist())


def test_neither_the_units_of_the_loss_nor_those_of_the_rows_matter():
    other = {"x": 1024.0 * X, "gradient": G / 4096.0}
    np.testing.assert_allclose(
        fitted().encode(ROWS), fitted(rows=other).encode(other), rtol=1e-4, atol=1e-5
    )


def test_where_a_reconstruction_is_put_in_there_are_no_gradients_and_that_is_said():
    model, plain = fitted(), fitted(beta=0.0)
    with collected(quiet=True) as said:
        code = coded(model, torch.from_numpy(X[:20]))
    assert [one for one in said if "chosen by size alone" in one]
    plain.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(code.z.detach().numpy(), plain.encode(ROWS)[:20])


def test_what_it_cannot_read_and_what_others_cannot_say_is_refused(tmp_path):
    with pytest.raises(IsthmusError, match="pass two, the activations first"):
        fitted(rows={"a": X, "b": X, "c": X})
    with pytest.raises(IsthmusError, match="pass one gradient for each element"):
        fitted(rows={"x": X, "gradient": G[:, :4]})
    with pytest.raises(IsthmusError, match="no word"):
        fitted().bottleneck.rule()
    assert fitted(beta=0.0).bottleneck.rule().activation == "topk"


def test_a_part_that_is_called_gradient_is_the_gradient_in_either_order():
    rows = {"layers.1": X, "layers.1:gradient": G}
    options = {"latent_dim": 24, "k": 3, "steps": 3, "batch_size": 32, "progress": False}
    models = [
        isthmus.fit("g-sae", {name: rows[name] for name in names}, **options)
        for names in (("layers.1", "layers.1:gradient"), ("layers.1:gradient", "layers.1"))
    ]
    assert all(model.encoder.names == ("layers.1",) for model in models)
    with pytest.raises(IsthmusError, match="both parts, 'a:gradient' and 'gradient'"):
        isthmus.fit("g-sae", {"a:gradient": X, "gradient": G}, **options)
