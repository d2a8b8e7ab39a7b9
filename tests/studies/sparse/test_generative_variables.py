"""The simulator of counts, and what counts as a variable that is found."""

import numpy as np
import pytest

from isthmus.studies.sparse.generative_variables import ACCESS, binary, correlated, simulated


def test_the_simulator_is_the_papers():
    rng = np.random.default_rng(0)
    mixing = binary(rng)
    assert set(np.unique(mixing)) == {0.0, 1.0}
    observed, truth = simulated(20_000, mixing, rng)
    activity, access, hidden = truth[:, :1], truth[:, 1:4], truth[:, 4:]
    np.testing.assert_array_equal(hidden, activity * access)
    np.testing.assert_allclose(observed, hidden @ mixing)
    # Five standard errors of means of 20,000: Poisson of variance 2, shares of at most 1/4.
    assert activity.mean() == pytest.approx(2.0, abs=0.05)
    assert activity.var() == pytest.approx(2.0, abs=0.12)
    np.testing.assert_allclose(access.mean(0), ACCESS, atol=0.018)


def test_units_that_are_the_variables_are_found_and_noise_is_not():
    rng = np.random.default_rng(1)
    truth = simulated(4000, binary(rng), rng)[1]
    signed = -3.0 * truth[:, ::-1]
    exact = correlated(np.hstack([rng.normal(size=(4000, 50)), signed]), truth)
    assert exact == pytest.approx({"activity": 1.0, "access": 1.0, "hidden": 1.0})
    noise = correlated(rng.normal(size=(4000, 50)), truth)
    # The unit was chosen on other rows: three standard errors of a correlation of 2000.
    assert max(noise.values()) < 0.067
    still = correlated(np.ones((4000, 2)), truth)
    assert max(still.values()) == 0.0
