"""The ReLU dictionary: its loss, the tied weight, and a target held on new rows."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock
from isthmus.data import Planted
from isthmus.errors import IsthmusError
from isthmus.recipes.sparse.relu_l1 import AnnealedPower
from steps import step_forward

X = np.random.default_rng(0).normal(1.0, 2.0, (300, 10)).astype(np.float32)


def fitted(rows=X, **options):
    options = {"latent_dim": 24, "steps": 30, "batch_size": 50, "lr": 1e-2, **options}
    return isthmus.fit("relu-l1", rows, **options, progress=False)


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_is_the_papers(tied):
    model = fitted(sparsity=0.03, tied=tied)
    weights = {n: t.double().numpy() for n, t in model.state_dict().items() if "weight" in n}
    enc, dec = weights["encoder.weight"], weights["decoder.weight"]
    assert tied == np.array_equal(enc, dec)
    b, b_dec = (m.bias.detach().double().numpy() for m in (model.encoder, model.decoder))
    x = X[:50].astype(np.float64) / float(model.scaler.scale)
    z = np.maximum((x - b_dec) @ enc.T + b, 0.0)
    loss = ((x - z @ dec - b_dec) ** 2).mean(1) + 0.03 * z.sum(1)
    got = model.objective(model, model(torch.from_numpy(X[:50])))
    assert got.total.item() == pytest.approx(loss.mean(), rel=1e-4)
    assert got.terms["l0"].item() == pytest.approx((z > 0).sum(1).mean(), abs=0.05)


def test_tied_weights_are_one_parameter_with_rows_of_norm_one(tmp_path):
    model = fitted(tied=True, out=tmp_path / "run", average=0.9)
    names = [n for n, _ in model.named_parameters() if "weight" in n]
    assert names == ["encoder.weight"]
    torch.testing.assert_close(model.encoder.weight.norm(dim=1), torch.ones(24), atol=1e-5, rtol=0)
    np.testing.assert_array_equal(isthmus.load(tmp_path / "run").encode(X), model.encode(X))


def test_the_tied_gradient_is_that_of_both_places():
    tied, free = fitted(tied=True, steps=1), fitted(steps=1)
    free.load_state_dict(tied.state_dict())
    gradients = {}
    for name, model in (("tied", tied), ("free", free)):
        out = model(torch.from_numpy(X[:50]))
        model.objective(model, out).total.backward()
        gradients[name] = model.encoder.weight.grad.clone()
        if name == "free":
            gradients[name] += model.decoder.weight.grad
    torch.testing.assert_close(gradients["tied"], gradients["free"], rtol=1e-4, atol=1e-6)


def test_a_dearer_norm_means_fewer_active_latents():
    cheap = (fitted(sparsity=0.0).encode(X) > 0).sum(1).mean()
    dear = (fitted(sparsity=0.3).encode(X) > 0).sum(1).mean()
    assert dear < 0.7 * cheap


def test_an_impossible_target_is_an_error():
    with pytest.raises(IsthmusError, match="l0=24 is no target for 24 latents"):
        fitted(l0=24)


@pytest.mark.parametrize("name", ["relu-l1", "gated", "jumprelu"])
@pytest.mark.parametrize("l0", [4, 24])
def test_the_target_is_held_on_new_rows(name, l0):
    planted = Planted(width=16, truths=64, active=3)
    rows, held = planted.sample(8000)[0], planted.sample(4000, seed=1)[0]
    model = isthmus.fit(
        name, 7.0 * rows, latent_dim=64, l0=l0, steps=250, batch_size=256, lr=3e-3, progress=False
    )
    active = (model.encode(7.0 * held) != 0).sum(1).mean()
    assert active == pytest.approx(l0, rel=0.05)
    unfitted = isthmus.fit(name, 7.0 * rows, latent_dim=64, l0=l0, steps=1, progress=False)
    assert model.score(7.0 * held).mean() > 0.7 * unfitted.score(7.0 * held).mean()


@pytest.mark.parametrize("name", ["relu-l1", "gated", "jumprelu"])
def test_auxk_trains_dead_latents_alone(name):
    model = isthmus.fit(
        name, X, latent_dim=24, l0=4, steps=1, batch_size=50, auxk_weight=0.5, progress=False
    )
    model.train()
    dead = torch.arange(24) % 3 == 0
    with torch.no_grad():
        model.encoder.bias[dead] = -20.0  # they never fire, but the least negative count as zero
        model.encoder.bias[0] = 0.5
    out = model(torch.from_numpy(X[:50]), Clock(50, 100, 50))
    model.bottleneck.counter.silent_rows.copy_(dead * 10**9)
    auxk = next(part.term for part in model.objective if part.term.name == "auxk")
    auxk(model, out).sum().backward()
    reached = model.encoder.weight.grad.abs().sum(1) > 0
    assert reached.nonzero().flatten().tolist() == [0]
    plain = isthmus.fit(name, X, latent_dim=24, l0=4, steps=1, batch_size=50, progress=False)
    assert "auxk" not in plain.history[-1]


# --- p-annealing ---------------------------------------------------------------------------------


def exponents(total=1000):
    schedule = AnnealedPower(0.2).exponent
    return [schedule(Clock(step, total)) for step in range(total + 1)]


def test_the_exponent_falls_in_a_line_between_two_shares_of_the_run():
    values = np.array(exponents())
    assert (values[:200] == 1).all()
    np.testing.assert_allclose(values[900:], 0.2, atol=1e-12)
    np.testing.assert_allclose(np.diff(values[200:901]), -0.8 / 700, atol=1e-12)


@pytest.mark.parametrize("unit", [True, False])
def test_the_penalty_is_the_sum_of_powers(unit):
    model = fitted(sparsity=0.03, p_end=0.2, unit=unit).double().train()
    (term,) = (t for t in model.objective.terms if t.name == "lp")
    x = torch.from_numpy(X[:50]).double()
    for step, power in ((0, 1.0), (550, 0.6), (1000, 0.2)):
        out = step_forward(model, x, Clock(step, 1000, 50))
        z = out.code.z.detach()
        z = z if unit else z * model.decoder.weight.norm(dim=1)
        expected = term.strength * ((z + 1e-3) ** power - 1e-3**power).sum(1)
        torch.testing.assert_close(term(model, out), expected)
        if step == 0:
            torch.testing.assert_close(term(model, out), term.strength * z.sum(1))


def test_the_strength_keeps_the_penalty_where_it_was_as_the_exponent_falls():
    """On the same rows again and again, without any update of the weights."""
    model = fitted(sparsity=0.03, p_end=0.2, steps=1).double().train()
    (term,) = (t for t in model.objective.terms if t.name == "lp")
    x = torch.from_numpy(X[:50]).double()
    values = []
    for step in range(0, 1001):
        clock = Clock(step, 1000, 50)
        out = step_forward(model, x, clock)
        if step % 100 == 0:
            values.append(term(model, out).mean().item())
    np.testing.assert_allclose(values, values[0], rtol=1e-3)
    assert term.strength.item() != pytest.approx(1.0, abs=0.1)


def test_what_is_left_on_is_shrunk_less_at_equal_l0():
    planted = Planted(width=16, truths=32, active=3)
    rows, held = planted.sample(8000)[0], planted.sample(2000, seed=1)[0]
    ratios, active = [], []
    for p_end in (1.0, 0.2):
        model = isthmus.fit(
            "relu-l1", rows, latent_dim=32, l0=3, steps=300, batch_size=128, lr=5e-3, p_end=p_end,
            progress=False,
        )  # fmt: skip
        lengths = [np.linalg.norm(x, axis=1).mean() for x in (model.reconstruct(held), held)]
        ratios.append(lengths[0] / lengths[1])
        active.append((model.encode(held) > 0).sum(1).mean())
    assert active[1] == pytest.approx(active[0], rel=0.1)
    assert 1.0 - ratios[1] < 0.7 * (1.0 - ratios[0])
