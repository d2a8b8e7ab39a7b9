"""Non-negative factorisation: optimality of codes and atoms, planted parts, refused data."""

import numpy as np
import pytest
from scipy.optimize import nnls

import isthmus
from isthmus.errors import IsthmusError


def parts(n=600, k=4, d=12, seed=0):
    """Sums of parts with elements of their own."""
    rng = np.random.default_rng(seed)
    atoms = np.zeros((k, d))
    for i in range(k):
        atoms[i, 3 * i : 3 * i + 3] = 1.0 + rng.random(3)
    amounts = rng.exponential(size=(n, k)) * (rng.random((n, k)) < 0.6)
    return (amounts @ atoms).astype(np.float32), atoms


def test_planted_parts_are_recovered_and_the_rest_is_nothing():
    X, atoms = parts()
    model = isthmus.fit("nmf", X, latent_dim=4, progress=False)
    learnt = model.atoms().detach().numpy()
    assert (learnt >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(learnt, axis=1), 1.0, atol=1e-5)
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    assert ((learnt @ unit.T).max(0) > 0.999).all()
    assert isthmus.evaluate(model, X)["fvu"].value < 1e-3


def test_codes_are_scipys_non_negative_least_squares():
    X = np.random.default_rng(1).random((50, 12), dtype=np.float32)
    model = isthmus.fit("nmf", X, latent_dim=5, progress=False)
    atoms = model.atoms().detach().double().numpy()
    expected = np.stack([nnls(atoms.T, row)[0] for row in X.astype(float)])
    np.testing.assert_allclose(model.encode(X), expected, atol=1e-4)
    assert ((model.encode(X) == 0) == (expected < 1e-6)).mean() > 0.999


def test_it_is_a_stationary_point_of_both_factors():
    """Where a factor's entry is positive the gradient of the error is zero, else not negative."""
    X = np.random.default_rng(2).random((200, 10), dtype=np.float32)
    model = isthmus.fit("nmf", X, latent_dim=3, iterations=4000, progress=False)
    codes, atoms = model.encode(X).astype(float), model.atoms().detach().double().numpy()
    left = codes @ atoms - X
    for factor, gradient in ((codes, left @ atoms.T), (atoms, codes.T @ left)):
        size = np.abs(X.T @ codes).max() if factor is atoms else np.abs(X @ atoms.T).max()
        assert np.abs(gradient[factor > 1e-6]).max() < 0.01 * size
        assert gradient.min() > -0.01 * size


def test_the_error_is_between_that_of_principal_directions_and_of_one_atom():
    """The best map of rank k without the sign's condition is a bound: Eckart, Young 1936."""
    X = np.random.default_rng(2).random((200, 10), dtype=np.float32)
    singular = np.linalg.svd(X.astype(float), compute_uv=False) ** 2
    model = isthmus.fit("nmf", X, latent_dim=3, progress=False)
    error = np.square(X.astype(float) - model.reconstruct(X)).sum()
    assert singular[3:].sum() <= error < singular[1:].sum()


def test_negative_data_are_refused():
    X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    with pytest.raises(IsthmusError, match="without negative elements"):
        isthmus.fit("nmf", X, latent_dim=2, progress=False)
    with pytest.raises(IsthmusError, match="after scaling=columns"):
        isthmus.fit("nmf", np.abs(X), latent_dim=2, scaling="columns", progress=False)


def test_more_parts_than_elements():
    X = parts()[0][:80]
    model = isthmus.fit("nmf", X, latent_dim=20, iterations=50, progress=False)
    assert model.atoms().shape == (20, 12)
    assert isthmus.evaluate(model, X)["fvu"].value < 0.05
