import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from isthmus.anatomy import Batch, Look
from isthmus.corruptions import Binarise, GaussianNoise, MaskingNoise, SaltAndPepper
from isthmus.errors import IsthmusError

ROWS, SIZE = 400, 250


def batch() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(ROWS, SIZE) * 0.8 + 0.1


def within(count: int, n: int, p: float) -> bool:
    """Whether a count of n draws is within five standard deviations of its expectation."""
    return abs(count - n * p) < 5 * math.sqrt(n * p * (1 - p))


def test_gaussian_noise_is_normal_with_the_given_deviation():
    x = batch()
    noise = (GaussianNoise(0.3)(x).x - x).double().flatten().numpy()
    assert stats.kstest(noise, stats.norm(scale=0.3).cdf).pvalue > 1e-3
    rows = noise.reshape(ROWS, SIZE)
    assert abs(np.corrcoef(rows[0], rows[1])[0, 1]) < 5 / math.sqrt(SIZE)


def test_masking_noise_zeroes_its_share_and_keeps_the_rest():
    x = batch()
    y = MaskingNoise(0.3)(x).x
    gone = y == 0
    assert within(int(gone.sum()), x.numel(), 0.3)
    assert torch.equal(y[~gone], x[~gone])
    assert stats.chisquare(gone.sum(0).numpy()).pvalue > 1e-3


def test_salt_and_pepper_are_equally_frequent():
    x = batch()
    y = SaltAndPepper(0.4, low=-1.0, high=2.0)(x).x
    pepper, salt = y == -1.0, y == 2.0
    assert within(int(pepper.sum()), x.numel(), 0.2)
    assert within(int(salt.sum()), x.numel(), 0.2)
    rest = ~(pepper | salt)
    assert torch.equal(y[rest], x[rest])


def test_binarise_draws_with_the_pixel_as_its_mean():
    torch.manual_seed(0)
    x = torch.linspace(0, 1, 11).repeat(20_000, 1)
    y = Binarise()(x).x
    assert set(y.unique().tolist()) == {0.0, 1.0}
    assert y.dtype == x.dtype
    for column, mean in enumerate(torch.linspace(0, 1, 11).tolist()):
        count = int(y[:, column].sum())
        assert count == round(mean) * 20_000 if mean in (0.0, 1.0) else within(count, 20_000, mean)


def look(x):
    return Look(x, Batch(x), len(x))


def test_binarise_refuses_data_that_are_no_probabilities():
    Binarise().prepare(nn.Identity(), look(torch.tensor([[0.0, 1.0]])))
    with pytest.raises(IsthmusError, match=r"range from -1 to 0\.5: scale"):
        Binarise().prepare(nn.Identity(), look(torch.tensor([[-1.0, 0.5]])))


@pytest.mark.parametrize("corrupt", [GaussianNoise(0.0), MaskingNoise(0.0), SaltAndPepper(0.0)])
def test_no_noise_changes_nothing(corrupt):
    x = batch()
    assert torch.equal(corrupt(x).x, x)


def test_a_full_share_leaves_nothing():
    x = batch()
    assert not MaskingNoise(1.0)(x).x.any()
    assert set(SaltAndPepper(1.0)(x).x.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianNoise(-0.1), "sigma=-0.1 must be at least 0"),
        (lambda: GaussianNoise(float("nan")), "sigma=nan"),
        (lambda: MaskingNoise(30.0), "share=30.0 must be a share"),
        (lambda: SaltAndPepper(-0.5), "share=-0.5 must be a share"),
    ],
)
def test_bad_levels_are_named(make, message):
    with pytest.raises(IsthmusError, match=message):
        make()
