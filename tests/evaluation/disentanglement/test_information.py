import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score

from isthmus.evaluation.disentanglement.information import (
    entropies,
    entropy,
    label_information,
    neighbour_information,
)

from .grids import noise


def labels(seed, rows, columns, values):
    return np.random.default_rng(seed).integers(values, size=(rows, columns))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 6), st.integers(1, 6))
def test_plug_in_information_is_that_of_scikit_learn(seed, rows, few, many):
    first, second = labels(seed, rows, 2, few), labels(seed + 1, rows, 3, many)
    got = label_information(first, second)
    want = [[mutual_info_score(a, b) for b in second.T] for a in first.T]
    np.testing.assert_allclose(got, want, atol=1e-12)
    np.testing.assert_allclose(label_information(second, first), got.T, atol=1e-12)
    bound = np.minimum.outer(entropies(first), entropies(second))
    assert (got <= bound + 1e-12).all()


def test_the_bias_of_independent_labels_is_taken_off():
    plug_in, corrected = np.zeros(2), np.zeros(2)
    for seed in range(40):
        first, second = labels(seed, 432, 2, 10), labels(seed + 500, 432, 1, 6)
        plug_in += label_information(first, second)[:, 0] / 40
        corrected += label_information(first, second, corrected=True)[:, 0] / 40
    np.testing.assert_allclose(plug_in, 45 / 864, rtol=0.15)
    assert (corrected < 0.15 * plug_in).all()


def test_labels_that_do_not_occur_count_for_nothing():
    a, b = labels(0, 60, 1, 3), labels(1, 60, 1, 4)
    want = max(0.0, mutual_info_score(a[:, 0], b[:, 0]) - (12 - 3 - 4 + 1) / 120)
    got = label_information(3 * a, 2 * b, corrected=True)[0, 0]
    assert len(np.unique(a * 4 + b)) == 12
    assert got == pytest.approx(want)


def test_entropy_by_hand():
    assert entropy(np.array([0, 0, 1, 2])) == pytest.approx(1.5 * np.log(2))
    both = labels(0, 40, 2, 4)
    joint = entropy(both[:, 0] * 4 + both[:, 1])
    assert label_information(both[:, :1], both[:, 1:])[0, 0] == pytest.approx(
        entropies(both).sum() - joint
    )


@pytest.mark.parametrize("neighbours", [1, 3, 10])
def test_neighbour_information_is_that_of_scikit_learn(neighbours):
    v = labels(0, 300, 2, 4)
    v[0, 0] = 9  # A class of one row is left out.
    z = noise(300)
    z[:, 0] += v[:, 0]
    z[:, 1] -= 2 * v[:, 1]
    want = [
        mutual_info_classif(z, y, discrete_features=False, n_neighbors=neighbours, random_state=0)
        for y in v.T
    ]
    np.testing.assert_allclose(
        neighbour_information(z, v, neighbours), np.transpose(want), atol=1e-9
    )


def test_small_classes_have_fewer_neighbours():
    z, v = noise(40, 1)[:, 0], np.repeat([0, 1, 2], [4, 16, 20])
    terms = []
    for x, label in zip(z, v, strict=True):
        own = np.sort(np.abs(z[v == label] - x))
        k = min(10, len(own) - 1)
        nearer = (np.abs(z - x) < own[k] - 1e-12).sum()
        terms.append(digamma(40) + digamma(k) - digamma(len(own)) - digamma(nearer))
    assert np.mean(terms) > 0
    assert neighbour_information(z[:, None], v[:, None], 10)[0, 0] == pytest.approx(np.mean(terms))


def test_neighbour_information_of_a_gaussian_mixture():
    rng = np.random.default_rng(0)
    v = rng.integers(2, size=4000)
    z = 2.0 * v + rng.normal(size=4000)
    x = np.linspace(-8, 10, 20001)
    a, b = (np.exp(-((x - m) ** 2) / 2) / np.sqrt(2 * np.pi) for m in (0, 2))
    mixed = (a + b) / 2
    truth = trapezoid((a * np.log(a / mixed) + b * np.log(b / mixed)) / 2, x)
    got = neighbour_information(z[:, None], v[:, None], 10)[0, 0]
    assert got == pytest.approx(truth, abs=0.03)


def test_ties_are_counted_as_labels_are():
    z, v = labels(1, 3000, 1, 4), labels(2, 3000, 1, 3)
    v[:, 0] = np.where(z[:, 0] == 0, 0, v[:, 0])
    got = neighbour_information(z.astype(float), v, 10)
    np.testing.assert_allclose(got, label_information(z, v), atol=0.003)


def test_nothing_but_single_rows_tells_nothing():
    assert neighbour_information(noise(4, 1), np.arange(4)[:, None], 3)[0, 0] == 0
