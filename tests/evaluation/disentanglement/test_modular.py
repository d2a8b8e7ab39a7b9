import numpy as np
import pytest

from isthmus.evaluation.disentanglement import explicitness, modularity

from .grids import grid, noise


def test_a_latent_that_holds_two_factors():
    # It knows both: deviation (log 2)² / (log 3)² over the one other factor.
    factors = grid(2, 3, repeats=5)
    got = modularity(factors[:, 0] * 3 + factors[:, 1], factors)
    assert got.value == pytest.approx(1 - (np.log(2) / np.log(3)) ** 2)


def test_the_mean_is_over_latents():
    factors = grid(2, 2, 2, repeats=5)
    both = factors[:, 0] * 2 + factors[:, 1]
    got = modularity(np.stack([factors[:, 2], both, np.ones(40)], axis=1), factors)
    np.testing.assert_allclose(got.per, [1, 0.5, np.nan])
    assert got.value == pytest.approx(0.75)
    assert "1 constant latents left out" in got.note


def test_a_latent_that_shares_nothing_counts_as_zero():
    factors = grid(2, 2, 2, repeats=5)
    got = modularity(factors[:, [0, 2]], factors[:, :2])
    np.testing.assert_allclose(got.per, [1, 0])


def test_explicitness_is_the_area_under_the_curve():
    # Of one informative latent, two values: the area of the latent itself, whatever the slope.
    factor = np.repeat([0, 1], 2000)
    code = 1.5 * factor + noise(4000, 1)[:, 0]
    from scipy.stats import norm

    assert explicitness(code, factor).value == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.02)


def test_explicitness_is_blind_to_invertible_linear_maps():
    factors = grid(3, 4, repeats=15)
    codes = factors + 0.5 * noise(180, 2)
    turned = codes @ np.array([[2.0, 1.0], [-1.0, 3.0]])
    assert explicitness(turned, factors).value == pytest.approx(
        explicitness(codes, factors).value, abs=0.03
    )


def test_values_that_cannot_be_tested():
    # Every value is either fitted or tested, never both.
    got = explicitness(noise(12, 2), np.arange(12))
    assert np.isnan(got.value)
    assert "cannot be tested" in got.note
