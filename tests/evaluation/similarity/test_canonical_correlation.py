"""Canonical correlations against statsmodels-free closed forms and scikit-learn's."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.cross_decomposition import CCA

from isthmus.errors import IsthmusError
from isthmus.evaluation.similarity import cca, pwcca, svcca


def arrays(n=300, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 3))
    a = shared @ rng.normal(size=(3, 6)) + 0.7 * rng.normal(size=(n, 6)) + 5.0
    b = shared @ rng.normal(size=(3, 4)) + 0.7 * rng.normal(size=(n, 4))
    return a, b


def by_eigenvalues(a, b):
    """The roots of the eigenvalues of ``Cbb^-1 Cba Caa^-1 Cab`` (Hotelling 1936)."""
    joint = np.cov(np.hstack([a, b]).T)
    d = a.shape[1]
    aa, ab, bb = joint[:d, :d], joint[:d, d:], joint[d:, d:]
    return np.sqrt(eigh(ab.T @ np.linalg.solve(aa, ab), bb, eigvals_only=True))[::-1]


def test_correlations_are_those_of_the_eigenvalue_problem_and_of_scikit_learn():
    a, b = arrays()
    result = cca(a, b)
    np.testing.assert_allclose(result.per, by_eigenvalues(a, b), atol=1e-10)
    assert result.value == pytest.approx(result.per.mean())
    peer = CCA(2, max_iter=5000, tol=1e-10).fit(a, b)
    u, v = peer.transform(a, b)
    found = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(result.per[:2], found, atol=1e-4)


def test_linear_maps_change_nothing_and_what_is_a_function_is_wholly_correlated():
    a, b = arrays()
    mixing = np.random.default_rng(1).normal(size=(6, 6))
    assert cca(a @ mixing + 1.0, b).value == pytest.approx(cca(a, b).value)
    assert cca(a, a @ mixing[:, :2]).value == pytest.approx(1.0)
    assert pwcca(a, a @ mixing).value == pytest.approx(1.0)


def test_svcca_is_cca_of_the_principal_directions():
    a, b = arrays()
    reduced = []
    for rows in (a, b):
        centred = rows - rows.mean(0)
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, vectors = values[::-1], vectors[:, ::-1]
        kept = np.searchsorted(np.cumsum(values) / values.sum(), 0.9) + 1
        reduced.append(centred @ vectors[:, :kept])
    assert svcca(a, b, variance=0.9).value == pytest.approx(by_eigenvalues(*reduced).mean())
    assert svcca(a, b, variance=1.0).value == pytest.approx(cca(a, b).value)
    noisy = np.hstack([a, 1e-3 * np.random.default_rng(2).normal(size=(300, 40))])
    assert svcca(noisy, a).value > cca(noisy, a).value - 1e-9
    assert svcca(noisy, a).value == pytest.approx(1.0, abs=0.01)


def test_pwcca_weighs_by_products_with_the_columns():
    """By the definition: canonical variates from the eigenvectors, no singular value in sight."""
    a, b = arrays()
    x, y = a - a.mean(0), b - b.mean(0)
    inner = x.T @ y @ np.linalg.solve(y.T @ y, y.T @ x)
    squares, vectors = eigh(inner, x.T @ x)
    variates = x @ vectors[:, ::-1][:, :4]
    variates /= np.linalg.norm(variates, axis=0)
    weights = np.abs(variates.T @ x).sum(1)
    expected = (weights * np.sqrt(squares[::-1][:4])).sum() / weights.sum()
    assert pwcca(a, b).value == pytest.approx(expected)
    # A direction that hardly any column has weighs next to nothing; the mean knows no sizes.
    other = np.random.default_rng(3).normal(size=(300, 1))
    faint, own = (
        np.hstack([a, 1e-6 * other]),
        np.hstack([a, np.random.default_rng(4).normal(size=(300, 1))]),
    )
    assert pwcca(faint, own).value > 0.999 > cca(faint, own).value


def test_more_columns_than_rows_are_noted():
    rng = np.random.default_rng(0)
    result = cca(rng.normal(size=(20, 30)), rng.normal(size=(20, 25)))
    assert result.value == pytest.approx(1.0)
    assert "no more rows than columns" in result.note
    assert not cca(*arrays()).note
    with pytest.raises(IsthmusError, match="variance=0"):
        svcca(*arrays(), variance=0.0)
