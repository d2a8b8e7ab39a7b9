"""Counts, means, histograms, percentiles and masses, against NumPy on the whole code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.interpretation.features import statistics as statistics_module
from isthmus.interpretation.features.statistics import BINS, FiringStatistics, TokenMass

from .streams import blocks_of, cut, made


def found(z, row, place, token, rows):
    statistics = FiringStatistics(z.shape[1])
    for entries in cut(z, row, place, token, rows):
        statistics.update(entries)
    return statistics


@pytest.mark.parametrize("signed", [False, True])
def test_statistics_are_those_of_the_whole_code(signed):
    z, row, place, token = made()
    if signed:
        z *= np.sign(np.random.default_rng(1).normal(size=z.shape))
    statistics = found(z, row, place, token, 7)
    fired = z != 0
    np.testing.assert_allclose(statistics.rate, fired.mean(0))
    count = np.maximum(1, fired.sum(0))
    np.testing.assert_allclose(statistics.mean, z.sum(0, dtype=np.float64) / count, rtol=1e-5)
    np.testing.assert_array_equal(statistics.top, np.abs(z).max(0))
    for j in range(z.shape[1]):
        counts, low, high = statistics.histograms()[j]
        values = z[fired[:, j], j]
        if len(values) == 0:
            assert len(counts) == 0
            continue
        expected = np.histogram(values, len(counts), (low, high))[0]
        np.testing.assert_array_equal(counts, expected)
        sides = [np.abs(values[s]).max() for s in (values < 0, values > 0) if s.any()]
        assert 17 <= len(counts) <= 64
        assert max(sides) <= max(high, -low)
        assert low == 0 or signed


@settings(max_examples=40)
@given(
    st.lists(st.floats(2.0**-40, 2.0**40, width=32), min_size=1, max_size=60),
    st.integers(1, 60),
)
def test_no_value_is_counted_in_a_wrong_bin(values, size):
    z = np.array(values, np.float32)[:, None]
    statistics = FiringStatistics(1)
    for start in range(0, len(z), size):
        part = z[start : start + size]
        statistics.update(blocks_of(part, np.arange(len(part))))
    counts, low, high = statistics.histograms()[0]
    np.testing.assert_array_equal(counts, np.histogram(z, len(counts), (low, high))[0])
    assert counts[-1] > 0


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 50))
def test_the_blocks_change_nothing(seed, rows):
    z, row, place, token = made(rows=20, places=5, latents=4, seed=seed)
    one, two = found(z, row, place, token, rows), found(z, row, place, token, 20)
    np.testing.assert_array_equal(one._sizes, two._sizes)
    np.testing.assert_allclose(one.total, two.total)
    np.testing.assert_array_equal(one._octave, two._octave)


def test_percentiles_are_those_of_all_values():
    rng = np.random.default_rng(0)
    z = np.stack([rng.exponential(size=5000), rng.lognormal(sigma=2, size=5000)], 1)
    z = z.astype(np.float32)
    statistics = found(z, np.arange(5000), np.zeros(5000, int), np.zeros(5000, int), 700)
    asked = np.quantile(z, np.linspace(0.02, 0.98, 25), axis=0).T.astype(np.float32)
    share = statistics.percentile(np.array([0, 1]), asked)
    expected = (z.T[:, None] < asked[:, :, None]).mean(2)
    np.testing.assert_allclose(share, expected, atol=0.01)


def test_a_latent_whose_size_explodes_keeps_its_counts():
    statistics = FiringStatistics(1)
    for value in (1e-6, 1.0, 1e6):
        statistics.update(blocks_of(np.full((3, 1), value), np.arange(3)))
    assert statistics._sizes.sum() == 9
    assert statistics._sizes[0, 0, 0] == 6  # far below the largest: all in the first bin
    assert statistics._sizes.shape[2] == BINS


Z, ROW, PLACE, TOKEN = made(rows=150)


def mass(rows):
    found = TokenMass(Z.shape[1], 30)
    for entries in cut(Z, ROW, PLACE, TOKEN, rows):
        found.update(entries)
    return found


def truth():
    """Mass of each latent by token, ``(latents, 30)``."""
    sums = np.zeros((Z.shape[1], 30))
    np.add.at(sums.T, TOKEN, Z.astype(np.float64))
    return sums


def test_shares_of_tokens_are_exact():
    expected = truth()
    for j, (token, share) in enumerate(mass(9).heaviest(5)):
        order = np.argsort(-expected[j], kind="stable")[:5]
        order = order[expected[j, order] > 0]
        assert token.tolist() == order.tolist()
        np.testing.assert_allclose(share, expected[j, order] / expected[j].sum(), rtol=1e-5)
    assert [int(t) for t in mass(9).heaviest(5)[1][0]] == [7]


def test_what_is_forgotten_is_bounded(monkeypatch):
    monkeypatch.setattr(statistics_module, "KEPT", 8)
    monkeypatch.setattr(statistics_module, "PENDING", 100)
    found, expected = mass(5), truth()
    assert found.lost.max() > 0
    for j, (token, share) in enumerate(found.heaviest(8)):
        own = share * found.total[j]
        assert (own <= expected[j, token] * (1 + 1e-5)).all()
        assert (own >= expected[j, token] - found.lost[j] * (1 + 1e-5)).all()
        # A token heavier than all that was lost cannot be missing.
        assert set(np.flatnonzero(expected[j] > found.lost[j])) <= set(token)
