"""What counts as active."""

import pytest
import torch

from isthmus.anatomy import Code, SparseCode, ThresholdCode
from isthmus.interpretation.features.stream import active

Z = torch.tensor([[0.0, -2.0, 3.0], [1.0, 0.0, -0.5]])


@pytest.mark.parametrize(
    "code", [ThresholdCode(Z), SparseCode(torch.tensor([[-2.0, 3.0], [1.0, -0.5]]),
                                          torch.tensor([[1, 2], [0, 2]]), 3)],
)  # fmt: skip
def test_of_sparse_codes_what_is_not_zero_whatever_its_sign(code):
    token, latent, value = active(code)
    assert token.tolist() == [0, 0, 1, 1]
    assert latent.tolist() == [1, 2, 0, 2]
    assert value.tolist() == [-2.0, 3.0, 1.0, -0.5]


def test_of_dense_codes_what_is_positive():
    token, latent, value = active(Code(Z))
    assert (token.tolist(), latent.tolist(), value.tolist()) == ([0, 1], [2, 0], [3.0, 1.0])
