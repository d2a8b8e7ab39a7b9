import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from isthmus import IsthmusError
from isthmus.anatomy import SparseCode
from isthmus.evaluation import Spectrum, latent_rank, latent_std, numerical_rank

from .test_sparsity import sparse
from .tiny import NoDenseCode


def planted(rows, width, rank, seed=0):
    """Centred codes with ``rank`` equal singular values, by orthogonal factors."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(np.c_[np.ones(rows), rng.normal(size=(rows, rank))])[0][:, 1:]
    right = np.linalg.qr(rng.normal(size=(width, rank)))[0]
    return left @ right.T


@pytest.mark.parametrize("rank", [1, 4, 9])
def test_planted_rank_is_found(rank):
    z = planted(60, 12, rank) + 5.0
    assert latent_rank(z).value == pytest.approx(rank, rel=1e-6)
    assert numerical_rank(z).value == rank
    assert numerical_rank(z.astype(np.float32)).value == rank


def test_effective_rank_is_the_entropy_of_singular_values():
    z = np.random.default_rng(0).normal(size=(80, 7)) * np.arange(1, 8) + 100
    values = np.linalg.svd(z - z.mean(0), compute_uv=False)
    result = latent_rank(z)
    assert result.value == pytest.approx(np.exp(entropy(values)), rel=1e-9)
    np.testing.assert_allclose(result.per, values / math.sqrt(80), rtol=1e-9)


def test_effective_rank_ignores_rotation_shift_and_scale():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 5)) * np.arange(1, 6)
    turned = 3 * z @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 10
    assert latent_rank(turned).value == pytest.approx(latent_rank(z).value, rel=1e-9)


def test_numerical_rank_counts_above_the_tolerance():
    z = planted(40, 3, 3) @ np.diag([1, 1e-3, 1e-6])
    assert numerical_rank(z, tolerance=1e-5).value == 2
    assert numerical_rank(z, tolerance=1e-2).value == 1


@given(st.lists(st.integers(0, 999), max_size=6), st.booleans())
def test_any_cutting_of_sparse_or_dense_codes_gives_the_same_spectrum(edges, dense):
    code = sparse(40, 2, 18)
    z = code.z.numpy()
    wanted = np.linalg.svd(z - z.mean(0), compute_uv=False) / math.sqrt(40)
    spectrum = Spectrum()
    for part in np.split(np.arange(40), sorted({e % 40 for e in edges} - {0})):
        piece = NoDenseCode(code.values[part], code.indices[part], 18)
        spectrum.update(z[part] if dense else piece)
    np.testing.assert_allclose(spectrum.singular_values(), wanted, atol=1e-8)
    assert spectrum.effective_rank().n == 40


def test_a_wide_selection_takes_the_dense_path_to_the_same_value():
    code = sparse(30, 6, 10)
    assert latent_rank(code).value == pytest.approx(latent_rank(code.z).value, rel=1e-12)


def test_collapsed_codes_have_no_effective_rank():
    z = torch.full((9, 3), 0.1) * (1 + 1e-7 * torch.randn(9, 3))
    assert math.isnan(latent_rank(z).value)
    assert latent_rank(z).note == "the codes do not vary"
    assert numerical_rank(z).value == 0
    assert numerical_rank(z[:1]).value == 0


def test_codes_with_nan_give_nan_with_a_note():
    z = np.eye(4)
    z[1, 2] = np.nan
    for measure in (latent_rank, numerical_rank):
        assert math.isnan(measure(z).value)
        assert measure(z).note == "the codes contain NaN or infinity"


def test_latent_std_shows_the_collapsed_dimension():
    z = np.random.default_rng(0).normal(size=(30, 3)) * [2.0, 1.0, 0.0] + 7
    result = latent_std(z)
    np.testing.assert_allclose(result.per, z.std(0), atol=1e-15)
    assert result.value == pytest.approx(z.std(0).mean())


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="empty"):
        latent_rank(np.zeros((0, 3)))
    with pytest.raises(IsthmusError, match="2 latents follow codes of 3"):
        Spectrum().update(np.eye(3)).update(np.eye(2))
    with pytest.raises(IsthmusError, match="no codes have been seen"):
        Spectrum().effective_rank()
    with pytest.raises(IsthmusError, match="empty"):
        latent_rank(SparseCode(torch.zeros(0, 1), torch.zeros(0, 1, dtype=torch.int64), 9))
