import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import entropy, norm

from isthmus import IsthmusError
from isthmus.anatomy import SparseCode
from isthmus.evaluation.description import (
    coarsest_bins,
    coded_bits,
    dense_length,
    description_length,
    one_hot_length,
)

from .test_feature_absorption import model

RNG = np.random.default_rng(0)


def test_a_discrete_code_costs_its_entropy():
    z = np.array([[0, 3], [0, 3], [0, 3], [1, -2], [1, 0], [5, 0], [5, 3], [0, 3.0]])
    got = coded_bits(z, 1.0)
    per = [entropy([4, 2, 2], base=2), entropy([5, 1, 2], base=2)]
    np.testing.assert_allclose(got.per, per)
    assert got.value == pytest.approx(sum(per))
    assert (got.n, got.higher_is_better) == (8, False)


@given(st.integers(1, 60), st.integers(1, 5), st.floats(0.05, 4.0), st.integers(0, 9))
def test_against_numpy_one_latent_at_a_time(rows, latents, width, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, latents)) * (rng.random((rows, latents)) < 0.6)
    counts = [np.unique(np.rint(column / width), return_counts=True)[1] for column in z.T]
    got = coded_bits(z, width)
    np.testing.assert_allclose(got.per, [entropy(c, base=2) for c in counts], atol=1e-12)
    assert got.value == pytest.approx(got.per.sum(), abs=1e-9)


def test_dense_sparse_and_coded_forms_agree():
    indices = torch.tensor([[0, 2], [1, 2], [2, 0], [3, 1]])
    code = SparseCode(torch.tensor([[1.0, 2], [0, 3], [2, 1], [-1, 2]]), indices, width=5)
    dense = code.z.numpy()
    want = description_length(dense, 0.02)
    for other in (code, csr_array(dense), torch.tensor(dense)):
        got = description_length(other, 0.02)
        assert (got.value, got.estimator) == (want.value, want.estimator)
    held = csr_array(dense)
    description_length(held, 2.0)  # most values round to zero
    np.testing.assert_array_equal(held.toarray(), dense)


def test_uniform_values_cost_the_logarithm_of_the_number_of_bins():
    values = (np.arange(1 << 12) + 0.5)[:, None] / (1 << 8)  # uniform on [0, 16)
    got = coded_bits(values - 0.5, 1.0)  # bins are centred on integers, so 16 whole ones
    assert got.value == pytest.approx(4.0, abs=1e-12)
    assert coded_bits(values - 0.5, 1.0, fixed=True).value == 4.0


def test_the_bin_width_follows_from_the_tolerance():
    values = RNG.uniform(-100, 100, (20_000, 2))
    for width in (0.5, 2.0):  # the error of rounding is uniform: width^2 / 12
        assert coarsest_bins(values, width**2 / 12) == pytest.approx(width, rel=0.02)
    rotation = np.linalg.qr(RNG.normal(size=(2, 2)))[0]
    assert coarsest_bins(values, 1 / 12, rotation) == pytest.approx(1.0, rel=0.02)
    assert coarsest_bins(values, 1 / 12, 3 * rotation) == pytest.approx(1 / 3, rel=0.02)
    stretched = np.hstack([rotation, np.zeros((2, 2))])  # half of the elements never err
    assert coarsest_bins(values, 1 / 12, stretched) == pytest.approx(math.sqrt(2), rel=0.02)


def test_gaussian_values_reach_the_differential_entropy():
    z = RNG.normal(size=(200_000, 1)) * 5
    width = 0.5
    want = norm(scale=5).entropy() / math.log(2) - math.log2(width)
    got = description_length(z, width**2 / 12)
    assert got.value == pytest.approx(want, abs=0.02)
    low, high = got.interval
    assert low < got.value < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.5) / math.log(2) / 447.2, rel=0.02)


def test_the_found_width_is_the_coarsest_within_tolerance():
    z = RNG.exponential(size=(500, 12)) * (RNG.random((500, 12)) < 0.3)
    atoms = RNG.normal(size=(12, 7))
    rest = RNG.normal(size=(500, 7)) + 0.2 * z @ atoms  # correlated with the reconstruction

    def extra(width):
        moved = width * np.rint(z / width) - z
        return ((rest - moved @ atoms) ** 2).mean() - (rest**2).mean()

    width = coarsest_bins(z, 0.05, atoms, residual=rest)
    assert extra(width) <= 0.05 < extra(width * 1.01)
    assert width != coarsest_bins(z, 0.05, atoms)


def test_what_may_be_rounded_to_zero_costs_nothing():
    z = RNG.normal(size=(50, 3))
    loose = (z**2).mean()
    assert coarsest_bins(z, loose * 1.0001) == math.inf
    assert description_length(z, loose * 1.0001).value == 0
    assert description_length(z, loose * 0.5).value > 0
    assert description_length(np.zeros((4, 3)), 1e-3).value == 0


def test_silent_latents_cost_nothing_and_rare_ones_little():
    z = np.zeros((1000, 3))
    z[:, 1] = 7.0  # always on, always the same
    z[:10, 2] = 1.0
    got = coded_bits(z, 0.5)
    np.testing.assert_allclose(got.per, [0, 0, entropy([10, 990], base=2)], atol=1e-12)
    assert got.interval[0] < got.value < got.interval[1]


def test_a_model_is_read_in_the_users_units():
    atoms = 4.0 * np.eye(3)
    z = RNG.uniform(0, 10, (400, 3))
    read = description_length(z, 0.01, model(lambda x: x, atoms))
    assert read.value == description_length(z, 0.01, atoms).value
    assert read.value == description_length(4.0 * z, 0.01).value


def test_the_dense_reference_ignores_rotations_and_small_components():
    scales = np.array([8.0, 4.0, 0.05, 0.01])
    rows = RNG.normal(size=(4000, 4)) * scales
    rotation = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    distortion = 0.2
    turned = dense_length(rows @ rotation + 3.0, distortion)
    assert turned.value == pytest.approx(dense_length(rows, distortion).value, rel=0.01)
    assert (np.sort(turned.per)[:2] < 1e-9).all()
    width = coarsest_bins(rows, distortion)
    want = sum(norm(scale=s).entropy() / math.log(2) - math.log2(width) for s in scales[:2])
    assert turned.value == pytest.approx(want, rel=0.02)
    held = dense_length(rows[:2000], distortion, basis=rows[2000:])
    assert held.value == pytest.approx(turned.value, rel=0.03)
    assert dense_length(rows, distortion, fixed=True).value > turned.value


def test_images_are_flattened():
    rows = RNG.normal(size=(60, 2, 3))
    assert dense_length(rows, 0.1).value == dense_length(rows.reshape(60, 6), 0.1).value


def test_one_hot_codes():
    assert one_hot_length(np.arange(1024)).value == pytest.approx(10.0)
    assert one_hot_length(np.zeros(9, dtype=int)).value == 0
    assert one_hot_length(torch.tensor([0, 0, 1, 7])).value == pytest.approx(1.5)


def test_misuse_is_one_sentence():
    z = np.ones((3, 2))
    with pytest.raises(IsthmusError, match="pass a positive number"):
        description_length(z, 0.0)
    with pytest.raises(IsthmusError, match="pass a positive number"):
        description_length(z, math.nan)
    with pytest.raises(IsthmusError, match="below what rounding"):
        description_length(RNG.normal(size=(5, 2)), 1e-40)
    with pytest.raises(IsthmusError, match="3 atoms for 2 latents"):
        description_length(z, 0.1, np.eye(3))
    with pytest.raises(IsthmusError, match=r"pass \(3, 2\)"):
        description_length(z, 0.1, residual=np.ones((3, 4)))
    with pytest.raises(IsthmusError, match="empty"):
        description_length(np.ones((0, 2)), 0.1)
    with pytest.raises(IsthmusError, match="NaN"):
        description_length(np.full((2, 2), np.nan), 0.1)
    with pytest.raises(IsthmusError, match="positive width"):
        coded_bits(z, 0.0)
    with pytest.raises(IsthmusError, match="rows of one length"):
        dense_length(z, 0.1, basis=np.ones((3, 4)))
    with pytest.raises(IsthmusError, match="one integer"):
        one_hot_length(np.ones(3))
