"""Stitching: what a linear map carries over, and what it does not."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from isthmus.errors import IsthmusError
from isthmus.evaluation.similarity import stitching


def arrays(n=400, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 6)) + 2.0
    return a, a @ rng.normal(size=(6, 4)) - 1.0


def test_a_linear_map_loses_nothing_and_independent_rows_everything():
    a, b = arrays()
    assert stitching(a, b).value == pytest.approx(1.0, abs=1e-6)
    noise = np.random.default_rng(1).normal(size=b.shape)
    assert -0.2 < stitching(a, noise).value < 0.05


def test_the_share_is_that_of_a_regression_on_the_same_halves():
    a, b = arrays()
    b = b + np.random.default_rng(2).normal(size=b.shape) * 2.0
    order = np.random.default_rng(0).permutation(400)
    fitted, held = order[:200], order[200:]
    peer = LinearRegression().fit(a[fitted], b[fitted])
    left = np.square(peer.predict(a[held]) - b[held]).sum()
    expected = 1 - left / np.square(b[held] - b[held].mean(0)).sum()
    assert stitching(a, b).value == pytest.approx(expected, abs=0.02)


def test_only_what_the_head_reads_counts():
    a, b = arrays()
    b[:, 3] = np.random.default_rng(3).normal(size=400) * 50.0
    assert stitching(a, b).value < 0.5
    assert stitching(a, b, lambda rows: rows[:, :3] ** 2).value == pytest.approx(1.0, abs=1e-6)
    assert stitching(a, b, lambda rows: np.tanh(rows[:, 3])).value < 0.1


def test_what_cannot_be_is_one_sentence():
    a, b = arrays()
    with pytest.raises(IsthmusError, match="always the same"):
        stitching(a, b, lambda rows: np.zeros(len(rows)))
    with pytest.raises(IsthmusError, match="head=3 cannot be called: pass a function"):
        stitching(a, b, 3)
    with pytest.raises(IsthmusError, match="20 or more rows"):
        stitching(a[:10], b[:10])
