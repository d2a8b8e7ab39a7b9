import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import infomec

from .grids import grid, noise


def test_discrete_codes_by_hand():
    rng = np.random.default_rng(0)
    factors = rng.integers(3, size=(90, 2))
    codes = np.stack([factors[:, 0], (factors.sum(1) + rng.integers(2, size=90)) % 4], axis=1)
    nmi = np.array(
        [[mutual_info_score(z, v) / mutual_info_score(v, v) for v in factors.T] for z in codes.T]
    )
    m = ((nmi.max(1) / nmi.sum(1)).mean() - 1 / 2) / (1 - 1 / 2)
    c = ((nmi.max(0) / nmi.sum(0)).mean() - 1 / 2) / (1 - 1 / 2)
    got = infomec(codes, factors, corrected=False)
    assert got.modularity.value == pytest.approx(m)
    assert got.compactness.value == pytest.approx(c)


def mixed(rows, share, seed):
    """Four latents, each with some of its neighbour's factor, and the same in ten values."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(6, size=(rows, 4))
    z = factors + share * np.roll(factors, 1, axis=1) + 0.6 * rng.normal(size=(rows, 4))
    edges = np.quantile(z, np.linspace(0, 1, 11)[1:-1], axis=0)
    values = np.stack([np.searchsorted(*both) for both in zip(edges.T, z.T, strict=True)], axis=1)
    return z, values, factors


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_few_rows_do_not_speak_against_discrete_codes(share):
    # By plug-in estimates these lose 0.13 to 0.16 to the numbers that they were made from.
    found, names = [], ("modularity", "compactness")
    for seed in range(3):
        z, values, factors = mixed(432, share, seed)
        both = infomec(values, factors), infomec(z, factors)
        found.append([[getattr(one, name).value for name in names] for one in both])
    discrete, numbers = np.mean(found, axis=0)
    _, values, factors = mixed(40_000, share, 9)
    truth = [getattr(infomec(values, factors), name).value for name in names]
    np.testing.assert_allclose(discrete, truth, atol=0.035)
    np.testing.assert_allclose(discrete, numbers, atol=0.035)


def test_the_correction_vanishes_with_many_rows():
    _, values, factors = mixed(40_000, 0.4, 0)
    one, other = (infomec(values, factors, corrected=corrected) for corrected in (True, False))
    assert one.modularity.value == pytest.approx(other.modularity.value, abs=0.004)
    assert one.modularity.value > other.modularity.value
    assert "less their bias" in one.modularity.estimator
    assert "plug-in" in other.modularity.estimator


def test_explicitness_of_one_discrete_latent_in_closed_form():
    # With an indicator for each value the regression is saturated: it finds the class-balanced
    # conditional p(y | z) ~ n(y, z) / n(y).
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=400)
    z = (y + rng.integers(2, size=400) + (rng.random(400) < 0.3)) % 4
    counts = np.zeros((4, 3))
    np.add.at(counts, (z, y), 1)
    balanced = counts / counts.sum(0)
    chance = balanced / balanced.sum(1, keepdims=True)
    want = 1 + np.log(chance[z, y]).mean() / np.log(3)
    assert infomec(z, y).explicitness.value == pytest.approx(want, abs=1e-3)


def test_the_best_constant_of_balanced_classes_is_uniform():
    y = np.array([0] * 30 + [1] * 10 + [2] * 5)
    null = LogisticRegression(C=np.inf, class_weight="balanced").fit(np.zeros((45, 1)), y)
    assert log_loss(y, null.predict_proba(np.zeros((45, 1)))) == pytest.approx(np.log(3), abs=1e-6)


def test_a_turned_code_is_explicit_but_neither_modular_nor_compact():
    factors = grid(5, 5, repeats=8)
    turned = factors @ np.array([[1, 1], [1, -1]]) + 1e-6 * noise(200, 2)
    got = infomec(turned, factors)
    assert got.modularity.value < 0.1
    assert got.compactness.value < 0.1
    assert got.explicitness.value > 0.95


def test_latents_that_hardly_vary_are_left_out():
    factors = grid(3, 3, repeats=10)
    codes = np.concatenate([factors + 1e-3 * noise(90, 2), 0.01 * noise(90, 2, seed=1)], axis=1)
    got = infomec(codes, factors)
    assert np.isnan(got.modularity.per).tolist() == [False, False, True, True]
    assert got.modularity.value == pytest.approx(1, abs=0.02)
    assert got.compactness.value == pytest.approx(1, abs=0.02)
    assert "2 latents" in got.modularity.note


def test_discrete_and_continuous_latents_side_by_side():
    factors = grid(3, 4, repeats=10)
    codes = np.stack([factors[:, 0], factors[:, 1] + 1e-3 * noise(120, 1)[:, 0]], axis=1)
    got = infomec(codes, factors, discrete_codes=[True, False])
    for result in got:
        assert result.value == pytest.approx(1, abs=0.01)


def test_one_active_latent_has_no_compactness():
    factors = grid(3, 3, repeats=10)
    got = infomec(factors[:, :1], factors)
    assert np.isnan(got.compactness.value)
    assert "one active latent" in got.compactness.note
    assert got.modularity.value == pytest.approx(1)


def test_errors():
    with pytest.raises(IsthmusError, match="neighbours is 0"):
        infomec(noise(9), noise(9), neighbours=0)
