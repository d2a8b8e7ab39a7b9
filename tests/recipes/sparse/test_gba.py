"""Group bias adaptation: the rule by hand, and rates that it holds."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus import notices
from isthmus.anatomy import Clock
from isthmus.errors import IsthmusError
from isthmus.recipes.sparse.gba import LEAST, GroupBiases
from steps import step_forward

rng = np.random.default_rng(0)
TRUTH = rng.normal(size=(40, 16))
TRUTH /= np.linalg.norm(TRUTH, axis=1, keepdims=True)
CODES = (rng.random((4000, 40)) < 0.08) * (0.5 + rng.random((4000, 40)))
X = (CODES @ TRUTH).astype(np.float32)

CLOCK = Clock(5, 1000, 100)


def fitted(**options):
    options = {"latent_dim": 60, "rates": 3, "every": 5, "steps": 100, "batch_size": 200, **options}
    return isthmus.fit("gba", X, lr=3e-3, progress=False, **options)


def test_the_rule_by_hand():
    part = GroupBiases(6, (0.5, 0.1), 100, every=1, fall=0.1, rise=0.2)
    part.fired.copy_(torch.tensor([80, 50, 0, 20, 5, 0]))
    part.largest.copy_(torch.tensor([2.0, 1.0, 0.0, 3.0, 1.0, 0.0]))
    part.rows.fill_(100)
    bias = torch.tensor([-0.3, -0.3, -0.3, -0.9, -0.3, -0.1])
    part.adapt(bias)
    # Too often: -0.1 x 2; as often as its target: left; silent: 0.2 x mean(2, 1);
    # too often, down to the least; less than its target: left; silent: 0.2 x mean(3, 1), up to 0.
    expected = torch.tensor([-0.5, -0.3, 0.0, LEAST, -0.3, 0.0])
    torch.testing.assert_close(bias, expected)
    bias = torch.tensor([0.0, 0.0, -0.9, 0.0, 0.0, -0.9])
    part.adapt(bias)
    torch.testing.assert_close(bias, torch.tensor([-0.2, 0.0, -0.6, -0.3, 0.0, -0.5]))


def test_codes_are_those_of_the_formula():
    model = fitted()
    w = {n: t.detach().double().numpy() for n, t in model.state_dict().items()}
    x = X / model.scaler.scale.item() - w["decoder.bias"]
    u = x @ w["decoder.weight"].T + w["encoder.bias"]
    z = w["bottleneck.length"] * np.maximum(u, 0.0)
    np.testing.assert_allclose(model.encode(X), z, atol=1e-4)
    rebuilt = z @ w["decoder.weight"] + w["decoder.bias"]
    np.testing.assert_allclose(model.reconstruct(X), rebuilt * model.scaler.scale.item(), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(w["decoder.weight"], axis=1), 1.0, atol=1e-5)
    assert (w["encoder.bias"] <= 0).all()
    assert (w["encoder.bias"] >= LEAST).all()


def test_no_gradient_reaches_a_bias():
    assert "encoder.bias" not in dict(fitted(steps=1).named_parameters())


def test_counts_are_those_of_the_batches_since():
    model = fitted(steps=1, every=100)
    part = model.bottleneck
    part.fired.zero_()
    part.largest.zero_()
    part.rows.zero_()
    model.train()
    for batch in (X[:50], X[50:120]):
        step_forward(model, torch.from_numpy(batch), CLOCK)
    z = model.eval().encode(X[:120])
    length = part.length.detach().numpy()
    assert int(part.rows) == 120
    np.testing.assert_array_equal(part.fired, (z != 0).sum(0))
    np.testing.assert_allclose(part.largest, z.max(0) / length, atol=1e-5)


def test_latents_fire_at_most_about_as_often_as_their_group_may():
    model = fitted(steps=1000, highest=0.2, lowest=0.02)
    rate = (model.encode(X) != 0).mean(0)
    for target in model.bottleneck.target.unique():
        group = rate[(model.bottleneck.target == target).numpy()]
        assert np.median(group) < 1.3 * float(target) + 0.01


def test_a_bias_moves_every_so_many_steps_only():
    before, after, later = (
        fitted(steps=n, every=5, length="published").encoder.bias for n in (1001, 1004, 1005)
    )
    assert torch.equal(before, after)
    assert not torch.equal(before, later)


def test_a_short_run_moves_them_more_often():
    start, moved = (fitted(steps=n, every=50).encoder.bias for n in (1, 20))
    assert not torch.equal(start, moved)


def test_it_starts_where_each_latent_fires_as_often_as_its_group_may():
    model = fitted(steps=1, every=1000, fall=1e-12, rise=1e-12)
    rate = torch.from_numpy(model.encode(X) != 0).float().mean(0)
    held = model.encoder.bias > LEAST
    torch.testing.assert_close(rate[held], model.bottleneck.target[held], atol=0.02, rtol=0.1)


def test_what_cannot_be_is_one_sentence():
    with pytest.raises(IsthmusError, match=r"lowest=0\.5 is above highest=0\.1"):
        fitted(lowest=0.5)


def test_fewer_latents_than_rates_are_said():
    with notices.collected(quiet=True) as said:
        fitted(latent_dim=8, rates=10, steps=1)
    assert (
        "gba: 8 latents have one rate each, and 2 of 10 are left out: set rates=8 or less" in said
    )
    with notices.collected(quiet=True) as said:
        model = fitted(latent_dim=8, rates=8, steps=1)
    assert len(model.bottleneck.target.unique()) == 8
    assert not [sentence for sentence in said if sentence.startswith("gba")]
