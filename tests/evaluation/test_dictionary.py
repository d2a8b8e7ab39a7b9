import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.pairwise import cosine_similarity

from isthmus import IsthmusError
from isthmus.anatomy import Scaler, SparseCode
from isthmus.evaluation import (
    antipodal_share,
    decoder_cosine,
    dictionary,
    matched_cosine,
    mean_max_cosine,
    recovery,
)
from isthmus.evaluation import cosines as _dictionaries

from .tiny import Dense, SparseDecoder, TopK, tiny


def made(latents, truths, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(latents, d)) * 3, rng.normal(size=(truths, d))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(0, 9), st.booleans())
def test_recovery_is_that_of_the_full_table_of_cosines(latents, truths, d, seed, signed):
    rows, directions = made(latents, truths, d, seed)
    table = cosine_similarity(directions, rows)
    table = np.abs(table) if signed else table
    best = table.max(1)
    got = mean_max_cosine(rows, directions, signed=signed)
    np.testing.assert_allclose(got.per, best, atol=1e-12)
    assert got.value == pytest.approx(best.mean(), abs=1e-12)
    assert got.n == truths
    assert recovery(rows, directions, 0.5, signed=signed).value == (best > 0.5).mean()
    left, right = linear_sum_assignment(table, maximize=True)
    own = np.zeros(truths)
    own[left] = table[left, right]
    matched = matched_cosine(rows, directions, signed=signed)
    assert matched.value == pytest.approx(own.sum() / truths, abs=1e-12)
    assert matched.per.mean() == pytest.approx(matched.value, abs=1e-12)


@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 9))
def test_nearest_and_opposite_latents_are_those_of_the_full_table(latents, d, seed):
    rows = made(latents, 1, d, seed)[0]
    table = cosine_similarity(rows)
    others = table[~np.eye(latents, dtype=bool)].reshape(latents, -1)
    np.testing.assert_allclose(decoder_cosine(rows).per, others.max(1), atol=1e-12)
    absolute = decoder_cosine(rows, signed=True)
    assert absolute.value == pytest.approx(np.abs(others).max(1).mean(), abs=1e-12)
    opposed = antipodal_share(rows, -0.5)
    np.testing.assert_allclose(opposed.per, others.min(1), atol=1e-12)
    assert opposed.value == (opposed.per < -0.5).mean()


def test_pieces_change_nothing(monkeypatch):
    rows, directions = made(40, 30, 4, 0)
    whole = [mean_max_cosine(rows, directions), decoder_cosine(rows), antipodal_share(rows)]
    monkeypatch.setattr(_dictionaries, "PIECE", 90)
    parts = [mean_max_cosine(rows, directions), decoder_cosine(rows), antipodal_share(rows)]
    for before, after in zip(whole, parts, strict=True):
        np.testing.assert_allclose(before.per, after.per, atol=1e-12)


def test_memory_is_a_piece_not_the_table(monkeypatch):
    monkeypatch.setattr(_dictionaries, "PIECE", 1000)
    sizes = []
    pieces = _dictionaries.cosines

    def watched(a, b):
        for start, block in pieces(a, b):
            sizes.append(block.numel())
            yield start, block

    monkeypatch.setattr(_dictionaries, "cosines", watched)
    decoder_cosine(np.random.default_rng(0).normal(size=(300, 3)))
    assert max(sizes) <= 1000
    assert sum(sizes) == 300**2


def test_truth_that_is_known():
    truth = np.eye(4)
    rows = np.array([[0, 2.0, 0, 0], [3, 0, 0, 0], [1, 1, 0, 0], [0, 0, -5, 0]])
    assert mean_max_cosine(rows, truth).value == pytest.approx(0.5)
    assert mean_max_cosine(rows, truth, signed=True).value == pytest.approx(0.75)
    assert recovery(rows, truth).value == 0.5
    assert recovery(rows, truth, signed=True).value == 0.75
    np.testing.assert_allclose(matched_cosine(rows, truth, signed=True).per, [1, 1, 1, 0])


def test_one_latent_serves_many_truths_but_is_matched_to_one():
    truths = np.array([[1.0, 0], [0.9, 0.1], [0.9, -0.1]])
    assert mean_max_cosine(truths[:1], truths).value > 0.99
    got = matched_cosine(truths[:1], truths)
    assert got.value == pytest.approx(1 / 3)
    assert "2 truths are left without a latent" in got.note


def test_antipodal_pairs_are_counted_by_latent():
    rows = np.array([[1.0, 0, 0], [-2, 0.1, 0], [0, 1, 0], [0, 0, 1]])
    assert antipodal_share(rows).value == 0.5
    assert decoder_cosine(np.eye(5)).value == 0
    assert decoder_cosine(np.ones((3, 2))).value == pytest.approx(1)


def test_a_row_of_zeros_is_near_nothing():
    rows = np.array([[0.0, 0], [1, 0]])
    assert decoder_cosine(rows).value == 0
    assert mean_max_cosine(rows, np.array([[0.0, 1]])).value == 0


def test_a_model_is_read_in_the_users_units():
    scaler = Scaler((5,), "columns")
    scaler.fit(torch.tensor(np.random.default_rng(0).normal(0, [1, 5, 9, 1, 2], (50, 5))))
    model = tiny(TopK(2), latent=8, decoder=SparseDecoder(8, 5), scaler=scaler)
    unit = SparseCode(torch.ones(9, 1), torch.arange(9)[:, None] % 8, 8)
    unit.values[8] = 0
    recon = model.decode(unit)  # what one unit of each latent adds, and what none adds
    rows = recon[:8] - recon[8]
    truth = np.random.default_rng(1).normal(size=(6, 5))
    expected = mean_max_cosine(rows, truth)
    np.testing.assert_allclose(mean_max_cosine(model, truth).per, expected.per, atol=1e-6)


def test_misuse_is_one_sentence(monkeypatch):
    rows = np.eye(3)
    with pytest.raises(IsthmusError, match="true direction 1 is zero"):
        mean_max_cosine(rows, np.array([[1.0, 0, 0], [0, 0, 0]]))
    with pytest.raises(IsthmusError, match="3 elements cannot be compared with rows of 2"):
        mean_max_cosine(rows[:, :2], rows)
    with pytest.raises(IsthmusError, match="shape"):
        mean_max_cosine(rows[0], rows)
    with pytest.raises(IsthmusError, match="NaN"):
        decoder_cosine(rows * np.nan)
    with pytest.raises(IsthmusError, match="one latent"):
        antipodal_share(rows[:1])
    with pytest.raises(IsthmusError, match="no dictionary"):
        decoder_cosine(tiny(Dense()))
    monkeypatch.setattr(dictionary, "LARGEST_ASSIGNMENT", 8)
    with pytest.raises(IsthmusError, match="too many to assign"):
        matched_cosine(rows, rows)
