import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from isthmus import IsthmusError
from isthmus.evaluation import CodebookCounts, codebook, codebook_use, perplexity


def test_uniform_choices_use_every_entry():
    indices = np.arange(64).reshape(64, 1) % 16
    assert perplexity(indices, 16).value == pytest.approx(16)
    assert codebook_use(indices, 16).value == 1.0


def test_one_entry_has_perplexity_one():
    indices = np.full((10, 3), 5)
    assert perplexity(indices, 8).value == 1.0
    assert codebook_use(indices, 8).value == 1 / 8


@given(st.integers(1, 50), st.integers(1, 4), st.integers(0, 9))
def test_perplexity_is_the_exponential_of_scipy_entropy(rows, positions, seed):
    indices = np.random.default_rng(seed).integers(0, 6, (rows, positions))
    result = perplexity(indices, 6)
    counts = np.stack([np.bincount(column, minlength=6) for column in indices.T])
    assert result.value == pytest.approx(np.exp(entropy(counts.sum(0))), rel=1e-12)
    np.testing.assert_allclose(result.per, np.exp(entropy(counts, axis=1)), rtol=1e-12)
    own = perplexity(indices, 6, per_position=True)
    assert own.value == pytest.approx(result.per.mean(), rel=1e-12)


def test_positions_with_codebooks_of_their_own_are_not_pooled():
    indices = np.array([[0, 1], [0, 1]])
    assert codebook_use(indices, 2).value == 1.0
    assert codebook_use(indices, 2, per_position=True).value == 0.5


def test_batches_add_up_and_positions_keep_their_shape():
    indices = torch.from_numpy(np.random.default_rng(0).integers(0, 7, (20, 2, 3)))
    counts = CodebookCounts(7).update(indices[:3]).update(indices[3:])
    assert counts.perplexity().value == perplexity(indices, 7).value
    assert counts.perplexity().per.shape == (2, 3)
    assert counts.use().n == 20


def test_a_large_table_is_pooled(monkeypatch):
    indices = np.random.default_rng(0).integers(0, 7, (20, 5))
    wanted = perplexity(indices, 7).value
    monkeypatch.setattr(codebook, "LARGEST_TABLE", 10)
    pooled = perplexity(indices, 7)
    assert pooled.value == pytest.approx(wanted, rel=1e-12)
    assert pooled.per is None


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="index 8 is no entry of a codebook of 8"):
        perplexity(np.array([[8]]), 8)
    with pytest.raises(IsthmusError, match="index -1"):
        perplexity(np.array([[-1]]), 8)
    with pytest.raises(IsthmusError, match=r"shape \(2,\) follow indices of shape \(1,\)"):
        CodebookCounts(3).update(np.zeros((1, 1), int)).update(np.zeros((1, 2), int))
    with pytest.raises(IsthmusError, match="no indices have been seen"):
        CodebookCounts(3).use()
