"""Sparse coding: planted atoms come back, codes solve their problem, signs are as asked."""

import numpy as np
import pytest
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import Lasso

import isthmus
from isthmus.errors import IsthmusError
from isthmus.evaluation import mean_max_cosine


def sparse_sums(rows=3000, atoms=24, d=16, share=0.12, noise=0.01, seed=0):
    """Sums of a few unit atoms with exponential amounts: rows ``(rows, d)`` and the atoms."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(atoms, d))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    amounts = rng.exponential(size=(rows, atoms)) * (rng.random((rows, atoms)) < share)
    noisy = amounts @ truth + noise * rng.normal(size=(rows, d))
    return noisy.astype(np.float32), truth


def fitted(X, **options):
    return isthmus.fit(
        "sparse-coding", X, **{"latent_dim": 24, "k": 3, "progress": False, **options}
    )


def test_planted_atoms_are_recovered_better_than_by_components():
    X, truth = sparse_sums()
    model = fitted(X, sparsity=0.6)
    assert mean_max_cosine(model, truth).value > 0.93
    ica = isthmus.fit("ica", X, latent_dim=16, progress=False)
    assert mean_max_cosine(ica, truth, signed=True).value < 0.9
    np.testing.assert_allclose(np.linalg.norm(model.decoder.weight.detach(), axis=1), 1, atol=1e-5)


def test_lasso_codes_are_scikit_learns():
    X, _ = sparse_sums(rows=300)
    model = fitted(X, code="lasso", sparsity=0.5, passes=2)
    atoms, bias = (t.detach().double().numpy() for t in (model.decoder.weight, model.decoder.bias))
    rows = X[:20] / model.scaler.scale.item() - bias
    lasso = Lasso(0.5 / 16, fit_intercept=False, positive=True, tol=1e-10, max_iter=100_000)
    expected = lasso.fit(atoms.T, rows.T).coef_
    np.testing.assert_allclose(model.encode(X[:20]), expected, atol=1e-4)


def test_omp_codes_with_signs_are_scikit_learns():
    X, _ = sparse_sums(rows=300)
    model = fitted(X, signed=True, passes=2)
    atoms, bias = (t.detach().double().numpy() for t in (model.decoder.weight, model.decoder.bias))
    rows = X[:50] / model.scaler.scale.item() - bias
    expected = sparse_encode(rows, atoms, algorithm="omp", n_nonzero_coefs=3)
    np.testing.assert_allclose(model.encode(X[:50]), expected, atol=1e-3)
    assert (model.encode(X) < 0).any()


def test_signed_lasso_codes_have_both_signs_and_others_have_one():
    X, _ = sparse_sums(rows=300)
    both = fitted(X, code="lasso", signed=True, passes=2).encode(X)
    one = fitted(X, code="lasso", passes=2).encode(X)
    assert (both < 0).any()
    assert (one >= 0).all()
    assert 0 < (one > 0).mean() < 0.5


def test_more_steps_than_elements_are_refused():
    X, _ = sparse_sums(rows=100)
    with pytest.raises(IsthmusError, match="orthogonal pursuit"):
        fitted(X, k=17)
    assert fitted(X, k=17, code="lasso", passes=1).encode(X).shape == (100, 24)
