"""Independent components: planted sources come back, and the error is PCA's."""

import numpy as np
import pytest

import isthmus
from isthmus.errors import IsthmusError


def mixtures(n=4000, k=4, d=6, seed=0):
    rng = np.random.default_rng(seed)
    sources = rng.laplace(size=(n, k))
    mixing = rng.normal(size=(k, d))
    return (sources @ mixing + 2.0).astype(np.float32), sources, mixing


@pytest.mark.parametrize("contrast", ["logcosh", "exp", "cube"])
def test_planted_sources_and_their_atoms_are_recovered(contrast):
    X, sources, mixing = mixtures()
    model = isthmus.fit("ica", X, latent_dim=4, contrast=contrast, progress=False)
    codes = model.encode(X)
    alike = np.abs(np.corrcoef(codes.T, sources.T)[:4, 4:])
    assert (alike.max(0) > 0.98).all()
    assert len(set(alike.argmax(0))) == 4
    atoms = model.atoms().detach().numpy()[alike.argmax(0)]
    cosines = (
        (atoms * mixing).sum(1) / np.linalg.norm(atoms, axis=1) / np.linalg.norm(mixing, axis=1)
    )
    assert (np.abs(cosines) > 0.98).all()


def test_principal_components_do_not_find_them():
    X, sources, _ = mixtures()
    codes = isthmus.fit("pca", X, latent_dim=4, progress=False).encode(X)
    assert np.abs(np.corrcoef(codes.T, sources.T)[:4, 4:]).max(0).min() < 0.9


def test_latents_are_white_and_the_error_is_that_of_principal_components():
    X = mixtures()[0] + np.random.default_rng(1).normal(size=(4000, 6)).astype(np.float32)
    ours = isthmus.fit("ica", X, latent_dim=3, progress=False)
    codes = ours.encode(X).astype(float)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(3), atol=1e-3)
    values = np.linalg.eigvalsh(np.cov(X.T.astype(float), bias=True))
    error = np.square(X.astype(float) - ours.reconstruct(X)).sum(1).mean()
    assert error == pytest.approx(values[:-3].sum(), rel=1e-4)


def test_more_components_than_elements_are_refused():
    with pytest.raises(IsthmusError, match="can be mixed of"):
        isthmus.fit("ica", mixtures()[0], latent_dim=7, progress=False)


def test_data_that_lie_in_fewer_directions_are_refused_for_more():
    X, _, _ = mixtures()
    X[:, 5] = 1.0
    X = np.concatenate([X, X[:, :2]], axis=1)  # mixtures of four sources
    with pytest.raises(IsthmusError, match=r"vary in 4 directions.* latent_dim to 4"):
        isthmus.fit("ica", X, latent_dim=6, progress=False)
    assert np.isfinite(isthmus.fit("ica", X, latent_dim=4, progress=False).encode(X)).all()
