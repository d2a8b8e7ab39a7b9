"""The codebook of vectors, and the grid of shapes."""

import numpy as np
import torch

from isthmus.studies.quantised.qlae import _grid
from isthmus.studies.quantised.vectors import VectorCodebook


def test_each_position_takes_its_nearest_vector():
    torch.manual_seed(0)
    book = VectorCodebook(3, 5, 2)
    h = torch.randn(7, 6)
    code = book(h)
    values, pieces = book.values.detach().numpy(), h.numpy().reshape(7, 3, 2)
    distances = np.linalg.norm(pieces[:, :, None] - values, axis=3)
    np.testing.assert_array_equal(code.indices.numpy(), distances.argmin(2))
    np.testing.assert_array_equal(code.z.numpy(), values[distances.argmin(2)].reshape(7, 6))
    assert code.codebook_size == 5


def test_gradients_pass_straight_through_and_values_get_their_own():
    book, h = VectorCodebook(2, 4, 3), torch.randn(5, 6, requires_grad=True)
    weight = torch.randn(5, 6)
    code = book(h)
    (code.z * weight).sum().backward()
    torch.testing.assert_close(h.grad, weight)
    assert book.values.grad is None
    code.quantised.sum().backward()
    used = torch.bincount(code.indices.flatten(), minlength=4)
    torch.testing.assert_close(book.values.grad, used[:, None].expand(4, 3).float())


def test_the_grid_is_full_and_all_its_images_differ():
    images, factors = _grid()
    assert images.shape == (432, 1, 16, 16)
    assert [len(np.unique(column)) for column in factors.T] == [3, 4, 6, 6]
    assert len(np.unique(factors, axis=0)) == 432
    assert len(np.unique(images.reshape(432, -1), axis=0)) == 432
    assert images.min() == 0.0
    assert images.max() == 1.0
