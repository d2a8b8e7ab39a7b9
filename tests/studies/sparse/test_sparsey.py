"""What codes share, and what of it follows what the examples share."""

import numpy as np
import pytest
from scipy.stats import rankdata

from isthmus.studies.sparse.sparsey import nearest, random_codes, rank_correlation


def rows(n=40, d=30, seed=0):
    return (np.random.default_rng(seed).random((n, d)) < 0.3).astype(np.float32)


def test_the_correlation_is_that_of_ranks_of_counted_overlaps():
    x, codes = rows(), rows(seed=1)
    pairs = np.random.default_rng(2).integers(40, size=(2, 300))
    counts = [
        [len(set(np.flatnonzero(part[i])) & set(np.flatnonzero(part[j]))) for i, j in pairs.T]
        for part in (x, codes)
    ]
    expected = np.corrcoef(*(rankdata(count) for count in counts))[0, 1]
    assert rank_correlation(x, codes, pairs) == pytest.approx(expected)
    assert rank_correlation(x, np.concatenate([x, x], 1), pairs) == pytest.approx(1.0)


def test_the_nearest_code_is_the_one_that_shares_the_most_winners():
    stored = random_codes(20, np.random.default_rng(0), modules=12, units=5)
    assert (stored.reshape(20, 12, 5).sum(2) == 1).all()
    np.testing.assert_array_equal(nearest(stored, stored), np.arange(20))
    cut = stored * (np.arange(60) < 40)
    np.testing.assert_array_equal(nearest(cut, stored), np.arange(20))
