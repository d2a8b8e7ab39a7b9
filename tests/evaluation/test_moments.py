import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus import IsthmusError
from isthmus.evaluation import Moments


def cut(rows, edges):
    return np.split(rows, sorted({e % len(rows) for e in edges} - {0}))


@given(st.lists(st.integers(0, 10_000), max_size=8), st.integers(2, 60), st.integers(0, 3))
def test_any_cutting_gives_the_moments_of_the_whole(edges, rows, seed):
    data = np.random.default_rng(seed).normal(1e3, 2.0, (rows, 2, 3))
    streamed = Moments()
    for part in cut(data, edges):
        streamed.update(part)
    assert streamed.count == rows
    np.testing.assert_allclose(streamed.mean, data.mean(0), rtol=1e-12)
    np.testing.assert_allclose(streamed.variance(1), data.var(0, ddof=1), rtol=1e-12, atol=0)


def test_merging_accumulators_equals_one_stream():
    data = np.random.default_rng(0).normal(size=(50, 4))
    merged = Moments().update(data[:13]).merge(Moments()).merge(Moments().update(data[13:]))
    np.testing.assert_allclose(merged.variance(), data.var(0), rtol=1e-12)
    np.testing.assert_allclose(
        merged.standard_error(), data.std(0, ddof=1) / np.sqrt(50), rtol=1e-12
    )


def test_a_huge_mean_cancels_nothing():
    data = np.array([0.0, 1.0, 2.0, 3.0]) + 1e9
    streamed = Moments()
    for value in data:
        streamed.update(np.array([value]))
    assert streamed.variance() == pytest.approx(1.25, rel=1e-12)


def test_float32_tensors_with_gradients_are_read_in_float64():
    rows = torch.full((3, 1), 0.1, requires_grad=True)
    assert Moments().update(rows).mean[0] == np.float64(np.float32(0.1))


def test_constant_elements_are_found_despite_rounding():
    data = np.stack([np.full(1001, 0.1), np.linspace(0, 1e-9, 1001) + 0.1], 1)
    assert Moments().update(data).constant().tolist() == [True, False]


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="empty"):
        Moments().update(np.zeros((0, 3)))
    with pytest.raises(IsthmusError, match=r"\(2,\) follow rows of shape \(3,\)"):
        Moments().update(np.zeros((1, 3))).update(np.zeros((1, 2)))
    with pytest.raises(IsthmusError, match="no rows have been seen"):
        _ = Moments().mean
