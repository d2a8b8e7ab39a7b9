"""The discretised logistic against scipy's distribution function."""

import numpy as np
import pytest
import torch
from scipy import stats

from isthmus.errors import IsthmusError
from isthmus.likelihoods import DiscretisedLogistic

CENTRES = [-0.7, 0.0, 0.31, 0.5, 0.99, 1.6]
LOG_SCALES = [-4.0, -2.0, 0.0, 1.5]


def levels(likelihood):
    return torch.linspace(likelihood.low, likelihood.high, likelihood.bins, dtype=torch.float64)[
        :, None
    ]


def mass(likelihood, centre, log_scale):
    x = levels(likelihood)
    params = torch.tensor([[centre, log_scale]], dtype=torch.float64).expand(len(x), 1, 2)
    return likelihood.log_prob(params, x).exp()


@pytest.mark.parametrize(("low", "bins"), [(0.0, 256), (-1.0, 256), (0.0, 2), (0.0, 17)])
@pytest.mark.parametrize("log_scale", LOG_SCALES)
@pytest.mark.parametrize("centre", CENTRES)
def test_every_mass_is_the_difference_of_two_distribution_functions(centre, log_scale, low, bins):
    likelihood = DiscretisedLogistic(bins, low)
    scale = np.exp(log_scale) * 0.5 * (1.0 - low)
    edges = (levels(likelihood)[:-1, 0] + 0.5 * likelihood.step).numpy()
    below = np.concatenate([[0.0], stats.logistic.cdf(edges, centre, scale), [1.0]])
    above = np.concatenate([[1.0], stats.logistic.sf(edges, centre, scale), [0.0]])
    wanted = np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))
    found = mass(likelihood, centre, log_scale)
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-10, atol=1e-14)
    assert found.sum().item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("log_scale", [-7.0, *LOG_SCALES])
@pytest.mark.parametrize("centre", CENTRES)
def test_the_mean_is_within_half_a_spacing_of_the_bins_mean(centre, log_scale):
    likelihood = DiscretisedLogistic()
    exact = (mass(likelihood, centre, log_scale) * levels(likelihood)[:, 0]).sum()
    found = likelihood.mean(torch.tensor([[centre, log_scale]], dtype=torch.float64))
    assert abs(found.item() - exact.item()) < 0.5 * likelihood.step
    if np.exp(log_scale) > 4 * likelihood.step:
        assert abs(found.item() - exact.item()) < 0.02 * likelihood.step


def test_draws_have_the_frequencies_of_the_mass():
    likelihood = DiscretisedLogistic(bins=6, low=-1.0)
    params = torch.tensor([[[0.4, -0.5]]], dtype=torch.float64)
    drawn = likelihood.sample(
        params.expand(30_000, 1, 2), generator=torch.Generator().manual_seed(0)
    )
    assert likelihood.support(drawn).all()
    found = ((drawn + 1) / likelihood.step).round().long().flatten().bincount(minlength=6)
    assert stats.chisquare(found, mass(likelihood, 0.4, -0.5) * 30_000).pvalue > 0.01


def test_bytes_as_fractions_of_255_are_all_in_the_support():
    x = torch.arange(256).float()[:, None].mul_(1.0 / 255.0)
    DiscretisedLogistic().check(x)
    DiscretisedLogistic(low=-1.0).check(2.0 * x - 1.0)
    with pytest.raises(IsthmusError, match=r"256 equally spaced values from 0 to 1, .* hold 0.5:"):
        DiscretisedLogistic().check(torch.full((1, 1), 0.5))
    with pytest.raises(IsthmusError, match="no grey levels"):
        DiscretisedLogistic(low=2.0)
