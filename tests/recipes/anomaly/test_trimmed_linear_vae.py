"""The trimmed linear VAE against probabilistic PCA and the minimum covariance determinant."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import MinCovDet
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import isthmus
from isthmus.errors import IsthmusError

NAME = "trimmed-linear-vae"


def rows(n=300, d=8, k=3, seed=0):
    rng = np.random.default_rng(seed)
    return (2 * rng.normal(size=(n, k)) @ rng.normal(size=(k, d)) + rng.normal(size=(n, d)) + 5.0
            ).astype("f4")  # fmt: skip


def fit(X, **options):
    return isthmus.fit(NAME, X, progress=False, **options)


def test_without_trimming_it_is_probabilistic_pca():
    X = rows()
    model = fit(X, latent_dim=3, trim=0.0)
    Z = (X - X.mean(0, dtype=float)) / X.std(0, dtype=float)
    # scikit-learn divides by n - 1: the same maximum likelihood of rescaled rows.
    peer = PCA(3, svd_solver="full").fit(Z * np.sqrt((len(Z) - 1) / len(Z)))
    expected = peer.score_samples(Z) - np.log(X.std(0, dtype=float)).sum()
    np.testing.assert_allclose(model.score(X), expected, rtol=1e-4, atol=1e-3)


def test_the_bound_is_the_log_likelihood_of_the_model_that_it_holds():
    """The posterior is exact, so that nothing lies between the two (Lucas et al. 2019)."""
    X = rows(seed=1)
    model = fit(X)
    weight = model.decoder.weight.detach().double().numpy()
    noise = float(model.likelihood.log_sigma.detach().exp()) ** 2
    scale, offset = model.scaler.scale.double().numpy(), model.scaler.offset.double().numpy()
    normal = multivariate_normal(
        model.decoder.bias.detach().numpy(), weight @ weight.T + noise * np.eye(8)
    )
    expected = normal.logpdf((X - offset) / scale) - np.log(scale).sum()
    np.testing.assert_allclose(model.score(X), expected, rtol=1e-4, atol=1e-3)


def test_anomalies_among_the_rows_do_not_bend_it():
    X = rows(400)
    rng = np.random.default_rng(5)
    X[:80] = rows(80, seed=9)[:, ::-1] + 12.0 + rng.normal(size=(80, 8))
    y = np.arange(400) < 80
    plain, trimmed = (roc_auc_score(y, -fit(X, trim=t).score(X)) for t in (0.0, 0.4))
    assert trimmed > 0.99
    assert trimmed > plain
    robust = MinCovDet(random_state=0).fit(X).mahalanobis(X)
    assert trimmed >= roc_auc_score(y, robust) - 0.01


def test_each_round_raises_the_likelihood_of_the_rows_kept():
    """With a fixed number of latents it is a concentration step."""
    X = rows(200, seed=3)
    X[:30] += 8.0

    def kept(rounds):
        model = fit(X, latent_dim=3, trim=0.3, rounds=rounds)
        return np.sort(model.score(X))[-140:].mean()

    values = [kept(rounds) for rounds in (1, 2, 3, 8)]
    assert all(b >= a - 1e-4 for a, b in pairwise(values))


def test_the_latents_hold_the_share_of_the_variance_that_was_asked_for():
    X = rows(500, d=12, k=2)
    model = fit(X, variance=0.5, trim=0.0)
    weight = model.decoder.weight.detach().numpy()
    used = (np.abs(weight).sum(0) > 0).sum()
    spectrum = np.linalg.eigvalsh(np.corrcoef(X.T.astype(float)))[::-1]
    assert used == np.searchsorted(spectrum.cumsum() / spectrum.sum(), 0.5) + 1
    codes = model.encode(X)
    assert codes.shape == (500, 11)
    assert (codes[:, used:] == 0).all()


@pytest.mark.parametrize("d", [1, 2, 140])
def test_narrow_and_wide_rows(d, tmp_path):
    X = np.random.default_rng(0).normal(size=(60, d)).astype("f4")
    model = fit(X, out=tmp_path / "run")
    scores = model.score(X)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(isthmus.load(tmp_path / "run").score(X), scores)
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(fit(X[order]).score(X), scores, rtol=1e-3, atol=1e-2)


def test_wide_rows_are_solved_as_narrow_ones_are():
    """Only the largest variances are computed of wide rows: the same optimum."""
    from isthmus.recipes.anomaly import trimmed_linear_vae as page

    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 150)) + rng.normal(size=(300, 150))
    wide = fit(X.astype("f4")).score(X.astype("f4"))
    before, page.FEW = page.FEW, 1000
    try:
        narrow = fit(X.astype("f4")).score(X.astype("f4"))
    finally:
        page.FEW = before
    np.testing.assert_allclose(wide, narrow, rtol=1e-4, atol=1e-2)


def test_constant_columns_do_no_harm():
    X = rows()
    X[:, 3] = 7.0
    assert np.isfinite(fit(X).score(X)).all()


def test_what_does_not_fit_is_said():
    with pytest.raises(IsthmusError, match="latent_dim=8 is no compression of 8 columns"):
        fit(rows(), latent_dim=8)
    with pytest.raises(IsthmusError, match="trim"):
        fit(rows(), trim=1.0)
    mask = np.ones((300, 8), bool)
    mask[0, 0] = False
    with pytest.raises(IsthmusError, match="complete rows"):
        isthmus.fit(NAME, rows(), mask=mask, progress=False)
