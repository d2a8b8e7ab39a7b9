"""Barlow Twins: its loss, its estimator, and what it embeds."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus.anatomy import Clock, EmbeddingCode, Output, Signal, View
from isthmus.errors import IsthmusError
from isthmus.recipes import get_recipe
from isthmus.recipes.self_supervised.barlow_twins import CrossCorrelation, cross_correlation
from isthmus.training.lars import LARS
from isthmus.training.optimisers import learning_rate, make_optimiser

RECIPE = get_recipe("barlow-twins")


def build(signal: Signal, **options):
    chosen, training = RECIPE.parse(options)
    return RECIPE.build(signal, chosen), training


def loss(a: torch.Tensor, b: torch.Tensor, redundancy: float = 0.0051) -> torch.Tensor:
    views = [View(a), View(b)]
    codes = [EmbeddingCode(a, a), EmbeddingCode(b, b)]
    return CrossCorrelation(redundancy)(None, Output(a, a, views, codes))


def decorrelated(rows: int, width: int) -> torch.Tensor:
    """Columns of mean 0, variance 1e4 and no correlation at all."""
    centred = np.random.default_rng(0).normal(size=(rows, width))
    basis, _ = np.linalg.qr(centred - centred.mean(0))
    return torch.from_numpy(100.0 * np.sqrt(rows) * basis)


def test_loss_is_that_of_numpys_correlation_coefficients():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 6)) * rng.uniform(1, 20, size=6) + 3.0
    b = a @ rng.normal(size=(6, 6)) + rng.normal(size=(40, 6))
    c = np.corrcoef(a, b, rowvar=False)[:6, 6:]
    expected = sum(
        (1 - c[i, j]) ** 2 if i == j else 0.3 * c[i, j] ** 2 for i in range(6) for j in range(6)
    )
    value = loss(torch.from_numpy(a), torch.from_numpy(b), 0.3)
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_identical_decorrelated_views_have_no_loss():
    z = decorrelated(64, 10)
    assert loss(z, z, redundancy=1.0).item() < 1e-15
    assert loss(z, -z).item() == pytest.approx(10 * 4.0, rel=1e-6)


def test_redundant_dimensions_cost_lambda_each_pair():
    z = decorrelated(64, 1).repeat(1, 5)
    assert loss(z, z, redundancy=0.2).item() == pytest.approx(0.2 * 5 * 4, rel=1e-6)
    assert loss(z, z, redundancy=0.0).item() < 1e-15


def test_without_lambda_only_the_diagonal_counts():
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.normal(size=(30, 4))) for _ in range(2))
    pairs = [loss(a[:, [i]], b[:, [i]], 0.0).item() for i in range(4)]
    assert loss(a, b, 0.0).item() == pytest.approx(sum(pairs), rel=1e-12)
    assert loss(a, b, 0.5).item() > sum(pairs)


def test_scale_and_offset_of_a_dimension_do_not_matter():
    a, b = decorrelated(50, 4), decorrelated(50, 4) + torch.randn(50, 4).double()
    moved = 7.0 * a + torch.arange(4.0).double()
    torch.testing.assert_close(loss(moved, b), loss(a, b), rtol=1e-6, atol=1e-12)


def test_gradient_agrees_with_finite_differences():
    torch.manual_seed(0)
    a, b = (torch.randn(9, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, 0.7), (a, b))


def test_repeating_the_batch_changes_nothing_and_few_rows_add_one_over_n():
    torch.manual_seed(0)
    a, b = torch.randn(20, 5).double(), torch.randn(20, 5).double()
    torch.testing.assert_close(loss(a.repeat(3, 1), b.repeat(3, 1)), loss(a, b))
    c = cross_correlation(torch.randn(50, 200), torch.randn(50, 200))
    assert c.square().mean().item() == pytest.approx(1 / 50, rel=0.1)


def test_features_do_not_depend_on_the_projector():
    model, _ = build(Signal("vector", (6,)), latent_dim=5, projector=7)
    X = np.random.default_rng(0).normal(size=(10, 6)).astype("float32")
    before = model.encode(X, code=True)
    with torch.no_grad():
        for parameter in model.bottleneck.parameters():
            parameter.mul_(2.0)
    after = model.encode(X, code=True)
    assert before.embedding.shape == (10, 7)
    torch.testing.assert_close(after.z, model.eval().encoder(torch.from_numpy(X)).detach())
    assert torch.equal(before.z, after.z)
    assert not torch.equal(before.embedding, after.embedding)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 10), (20,)])
def test_training_sees_two_different_views(shape):
    model, _ = build(Signal("image" if len(shape) == 3 else "vector", shape), projector=16)
    x = torch.rand(8, *shape)
    out = model(x)
    first, second = (view.x for view in out.views)
    assert first.shape == second.shape == x.shape
    assert not torch.equal(first, second)
    assert not torch.equal(first, x)
    assert len(out.codes) == 2
    assert out.recon is None


def test_published_rates_for_weights_and_for_biases():
    model, training = build(Signal("vector", (6,)))
    optimiser = make_optimiser(list(model.named_parameters()), training)
    assert isinstance(optimiser, LARS)
    peak = learning_rate(training, 10**7)(Clock(6250, 10**7))
    for group in optimiser.param_groups:
        rate = {1: 0.0048, 2: 0.2}[group["params"][0].ndim] * 2048 / 256
        assert peak * group["lr_factor"] == pytest.approx(rate, rel=1e-4)


def test_there_is_nothing_to_rebuild():
    model, _ = build(Signal("vector", (6,)))
    with pytest.raises(IsthmusError, match="no decoder"):
        model.score(np.zeros((4, 6), "float32"))


def test_published_optimiser_learns_to_agree_and_to_decorrelate():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 4)) @ rng.normal(size=(4, 24))
    X = X.astype("float32")
    model = isthmus.fit(
        "barlow-twins", X, latent_dim=8, projector=16, erase=0.1, steps=100, redundancy=0.1,
        hidden=(32,), log_every=1, progress=False,
    )  # fmt: skip
    losses = [record["loss"] for record in model.history]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    np.testing.assert_array_equal(model.encode(X), model.encode(X))


def test_lambda_by_width_keeps_the_terms_in_their_published_proportion():
    """For correlations of one size the second term is as many times the first at every width."""

    def proportion(width: int, redundancy: float) -> float:
        return redundancy * width * (width - 1) * 0.1**2 / (width * 0.1**2)

    signal = Signal("vector", (6,))
    for width in (64, 512):
        model, _ = build(signal, projector=width, latent_dim=4, hidden=(8,), redundancy=None)
        used = next(iter(model.objective)).term.redundancy
        assert proportion(width, used) == pytest.approx(proportion(8192, 0.0051), rel=0.02)
    model, _ = build(signal, projector=64)
    assert next(iter(model.objective)).term.redundancy == 0.0051
