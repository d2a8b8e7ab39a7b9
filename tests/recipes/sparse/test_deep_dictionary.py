"""Deep dictionaries: the objective never rises, and one layer is scikit-learn's sparse coding."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.decomposition import sparse_encode

import isthmus
from isthmus.recipes.sparse.deep_dictionary import deep_codes, fitted_atoms, rebuilt


def planted(rows=500, sizes=(16, 12, 8), noise=0.02):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((b, a)) for a, b in pairwise(sizes)]
    weights = [w / np.linalg.norm(w, axis=1, keepdims=True) for w in weights]
    z = (rng.random((rows, sizes[-1])) < 0.25) * 2.0 * rng.standard_normal((rows, sizes[-1]))
    x = np.tanh(z @ weights[1]) @ weights[0]
    return (x + noise * rng.standard_normal(x.shape)).astype(np.float32)


X = planted()


def fitted(rows=X, **options):
    options = {"latent_dim": 8, "hidden": (12,), "sparsity": 0.1, "scaling": "none",
               "iterations": 25, "encoding_steps": 60, **options}  # fmt: skip
    return isthmus.fit("deep-dictionary", rows, progress=False, **options)


def objective(model, rows, z, penalty=0.1):
    error = np.square(rows - np.asarray(model.decode(z))).sum(1)
    return float(error.mean() + penalty * np.abs(z).sum(1).mean())


@pytest.mark.parametrize("activation", ["tanh", "identity"])
@pytest.mark.parametrize("hidden", [(), (12,), (12, 10)])
def test_the_objective_falls_at_every_iteration(activation, hidden):
    model = fitted(activation=activation, hidden=hidden, iterations=12, tolerance=0.0)
    course = np.array(model.solver.course) / len(X)
    assert len(course) == 12
    assert (np.diff(course) < 0).all()
    assert course[-1] < 0.8 * course[0]
    norms = [weight.norm(dim=1).max().item() for weight in model.decoder.weights]
    assert max(norms) <= 1.0 + 1e-6


def test_the_objective_is_that_of_the_formula():
    model = fitted(encoding_steps=500)
    figures = model.history[-1]
    z = model.encode(X)
    # Codes that were solved for to the end are at least as good as those of the last iteration.
    assert objective(model, X, z) <= figures["objective"] + 1e-6
    assert objective(model, X, z) == pytest.approx(figures["objective"], rel=0.01)
    weights = [w.detach().double().numpy() for w in model.decoder.weights]
    by_hand = np.tanh(z @ weights[1]) @ weights[0] + model.decoder.bias.detach().numpy()
    np.testing.assert_allclose(model.decode(z), by_hand, atol=1e-5)
    np.testing.assert_allclose(model.decoder.bias.detach(), X.mean(0), atol=1e-6)


def test_one_layer_has_the_codes_of_scikit_learns_lasso_and_a_fixed_point():
    rows = X[:100]
    model = fitted(rows, hidden=(), latent_dim=10, sparsity=0.3, iterations=1000, tolerance=1e-12,
                   encoding_steps=1000)  # fmt: skip
    atoms = model.decoder.weights[0].detach().double().numpy()
    centred = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    # scikit-learn halves the error, and so the price.
    wanted = sparse_encode(centred, atoms, algorithm="lasso_cd", alpha=0.15, max_iter=10_000)
    np.testing.assert_allclose(model.encode(rows), wanted, atol=1e-4)
    for atom in range(10):
        rest = centred - wanted @ atoms + np.outer(wanted[:, atom], atoms[atom])
        best = np.linalg.lstsq(wanted[:, [atom]], rest, rcond=None)[0][0]
        best /= max(1.0, np.linalg.norm(best))
        np.testing.assert_allclose(atoms[atom], best, atol=2e-3)


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_codes_are_stationary_and_do_not_depend_on_other_rows(activation):
    g = torch.Generator().manual_seed(0)
    layers = [torch.randn(b, a, generator=g).double() for a, b in ((6, 5), (5, 4))]
    layers = [torch.nn.functional.normalize(layer, dim=1) for layer in layers]
    x = 2.0 * torch.randn(20, 6, generator=g).double()
    z = deep_codes(x, layers, 0.2, activation, steps=1500)
    free = z.clone().requires_grad_()
    (x - rebuilt(free, layers, activation)).square().sum().backward()
    on = z != 0
    assert 0 < int(on.sum()) < on.numel()
    torch.testing.assert_close(free.grad[on], -0.2 * z[on].sign(), atol=1e-4, rtol=0)
    assert free.grad[~on].abs().max() <= 0.2 + 1e-6
    alone = torch.cat([deep_codes(row[None], layers, 0.2, activation, steps=150) for row in x])
    together = deep_codes(x, layers, 0.2, activation, steps=150)
    # Rounding decides where momentum starts anew; both are on the way to the same code.
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_each_step_on_codes_lowers_every_rows_objective():
    g = torch.Generator().manual_seed(1)
    layers = [torch.randn(b, a, generator=g).double() for a, b in ((6, 5), (5, 4))]
    x = torch.randn(20, 6, generator=g).double()

    def after(steps):
        z = deep_codes(x, layers, 0.1, "tanh", steps=steps)
        return (x - rebuilt(z, layers, "tanh")).square().sum(1) + 0.1 * z.abs().sum(1)

    course = torch.stack([after(steps) for steps in range(12)])
    assert (course[1:] <= course[:-1] + 1e-12).all()
    assert (course[-1] < course[0]).all()


def test_atoms_are_least_squares_where_these_are_short():
    """Without the bound in the way many sweeps end at what numpy's least squares give."""
    rng = np.random.default_rng(0)
    y, truth = rng.standard_normal((200, 5)), 0.2 * rng.standard_normal((5, 7))
    x = y @ truth + 0.01 * rng.standard_normal((200, 7))
    start = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((5, 7))), dim=1)
    atoms = fitted_atoms(torch.from_numpy(x), torch.from_numpy(y), start, sweeps=100)
    np.testing.assert_allclose(atoms, np.linalg.lstsq(y, x, rcond=None)[0], atol=1e-8)
    tenfold = fitted_atoms(torch.from_numpy(10 * x), torch.from_numpy(y), start, sweeps=100)
    assert tenfold.norm(dim=1).max() <= 1.0 + 1e-12


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_together_is_better_than_one_after_another(activation):
    together, greedy = (
        fitted(activation=activation, greedy=greedy, iterations=40) for greedy in (False, True)
    )
    figures = [model.history[-1]["objective"] for model in (together, greedy)]
    assert figures[0] < figures[1]
    held = planted(900)[500:]
    values = [objective(model, held, model.encode(held)) for model in (together, greedy)]
    assert values[0] < values[1]
    assert not greedy.solver.course
