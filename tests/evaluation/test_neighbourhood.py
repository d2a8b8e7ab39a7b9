import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn import manifold

from isthmus import IsthmusError
from isthmus.data.made.spheres import spheres
from isthmus.evaluation import distances as _neighbours
from isthmus.evaluation.neighbourhood import (
    continuity,
    density_kl,
    distance_rmse,
    mrre,
    neighbourhood,
    trustworthiness,
)

EVERY = [
    trustworthiness,
    continuity,
    mrre,
    lambda x, z: density_kl(x, z, 0.1),
    distance_rmse,
]


def pair(n=60, d=5, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x[:, :2] + noise * rng.normal(size=(n, 2))


def mrre_by_loops(x, z, k):
    n = len(x)
    dx, dz = cdist(x, x), cdist(z, z)
    latent = data = 0.0
    for i in range(n):
        in_x, in_z = ([j for j in np.argsort(d[i]) if j != i] for d in (dx, dz))
        for j in in_z[:k]:
            latent += abs(in_x.index(j) - in_z.index(j)) / (in_z.index(j) + 1)
        for j in in_x[:k]:
            data += abs(in_x.index(j) - in_z.index(j)) / (in_x.index(j) + 1)
    scale = n * sum(abs(n - 2 * rank + 1) / rank for rank in range(1, k + 1))
    return latent / scale, data / scale


@pytest.mark.parametrize("k", [1, 7, 29])
@pytest.mark.parametrize("d", [5, 40])
def test_trustworthiness_and_continuity_are_those_of_scikit_learn(k, d):
    x, z = pair(d=d)
    x = x + 100
    got = trustworthiness(x, torch.tensor(z), k)
    assert got.value == pytest.approx(manifold.trustworthiness(x, z, n_neighbors=k))
    back = continuity(x, z, k)
    assert back.value == pytest.approx(manifold.trustworthiness(z, x, n_neighbors=k))
    assert got.higher_is_better
    assert got.n == 60


@pytest.mark.parametrize("k", [1, 6])
def test_mrre_in_both_directions_against_loops(k):
    x, z = pair(40)
    latent, data = mrre_by_loops(x, z, k)
    assert mrre(x, z, k, direction="latent").value == pytest.approx(latent)
    assert mrre(x, z, k, direction="data").value == pytest.approx(data)
    assert mrre(x, z, k).value == pytest.approx((latent + data) / 2)
    assert mrre(z, x, k, direction="latent").value == pytest.approx(data)


def test_several_sizes_are_averaged_and_listed():
    x, z = pair()
    got = neighbourhood(x, z, range(5, 26, 10))
    for name, result in got.items():
        each = [neighbourhood(x, z, k)[name].value for k in (5, 15, 25)]
        np.testing.assert_allclose(result.per, each)
        assert result.value == pytest.approx(np.mean(each))
    assert list(got) == ["trustworthiness", "continuity", "mrre", "mrre_latent", "mrre_data"]


def test_a_rotated_copy_is_perfect():
    x, _ = pair()
    turned = 3 * x @ np.linalg.qr(pair(5)[0])[0] - 7
    got = neighbourhood(x, turned, 12)
    assert got["trustworthiness"].value == got["continuity"].value == 1
    assert got["mrre"].value == 0
    assert density_kl(x, turned, 0.1).value == pytest.approx(0, abs=1e-12)
    assert distance_rmse(x, turned / 3).value == pytest.approx(0, abs=1e-9)


def test_noise_is_at_chance():
    rng = np.random.default_rng(0)
    got = neighbourhood(rng.normal(size=(600, 4)), rng.normal(size=(600, 2)), 5)
    assert got["trustworthiness"].value == pytest.approx(0.5, abs=0.03)
    assert got["continuity"].value == pytest.approx(0.5, abs=0.03)
    # The mean of |r - rank| over a uniform rank r, in units of the worst, is about a half.
    assert got["mrre"].value == pytest.approx(0.5, abs=0.03)


def test_a_torn_circle_is_trustworthy_but_not_continuous():
    angle = np.linspace(0, 2 * np.pi, 101)[:-1]
    circle = np.c_[np.cos(angle), np.sin(angle)]
    torn = trustworthiness(circle, angle, 6), continuity(circle, angle, 6)
    assert torn[0].value > 0.99 > torn[1].value
    folded = trustworthiness(angle, circle, 6), continuity(angle, circle, 6)
    assert folded[0].value == torn[1].value
    assert folded[1].value == torn[0].value


def test_copies_of_rows_cost_nothing():
    x = np.repeat(pair(20)[0], 3, axis=0)
    got = neighbourhood(x, 2 * x, 7)
    assert got["trustworthiness"].value == got["continuity"].value == 1
    assert got["mrre"].value == 0


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
def test_density_kl_is_the_relative_entropy_of_kernel_densities(sigma):
    x, z = pair(50, 40)

    def density(rows):
        d = cdist(rows, rows)
        return np.exp(-((d / d.max()) ** 2) / sigma).sum(1)

    got = density_kl(x, z, sigma)
    assert got.value == pytest.approx(entropy(density(x), density(z)), rel=1e-9)
    assert got.per.sum() == pytest.approx(got.value)
    assert got.unit == "nats"


def test_distance_rmse_over_all_pairs():
    x, z = pair(30)
    assert distance_rmse(x, z).value == pytest.approx(
        np.sqrt(((cdist(x, x) - cdist(z, z)) ** 2).mean())
    )


@pytest.mark.parametrize("measure", EVERY)
def test_the_order_of_rows_and_the_pieces_do_not_matter(monkeypatch, measure):
    x, z = pair()
    whole = measure(x, z).value
    order = np.random.default_rng(1).permutation(len(x))
    assert measure(x[order], z[order]).value == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(_neighbours, "PIECE", 7 * len(x))
    assert measure(x, z).value == pytest.approx(whole, rel=1e-12)
    assert measure(x[order], z).value != pytest.approx(whole, rel=1e-3)


def test_the_published_numbers_of_pca_on_spheres():
    made = spheres()
    train, test = made.train, made.test
    axes = np.linalg.svd(train, full_matrices=False)[2][:2]
    codes = test @ axes.T
    got = neighbourhood(test, codes, range(10, 201, 10))
    assert got["mrre"].value == pytest.approx(0.294, abs=0.003)
    assert got["continuity"].value == pytest.approx(0.747, abs=0.003)
    assert got["trustworthiness"].value == pytest.approx(0.626, abs=0.003)
    assert distance_rmse(test, codes).value == pytest.approx(11.8, abs=0.1)
    # Means of five fits on parts of the training rows; at the finest scale those scatter.
    for sigma, published, off in ((0.01, 0.332, 0.015), (0.1, 0.651, 0.01), (1, 0.01530, 3e-4)):
        assert density_kl(test, codes, sigma).value == pytest.approx(published, abs=off)


def test_misuse_is_one_sentence(monkeypatch):
    x, z = pair(20)
    with pytest.raises(IsthmusError, match="k = 10 is half of the 20 rows"):
        trustworthiness(x, z, 10)
    with pytest.raises(IsthmusError, match="k = 0 does not fit"):
        continuity(x, z, [3, 0])
    with pytest.raises(IsthmusError, match="no neighbourhood size"):
        neighbourhood(x, z, [])
    with pytest.raises(IsthmusError, match="did you mean 'latent'"):
        mrre(x, z, 3, direction="latnt")
    with pytest.raises(IsthmusError, match="20 rows of data and 19 codes"):
        distance_rmse(x, z[:-1])
    with pytest.raises(IsthmusError, match="codes contain NaN"):
        distance_rmse(x, np.where(z > 1, np.nan, z))
    with pytest.raises(IsthmusError, match="all rows of the codes are equal"):
        density_kl(x, np.ones((20, 2)), 0.1)
    for sigma in (0, -1, np.nan, np.inf):
        with pytest.raises(IsthmusError, match="is no scale"):
            density_kl(x, z, sigma)
    monkeypatch.setattr(_neighbours, "LARGEST", 19)
    with pytest.raises(IsthmusError, match="at most 19 rows, not 20"):
        trustworthiness(x, z, 3)
