"""What latents of each kind do, on a code that is made by hand."""

import numpy as np
import pytest
import torch

from isthmus.anatomy import GaussianCode
from isthmus.studies.variational import passive_latents


def test_a_passive_latent_correlates_in_its_means_alone(monkeypatch):
    monkeypatch.setattr(passive_latents, "PROBED", 1000)
    rng = np.random.default_rng(0)
    rows = 4000
    factors = rng.integers(0, 3, (rows, 2))
    active = factors - 1.0 + 0.05 * rng.standard_normal((rows, 2))
    passive = 0.01 * active[:, :1] + 0.002 * rng.standard_normal((rows, 1))
    means = torch.from_numpy(np.concatenate([active, passive], axis=1))
    logvar = torch.log(torch.tensor([0.001, 0.001, 1.0])).expand(rows, 3)
    found = passive_latents._measured(GaussianCode(means, means, logvar), factors, seed=0)
    assert (found["active"], found["mixed"], found["passive"]) == (2, 0, 1)
    assert found["mean_correlation"] > 0.9
    assert found["sampled_correlation"] < 0.06
    assert found["tc_excess"] > 0.5
    assert abs(found["tc_excess_active"]) < 0.01
    assert found["accuracy"] > 0.99
    assert found["lost_passive"] == pytest.approx(0.0, abs=0.005)
    assert found["lost_active"] > 0.2
