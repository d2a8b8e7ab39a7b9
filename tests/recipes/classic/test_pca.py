"""Principal components against the covariance's own eigenvectors."""

import numpy as np
import pytest

import isthmus
from isthmus.errors import IsthmusError


def rows(n=400, d=10, seed=0):
    rng = np.random.default_rng(seed)
    spread = np.diag(np.linspace(3.0, 0.2, d))
    mixed = rng.normal(size=(n, d)) @ spread @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (mixed + rng.normal(size=d)).astype(np.float32)


def test_the_error_is_the_sum_of_the_smallest_eigenvalues():
    """Eckart, Young 1936: no rank-3 map leaves less."""
    X = rows()
    model = isthmus.fit("pca", X, latent_dim=3, progress=False)
    error = np.square(X.astype(float) - model.reconstruct(X)).sum(1).mean()
    values = np.linalg.eigvalsh(np.cov(X.T.astype(float), bias=True))
    assert error == pytest.approx(values[:-3].sum(), rel=1e-5)


def test_atoms_are_the_eigenvectors_and_codes_their_products():
    X = rows()
    model = isthmus.fit("pca", X, latent_dim=4, progress=False)
    centred = X.astype(float) - X.mean(0, dtype=float)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    atoms = model.atoms().detach().numpy()
    atoms = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(atoms @ vectors[:, ::-1][:, :4]), np.eye(4), atol=1e-4)
    codes = model.encode(X) * model.scaler.scale.item()
    np.testing.assert_allclose(codes, centred @ atoms.T, atol=1e-3)
    read, bias = model.read_rows()
    seen = X @ read.detach().numpy().T + bias.detach().numpy()
    np.testing.assert_allclose(model.encode(X), seen, atol=1e-3)


def test_all_components_rebuild_exactly_and_more_are_refused():
    X = rows(d=5)
    model = isthmus.fit("pca", X, latent_dim=5, progress=False)
    np.testing.assert_allclose(model.reconstruct(X), X, atol=1e-4)
    with pytest.raises(IsthmusError, match="latent_dim=6 is more than the 5 elements"):
        isthmus.fit("pca", X, latent_dim=6, progress=False)
    with pytest.raises(IsthmusError, match="pca needs 5 rows"):
        isthmus.fit("pca", X[:3], latent_dim=5, progress=False)


def test_scaling_by_columns_gives_the_components_of_the_correlations():
    X = rows() * np.linspace(1.0, 50.0, 10, dtype=np.float32)
    model = isthmus.fit("pca", X, latent_dim=2, scaling="columns", progress=False)
    _, vectors = np.linalg.eigh(np.corrcoef(X.T.astype(float)))
    inner = model.decoder.weight.detach().numpy()
    np.testing.assert_allclose(np.abs(inner @ vectors[:, ::-1][:, :2]), np.eye(2), atol=1e-4)


def test_images_are_rebuilt_as_images():
    X = np.random.default_rng(0).random((60, 1, 4, 4), dtype=np.float32)
    model = isthmus.fit("pca", X, latent_dim=3, progress=False)
    assert model.reconstruct(X).shape == X.shape
