"""What latents of each kind do, on codes that are made by hand."""

import numpy as np
import pytest

from isthmus.studies.variational import passive_latents
from isthmus.studies.variational.passive_latents import measured, planted


def test_a_passive_latent_correlates_in_its_means_alone(monkeypatch):
    monkeypatch.setattr(passive_latents, "PROBED", 1000)
    rng = np.random.default_rng(0)
    rows = 4000
    factors = rng.integers(0, 3, (rows, 2))
    active = factors - 1.0 + 0.05 * rng.standard_normal((rows, 2))
    passive = 0.01 * active[:, :1] + 0.002 * rng.standard_normal((rows, 1))
    means = np.concatenate([active, passive], axis=1)
    logvar = np.broadcast_to(np.log([0.001, 0.001, 1.0]), means.shape)
    found = measured(means, logvar, factors, seed=0)
    assert (found["active"], found["mixed"], found["passive"]) == (2, 0, 1)
    assert found["mean_correlation"] > 0.9
    assert found["sampled_correlation"] < 0.06
    assert found["tc_excess"] > 0.5
    assert abs(found["tc_excess_active"]) < 0.01
    assert found["tc_excess_random"] > 0.1
    assert found["gained_without_passive"] == pytest.approx(0.0, abs=0.005)


def test_planted_codes_are_four_active_and_six_passive_latents():
    factors = np.zeros((2000, 2), int)
    factors[::2] = 1
    found = measured(*planted(2000, 3), factors, seed=3)
    assert (found["active"], found["mixed"], found["passive"]) == (4, 0, 6)
    assert found["tc_excess_random"] - found["tc_excess_active"] > 0.5
