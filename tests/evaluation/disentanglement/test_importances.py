import numpy as np
import pytest
from scipy.stats import entropy

from isthmus import IsthmusError
from isthmus.evaluation.disentanglement import dci
from isthmus.evaluation.disentanglement.score_matrix import concentration, dominance, gaps

from .grids import grid, noise, rotated, standardised


def test_concentration_is_one_less_the_entropy():
    scores = np.random.default_rng(0).random((5, 3))
    scores[0, 1] = 0
    np.testing.assert_allclose(concentration(scores), 1 - entropy(scores.T, base=3))
    np.testing.assert_allclose(concentration(np.eye(3) + 0.0), [1, 1, 1])
    assert np.isnan(concentration(np.zeros((1, 3))))
    assert np.isnan(concentration(np.ones((2, 1)))).all()


def test_dominance_runs_from_zero_to_one():
    scores = np.array([[2, 0, 0], [1, 1, 1], [2, 1, 1], [0, 0, 0]])
    np.testing.assert_allclose(dominance(scores), [1, 0, 0.25, 0], atol=1e-12)


def test_gaps_are_between_the_two_largest():
    np.testing.assert_allclose(gaps(np.array([[1, 5.0], [4, 2], [3, 2]])), [1, 3])
    np.testing.assert_allclose(gaps(np.array([[1, 5.0]])), [1, 5])


def test_boosted_trees_on_a_perfect_code():
    factors = grid(2, 3, repeats=20)
    got = dci(-factors[:, ::-1] + 1e-3 * noise(120, 2), factors)
    for result in got:
        assert result.value == pytest.approx(1, abs=0.02)
    assert got.disentanglement.per.shape == (2,)


def test_boosted_trees_on_noise():
    got = dci(noise(120, 2), grid(2, 3, repeats=20))
    assert got.disentanglement.value < 0.15
    assert got.completeness.value < 0.15
    assert 0.2 < got.informativeness.value < 0.6


@pytest.mark.parametrize("predictor", ["boosted", "forest", "lasso"])
def test_continuous_factors_are_regressed(predictor):
    factors = np.random.default_rng(0).uniform(size=(150, 2))
    got = dci(-2 * factors[:, ::-1], factors, predictor=predictor)
    assert got.disentanglement.value > 0.9
    assert got.informativeness.value > 0.9


def test_lasso_shares_of_a_rotation_are_equal():
    # On a full grid each factor is half one turned latent and half the other.
    factors = standardised(grid(9, 9, repeats=2))
    got = dci(rotated(factors), factors, predictor="lasso")
    assert got.disentanglement.value == pytest.approx(0, abs=1e-3)
    assert got.completeness.value == pytest.approx(0, abs=1e-3)
    assert got.informativeness.value > 0.99


def test_disentangled_but_not_complete():
    factors = grid(4, 4, repeats=12)
    codes = np.stack([factors[:, 0] % 2, factors[:, 0] // 2, factors[:, 1]], axis=1)
    got = dci(codes, factors, predictor="forest")
    assert got.disentanglement.value > 0.98
    assert got.completeness.per[0] < 0.7
    assert got.completeness.per[1] > 0.98


def test_complete_but_not_disentangled():
    factors = grid(2, 2, repeats=30)
    got = dci(
        np.stack([factors[:, 0] * 2 + factors[:, 1], noise(120, 1)[:, 0]], axis=1),
        factors,
        predictor="forest",
    )
    assert got.completeness.value > 0.95
    assert got.disentanglement.value < 0.2
    assert got.informativeness.value == 1


def test_errors():
    with pytest.raises(IsthmusError, match="did you mean 'boosted'"):
        dci(noise(20), noise(20), predictor="boost")
    with pytest.raises(IsthmusError, match="8 rows are too few"):
        dci(noise(8), noise(8))
