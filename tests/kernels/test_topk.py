"""The k largest, rectified, against sorting."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernels import topk_relu


@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 1000), st.data())
def test_against_a_full_sort(rows, width, seed, data):
    k = data.draw(st.integers(1, width))
    u = np.random.default_rng(seed).normal(size=(rows, width))
    values, indices = topk_relu(torch.from_numpy(u), k)
    assert values.shape == indices.shape == (rows, k)
    largest = np.sort(u, 1)[:, ::-1][:, :k]
    np.testing.assert_array_equal(np.sort(values.numpy(), 1)[:, ::-1], np.maximum(largest, 0.0))
    np.testing.assert_array_equal(
        values.numpy(), np.maximum(np.take_along_axis(u, indices.numpy(), 1), 0.0)
    )
    assert all(len(set(row)) == k for row in indices.tolist())


def test_gradients_reach_selected_positive_entries_only():
    u = torch.tensor([[3.0, -1.0, 2.0, -2.0, 1.0]], requires_grad=True)
    values, _ = topk_relu(u, 4)
    values.sum().backward()
    assert u.grad.tolist() == [[1.0, 0.0, 1.0, 0.0, 1.0]]
    u.grad = None
    topk_relu(u, 2)[0].sum().backward()
    assert u.grad.tolist() == [[1.0, 0.0, 1.0, 0.0, 0.0]]
