"""Codes by least squares under a price: SciPy's, and the conditions of a minimum."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from isthmus.bottlenecks import priced_codes
from isthmus.errors import IsthmusError


def problem(seed, rows, width, d):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(rows, d))), torch.from_numpy(
        rng.normal(size=(width, d))
    )


def test_without_a_price_it_is_non_negative_least_squares():
    x, atoms = problem(0, 30, 8, 12)
    expected = [nnls(atoms.numpy().T, row)[0] for row in x.numpy()]
    np.testing.assert_allclose(priced_codes(x, atoms, non_negative=True), expected, atol=1e-5)


def test_without_a_price_and_a_sign_it_is_least_squares():
    x, atoms = problem(1, 30, 8, 12)
    expected = np.linalg.lstsq(atoms.numpy().T, x.numpy().T, rcond=None)[0].T
    np.testing.assert_allclose(priced_codes(x, atoms), expected, atol=1e-4)


def test_of_orthonormal_atoms_it_is_soft_thresholding():
    x, _ = problem(2, 30, 8, 8)
    atoms = torch.linalg.qr(torch.randn(8, 8, dtype=torch.double)).Q
    u = x @ atoms.T
    shrunk = u.sign() * (u.abs() - 0.7).clamp_min(0)
    torch.testing.assert_close(priced_codes(x, atoms, 0.7), shrunk, atol=1e-6, rtol=0)
    rectified = (u - 0.7).clamp_min(0)
    codes = priced_codes(x, atoms, 0.7, non_negative=True)
    torch.testing.assert_close(codes, rectified, atol=1e-6, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 40), st.integers(1, 10),
    st.floats(0.05, 3.0), st.booleans(),
)  # fmt: skip
def test_the_conditions_of_a_minimum_hold(seed, rows, width, d, penalty, non_negative):
    """Karush, Kuhn, Tucker: the gradient is minus the price where a code is, and within it else."""
    x, atoms = problem(seed, rows, width, d)
    z = priced_codes(x, atoms, penalty, non_negative=non_negative)
    gradient = (z @ atoms - x) @ atoms.T
    near = 1e-3 * float((x @ atoms.T).abs().max())
    on = z != 0
    assert ((gradient + penalty * z.sign())[on].abs() <= near).all()
    outside = gradient[~on]
    assert (outside >= -penalty - near).all()
    if non_negative:
        assert (z >= 0).all()
    else:
        assert (outside <= penalty + near).all()


def test_a_row_depends_on_no_other_and_a_price_above_all_products_leaves_nothing():
    x, atoms = problem(3, 20, 30, 10)
    whole = priced_codes(x, atoms, 0.5)
    alone = torch.cat([priced_codes(row[None], atoms, 0.5) for row in x])
    torch.testing.assert_close(whole, alone, atol=1e-8, rtol=0)
    most = 1.001 * float((x @ atoms.T).abs().max())
    assert not priced_codes(x, atoms, most).any()
    assert priced_codes(x[:0], atoms).shape == (0, 30)
    with pytest.raises(IsthmusError, match="must not be negative"):
        priced_codes(x, atoms, -1.0)
