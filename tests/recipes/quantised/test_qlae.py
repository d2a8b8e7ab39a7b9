"""QLAE: its codebooks, its two latent terms and its decay."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

import isthmus
from isthmus.anatomy import DiscreteCode, Output, Signal, View
from isthmus.objectives import Commit, Quantise
from isthmus.recipes import get_recipe
from isthmus.recipes.quantised.qlae import ScalarCodebooks
from isthmus.training.optimisers import make_optimiser

RECIPE = get_recipe("qlae")


def codebooks(latent: int = 4, entries: int = 5, seed: int = 0) -> ScalarCodebooks:
    """Unevenly spaced values, other ones for each latent."""
    made = ScalarCodebooks(latent, entries)
    with torch.no_grad():
        made.values.copy_(torch.randn(latent, entries, generator=torch.manual_seed(seed)))
    return made


def build(signal: Signal, **options):
    chosen, training = RECIPE.parse(options)
    return RECIPE.build(signal, chosen), training


def output_of(code: DiscreteCode) -> Output:
    x = torch.zeros(len(code.z), 3)
    return Output(x, x, [View(x)], [code])


def test_values_start_evenly_spaced_from_minus_to_plus_one_half():
    values = ScalarCodebooks(3, 10).values.detach().numpy()
    np.testing.assert_allclose(values, np.tile(np.linspace(-0.5, 0.5, 10), (3, 1)), atol=1e-7)


def test_each_latent_takes_the_nearest_of_its_own_values():
    made, h = codebooks(), torch.randn(50, 4)
    code = made(h)
    values = made.values.detach().numpy()
    for row in range(50):
        for latent in range(4):
            gaps = [abs(float(h[row, latent]) - float(v)) for v in values[latent]]
            best = min(range(5), key=gaps.__getitem__)
            assert code.indices[row, latent] == best
            assert code.z[row, latent] == made.values[latent, best]


def test_indices_become_the_codes_they_came_from():
    made = codebooks()
    indices = torch.randint(5, (30, 4))
    code = made(made.indices_to_codes(indices))
    assert torch.equal(code.indices, indices)
    assert torch.equal(code.z, made.indices_to_codes(indices))
    assert (code.codebook_size, code.per_position) == (5, True)


def test_gradient_passes_straight_through_to_the_encoder_alone():
    made, h = codebooks(), torch.randn(6, 4, requires_grad=True)
    upstream = torch.randn(6, 4)
    (made(h).z * upstream).sum().backward()
    assert torch.equal(h.grad, upstream)
    assert made.values.grad is None


def test_latent_terms_have_their_closed_forms_and_gradients():
    made, h = codebooks(), torch.randn(8, 4, dtype=torch.float64, requires_grad=True)
    made.double()
    code = made(h)
    out, (model, _) = output_of(code), build(Signal("vector", (6,)))
    chosen = made.indices_to_codes(code.indices).detach()
    closed = ((h - chosen) ** 2).sum(1) / 4
    for term in (Quantise(), Commit()):
        torch.testing.assert_close(term(model, out), closed)
    towards_latents = torch.autograd.grad(
        Quantise()(model, out).sum(), [h, made.values], allow_unused=True
    )
    assert towards_latents[0] is None
    expected = torch.zeros(4, 5, dtype=torch.float64)
    for row in range(8):
        for latent in range(4):
            place = code.indices[row, latent]
            expected[latent, place] += 0.5 * (chosen - h.detach())[row, latent]
    torch.testing.assert_close(towards_latents[1], expected)
    towards_values = torch.autograd.grad(
        Commit()(model, out).sum(), [h, made.values], allow_unused=True
    )
    torch.testing.assert_close(towards_values[0], 0.5 * (h.detach() - chosen))
    assert towards_values[1] is None


def test_only_the_quantise_term_trains_the_values():
    signal = Signal("vector", (6,))
    x = torch.randn(16, 6)
    without, _ = build(signal, quantise=0.0, scaling="none")
    without.objective(without, without(x)).total.backward()
    grad = without.bottleneck.values.grad
    assert grad is None or not grad.any()
    both, _ = build(signal, scaling="none")
    both.objective(both, both(x)).total.backward()
    assert both.bottleneck.values.grad.any()


def test_objective_is_mean_cross_entropy_plus_both_weighted_terms():
    model, _ = build(Signal("image", (1, 8, 8), low=0.0, high=1.0), quantise=0.3, commit=0.7)
    out = model(torch.rand(5, 1, 8, 8))
    logits, x = out.params.detach().double(), out.x.double()
    cross = -(x * torch.log(torch.sigmoid(logits)) + (1 - x) * torch.log(torch.sigmoid(-logits)))
    code = out.code
    gap = (code.continuous - code.quantised).detach().double().square().mean()
    total = model.objective(model, out).total.item()
    assert total == pytest.approx((cross.mean() + 1.0 * gap).item(), rel=1e-5)


def test_per_example_terms_do_not_depend_on_the_batch_size():
    h = torch.randn(7, 4)
    made = codebooks()
    model, _ = build(Signal("vector", (6,)))
    once, twice = output_of(made(h)), output_of(made(torch.cat([h, h])))
    for term in (Quantise(), Commit()):
        assert term(model, once).shape == (7,)
        torch.testing.assert_close(term(model, twice).mean(), term(model, once).mean())


def test_gradients_are_cut_by_value_as_published():
    assert RECIPE.parse({})[1].clip_value == 1.0
    assert RECIPE.parse({})[1].clip is None


def test_decay_spares_values_and_biases():
    model, training = build(Signal("vector", (6,)))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimiser = make_optimiser(list(model.named_parameters()), training)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in model.named_parameters():
        spared = name.startswith("bottleneck") or name.endswith("bias")
        factor = 1.0 if spared else 1.0 - 1e-3 * 0.1
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_prior_draws_every_value_of_every_latent_equally_often():
    torch.manual_seed(0)
    made = codebooks(latent=3, entries=4)
    z = made.draw(4000)
    for latent in range(3):
        counts = [(z[:, latent] == value).sum().item() for value in made.values[latent]]
        assert sum(counts) == 4000
        assert chisquare(counts).pvalue > 1e-3


def test_short_run_learns_saves_and_loads(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(256, 3)) @ rng.normal(size=(3, 20))
    X = X.astype("float32")
    model = isthmus.fit(
        "qlae", X, latent_dim=6, entries=4, steps=150, lr=5e-3, log_every=1, seed=1, progress=False
    )
    assert np.mean([r["nll"] for r in model.history[-20:]]) < model.history[0]["nll"] - 5.0
    assert isthmus.evaluate(model, X)["fvu"].value < 0.2
    codes = model.encode(X)
    allowed = model.bottleneck.values.detach().numpy()
    assert all(np.isin(codes[:, i], allowed[i]).all() for i in range(6))
    isthmus.save(model, tmp_path / "run", X)
    np.testing.assert_array_equal(isthmus.load(tmp_path / "run").encode(X), codes)
