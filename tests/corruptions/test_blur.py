import pytest
import torch
from scipy import ndimage

from isthmus.corruptions import GaussianBlur
from isthmus.errors import IsthmusError


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 15, 21), (2, 1, 4)])
def test_blur_agrees_with_scipy(sigma, shape):
    torch.manual_seed(0)
    x = torch.rand(2, *shape)
    expected = ndimage.gaussian_filter(
        x.double().numpy(), sigma, axes=(2, 3), mode="nearest", truncate=4.0
    )
    blurred = GaussianBlur(sigma)(x).x
    torch.testing.assert_close(blurred.double(), torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_no_blur_changes_nothing():
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(GaussianBlur(0.0)(x).x, x)


def test_bad_input_is_named():
    with pytest.raises(IsthmusError, match="GaussianBlur works on images"):
        GaussianBlur(1.0)(torch.rand(2, 5))
    with pytest.raises(IsthmusError, match="GaussianBlur works on images"):
        GaussianBlur(0.0)(torch.rand(2, 5))
    with pytest.raises(IsthmusError, match="sigma=-1"):
        GaussianBlur(-1.0)
