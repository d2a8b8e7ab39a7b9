import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from isthmus import IsthmusError
from isthmus.evaluation import distances as _neighbours
from isthmus.evaluation.sample_quality import (
    density_and_coverage,
    frechet_distance,
    precision_and_recall,
)


def cloud(n=40, d=3, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def whitened(n, d, seed=0):
    """Rows whose mean is exactly 0 and whose unbiased covariance is exactly the identity."""
    rows = cloud(n, d, seed)
    rows -= rows.mean(0)
    return rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T


def test_frechet_of_gaussians_in_closed_form():
    a = whitened(50, 4) * [1, 2, 3, 4] + [5, 0, 0, 0]
    b = whitened(80, 4, 1) * [4, 2, 1, 4] + [0, 0, 0, 2]
    got = frechet_distance(a, b)
    assert got.value == pytest.approx(25 + 4 + 3**2 + 2**2)  # commuting: squared gaps of std
    assert got.n == 130
    assert got.higher_is_better is False


def test_frechet_by_the_matrix_square_root():
    mix = np.random.default_rng(5).normal(size=(6, 6))
    a, b = cloud(200, 6), cloud(90, 6, 1, 0.3) @ mix
    ca, cb = np.cov(a.T), np.cov(b.T)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert frechet_distance(a, b).value == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(b, torch.tensor(a)).value == pytest.approx(wanted, rel=1e-9)


def test_frechet_of_a_copy_is_zero_even_where_the_covariance_is_singular():
    a = cloud(9, 30) * 10.0 ** np.arange(-10, 5).repeat(2) + 100
    got = frechet_distance(a, a[np.random.default_rng(0).permutation(9)])
    assert got.value <= 1e-9 * np.cov(a.T).trace()
    assert "singular" in got.note
    assert frechet_distance(a, a + 2).value == pytest.approx(4 * 30, rel=1e-6)


def test_frechet_ignores_a_common_rotation():
    a, b = cloud(60, 5), cloud(70, 5, 1) * 2
    turn = np.linalg.qr(cloud(5, 5, 2))[0]
    assert frechet_distance(a @ turn, b @ turn).value == pytest.approx(frechet_distance(a, b).value)


def by_loops(real, fake, k):
    def distance(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    of_real = np.sort(distance(real, real), 1)[:, k]
    of_fake = np.sort(distance(fake, fake), 1)[:, k]
    between = distance(real, fake)
    inside = between < of_real[:, None]
    return {
        "density": inside.sum() / k / len(fake),
        "coverage": inside.any(1).mean(),
        "precision": inside.any(0).mean(),
        "recall": (between < of_fake[None]).any(1).mean(),
    }


@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("piece", [_neighbours.PIECE, 100])
def test_all_four_against_plain_loops(monkeypatch, d, piece):
    monkeypatch.setattr(_neighbours, "PIECE", piece)
    real, fake = cloud(50, d, 0, 30), cloud(35, d, 1, 30.5)
    wanted = by_loops(real, fake, 4)
    got = density_and_coverage(real, fake, 4) | precision_and_recall(real, fake, 4)
    assert {name: r.value for name, r in got.items()} == pytest.approx(wanted)
    assert got["density"].n == got["precision"].n == 35
    assert got["coverage"].n == got["recall"].n == 50


def test_copies_and_strangers():
    real = cloud()
    order = np.random.default_rng(1).permutation(40)
    same = density_and_coverage(real, real[order])
    assert same["density"].value == pytest.approx(1)
    assert same["coverage"].value == 1
    assert same["coverage"].interval[1] == 1 > same["coverage"].interval[0] > 0.9
    far = density_and_coverage(real, real + 50) | precision_and_recall(real, real + 50)
    assert {r.value for r in far.values()} == {0}


def test_equal_distributions_have_the_published_expectation():
    n, k = 250, 5
    found = [density_and_coverage(cloud(n, 4, s), cloud(n, 4, s + 50), k) for s in range(20)]
    density = np.mean([f["density"].value for f in found])
    coverage = np.mean([f["coverage"].value for f in found])
    # Naeem et al. 2020, eq. 9: no fake row is among the k nearest of 2n - 1.
    missed = math.prod((n - i) / (2 * n - 1 - i) for i in range(k))
    assert coverage == pytest.approx(1 - missed, abs=0.01)
    assert density == pytest.approx(1, abs=0.03)


def test_one_mode_of_two_halves_the_coverage():
    real = np.concatenate([cloud(60), cloud(60, seed=1, shift=40)])
    got = density_and_coverage(real, cloud(60, seed=2))
    assert got["coverage"].value <= 0.5
    recall = precision_and_recall(real, cloud(60, seed=2))
    assert recall["precision"].value > 0.8
    assert recall["recall"].value <= 0.5


def test_one_outlier_inflates_precision_but_not_density():
    real = np.concatenate([cloud(60), [[60.0, 0, 0]]])
    fake = cloud(60, seed=3) + np.array([20, 0, 0])
    assert precision_and_recall(real, fake)["precision"].value == 1
    assert density_and_coverage(real, fake)["density"].value < 0.3


def test_misuse_is_one_sentence(monkeypatch):
    with pytest.raises(IsthmusError, match="k = 5 does not fit"):
        density_and_coverage(cloud(5), cloud(9))
    with pytest.raises(IsthmusError, match="3 and 2 features in a row"):
        density_and_coverage(cloud(9), cloud(9, 2))
    with pytest.raises(IsthmusError, match="first features have the shape"):
        frechet_distance(cloud(1), cloud(9))
    with pytest.raises(IsthmusError, match="second features contain NaN"):
        frechet_distance(cloud(9), np.full((4, 3), np.nan))
    monkeypatch.setattr(_neighbours, "LARGEST", 30)
    with pytest.raises(IsthmusError, match="at most 30 rows, not 31"):
        density_and_coverage(cloud(9), cloud(31))
