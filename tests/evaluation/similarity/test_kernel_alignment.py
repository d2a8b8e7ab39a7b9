"""CKA against the definition by Gram matrices, and what each estimator is blind to."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from isthmus.errors import IsthmusError
from isthmus.evaluation.similarity import cka


def arrays(n=60, d=8, e=5, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, d)) + 3.0
    return a, a[:, :e] @ rng.normal(size=(e, e)) + 0.5 * rng.normal(size=(n, e))


def gram(x, kernel):
    if kernel == "linear":
        return x @ x.T
    distances = np.sqrt(np.square(x[:, None] - x[None]).sum(2))
    width = np.median(distances[np.triu_indices(len(x), 1)])
    return np.exp(-(distances**2) / (2 * width**2))


def by_definition(a, b, kernel, debiased):
    """HSIC by the centring matrix, or by sums over distinct rows (Song et al. 2012)."""
    n = len(a)

    def hsic(k, m):
        if not debiased:
            centring = np.eye(n) - 1.0 / n
            return np.trace(k @ centring @ m @ centring)
        k, m, one = k - np.diag(np.diag(k)), m - np.diag(np.diag(m)), np.ones(n)
        square = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        return np.trace(k @ m) + square - 2.0 / (n - 2) * (one @ k @ m @ one)

    k, m = gram(a, kernel), gram(b, kernel)
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("d", [8, 90])
def test_it_is_the_definition_by_gram_matrices(kernel, debiased, d):
    """Of more columns than rows as well, where other sums are the shorter ones."""
    a, b = arrays(d=d)
    value = cka(a, b, kernel=kernel, debiased=debiased).value
    assert value == pytest.approx(by_definition(a, b, kernel, debiased), rel=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_rotations_and_one_factor_change_nothing_and_stretching_does(kernel):
    a, _ = arrays()
    turned = 7.0 * a @ ortho_group.rvs(8, random_state=0) - 2.0
    assert cka(a, turned, kernel=kernel).value == pytest.approx(1.0)
    stretched = a * np.linspace(0.1, 20.0, 8)
    assert cka(a, stretched, kernel=kernel).value < 0.95


def test_without_bias_independent_arrays_are_about_zero_and_with_it_are_not():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 50, 400)) for _ in range(20)]
    plain = np.mean([cka(a, b).value for a, b in pairs])
    unbiased = np.array([cka(a, b, debiased=True).value for a, b in pairs])
    assert plain > 0.8
    assert abs(unbiased.mean()) < 4 * unbiased.std() / np.sqrt(20) + 1e-3


def test_orthogonal_directions_share_in_proportion():
    """A closed form: k of d equal, orthogonal directions in common give sqrt(k / d)."""
    n, d = 128, 16
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(n, d + 1)) - 0.0)[0]
    basis -= basis.mean(0)
    basis = np.linalg.qr(basis)[0][:, :d]
    assert cka(basis, basis[:, :4]).value == pytest.approx(np.sqrt(4 / 16))


def test_what_cannot_be_is_one_sentence():
    a, b = arrays()
    with pytest.raises(IsthmusError, match="60 first rows and 59 second rows"):
        cka(a, b[1:])
    with pytest.raises(IsthmusError, match="kernel"):
        cka(a, b, kernel="rbg")
    with pytest.raises(IsthmusError, match="bandwidth=0"):
        cka(a, b, kernel="rbf", bandwidth=0)
    with pytest.raises(IsthmusError, match="second rows are all alike"):
        cka(a, np.ones((60, 3)))
    with pytest.raises(IsthmusError, match="20,000 are too many"):
        cka(*(np.random.default_rng(0).normal(size=(2, 20_000, 1))), kernel="rbf")
