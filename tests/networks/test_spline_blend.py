"""The basis against SciPy's splines, and shares within 0 and 1."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from isthmus.errors import IsthmusError
from isthmus.networks.spline_blend import SplineBlend, spline_basis


@pytest.mark.parametrize(("count", "degree"), [(16, 3), (5, 3), (4, 3), (6, 2), (4, 1), (2, 1)])
@pytest.mark.parametrize("places", [1, 2, 7, 40])
def test_the_basis_is_that_of_scipy(count, degree, places):
    positions = torch.linspace(0, 1, places, dtype=torch.float64)
    inner = np.linspace(0, 1, count - degree + 1)
    knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    expected = np.stack(
        [BSpline(knots, row, degree)(positions.numpy()) for row in np.eye(count)], 1
    )
    basis = spline_basis(positions, count, degree)
    np.testing.assert_allclose(basis.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(basis.sum(1).numpy(), 1.0)


def test_shares_follow_the_control_points_and_stay_in_their_range():
    blend = SplineBlend(5)
    assert blend().shape == (5, 1)
    assert ((blend() > 0.44) & (blend() < 0.56)).all()
    with torch.no_grad():
        blend.control.copy_(torch.linspace(0, 1, 16)[:, None])
    shares = blend().flatten()
    assert shares[0] == 0
    assert shares[-1] == 1
    assert (shares.diff() > 0).all()
    with torch.no_grad():
        blend.bias[1] = 2.0
        blend.bias[2] = 50.0
    moved = blend().flatten().detach()
    torch.testing.assert_close(moved[1], shares[1].detach() + 0.2)
    assert moved[2] == 1


def test_a_width_gives_each_element_its_own_share():
    blend = SplineBlend(4, width=3)
    assert blend().shape == (4, 3)
    assert len({tuple(column.tolist()) for column in blend().T}) == 3


def test_what_no_spline_has_is_refused():
    with pytest.raises(IsthmusError, match="use 4 or more"):
        SplineBlend(5, control_points=3)
    with pytest.raises(IsthmusError, match="scale the positions"):
        spline_basis(torch.tensor([1.5]), 8)
