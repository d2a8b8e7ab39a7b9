"""k-means: codes are the nearest means, means are those of their rows, clusters come back."""

import numpy as np
from scipy.spatial.distance import cdist

import isthmus


def clusters(n=400, k=6, d=5, seed=0):
    rng = np.random.default_rng(seed)
    centres = 10.0 * rng.normal(size=(k, d))
    which = rng.integers(k, size=n)
    return (centres[which] + rng.normal(size=(n, d))).astype(np.float32), centres, which


def test_planted_clusters_are_recovered():
    X, centres, which = clusters()
    model = isthmus.fit("k-means", X, latent_dim=6, restarts=5, progress=False)
    codes = model.encode(X)
    assert set(np.unique(codes)) == {0.0, 1.0}
    assert (codes.sum(1) == 1).all()
    pairs = {(int(a), int(b)) for a, b in zip(codes.argmax(1), which, strict=True)}
    assert len(pairs) == 6
    assert cdist(centres, model.reconstruct(X)).min(1).max() < 1.0


def test_each_row_has_the_nearest_atom_and_each_atom_is_the_mean_of_its_rows():
    """Lloyd's fixed point, and the inertia of the log, from distances alone."""
    X, _, _ = clusters(seed=1)
    model = isthmus.fit("k-means", X, latent_dim=20, progress=False)
    atoms, label = model.atoms().detach().double().numpy(), model.encode(X).argmax(1)
    squares = cdist(X.astype(float), atoms) ** 2
    np.testing.assert_array_equal(label, squares.argmin(1))
    means = np.stack([X[label == j].mean(0, dtype=float) for j in range(20)])
    np.testing.assert_allclose(atoms, means, atol=1e-3)
    inertia = model.history[0]["inertia"] * model.scaler.scale.item() ** 2
    np.testing.assert_allclose(inertia, squares.min(1).sum(), rtol=1e-4)
    rebuilt = model.reconstruct(X).astype(float)
    np.testing.assert_allclose(np.square(X - rebuilt).sum(), inertia, rtol=1e-4)


def test_as_many_rows_as_are_held_are_drawn_and_it_is_said():
    X, _, _ = clusters()
    with isthmus.notices.collected(quiet=True) as said:
        model = isthmus.fit("k-means", X, latent_dim=6, rows=100, progress=False)
    assert any("100 of 400 rows" in sentence for sentence in said)
    assert model.history[0]["rows"] == 100
