"""Matching pursuit against loops in NumPy, scikit-learn, and finite differences."""

import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from isthmus.bottlenecks import matching_pursuit
from isthmus.errors import IsthmusError


def rows_and_atoms(rows=20, width=40, d=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.randn(width, d, generator=generator, dtype=torch.float64)
    x = torch.randn(rows, d, generator=generator, dtype=torch.float64)
    return x, torch.nn.functional.normalize(atoms, dim=1)


def by_loop(x, atoms, k, tolerance=0.0, until_repeat=False):
    """Dense coefficients ``(rows, width)`` by the definition."""
    z = np.zeros((len(x), len(atoms)))
    for n, row in enumerate(x):
        left = row.copy()
        for _ in range(k):
            products = atoms @ left
            best = products.argmax()
            if products[best] <= 0:
                break
            repeated = z[n, best] > 0
            z[n, best] += products[best]
            left = left - products[best] * atoms[best]
            if np.linalg.norm(left) <= tolerance or (until_repeat and repeated):
                break
    return z


def dense(values, indices, width):
    return torch.zeros(len(values), width, dtype=values.dtype).scatter_add(1, indices, values)


@pytest.mark.parametrize("k", [1, 3, 12])
@pytest.mark.parametrize("held", [True, False])
def test_coefficients_are_those_of_the_definition(monkeypatch, k, held):
    module = sys.modules[matching_pursuit.__module__]
    monkeypatch.setattr(module, "_GRAM", 1 << 26 if held else 0)
    monkeypatch.setattr(module, "_BLOCK", 200)  # several blocks
    x, atoms = rows_and_atoms()
    values, indices = matching_pursuit(x, atoms, k)
    expected = by_loop(x.numpy(), atoms.numpy(), k)
    np.testing.assert_allclose(dense(values, indices, 40), expected, atol=1e-12)
    # No latent is named twice with a value: a latent that fired is counted once.
    for row, places in zip(values, indices, strict=True):
        on = places[row != 0].tolist()
        assert len(on) == len(set(on))


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize(("tolerance", "until_repeat"), [(1.5, False), (0.0, True), (0.9, True)])
def test_rows_end_before_k_steps_as_the_definition_has_it(tolerance, until_repeat, free):
    x, atoms = rows_and_atoms(rows=60)
    if free:  # longer atoms overshoot, shorter ones leave something of themselves
        atoms = atoms * torch.linspace(0.7, 1.3, 40, dtype=torch.float64)[:, None]
    options = {"tolerance": tolerance, "until_repeat": until_repeat}
    values, indices = matching_pursuit(x, atoms, 60, **options)
    assert values.shape == (60, 60)
    expected = by_loop(x.numpy(), atoms.numpy(), 60, **options)
    np.testing.assert_allclose(dense(values, indices, 40), expected, atol=1e-12)
    whole = by_loop(x.numpy(), atoms.numpy(), 60)
    assert not np.allclose(expected, whole)
    assert torch.autograd.gradcheck(
        lambda x, atoms: matching_pursuit(x, atoms, 12, **options)[0],
        (x[:3].requires_grad_(), atoms.requires_grad_()),
    )


def test_what_is_left_over_never_grows_and_is_orthogonal_to_the_last_atom():
    x, atoms = rows_and_atoms()
    lengths = [x.norm(dim=1)]
    for k in range(1, 10):
        values, indices = matching_pursuit(x, atoms, k)
        left = x - dense(values, indices, 40) @ atoms
        lengths.append(left.norm(dim=1))
        assert (lengths[-1] <= lengths[-2] + 1e-12).all()
        before = x - dense(*matching_pursuit(x, atoms, k - 1), 40) @ atoms if k > 1 else x
        best = (before @ atoms.T).argmax(1)
        torch.testing.assert_close(
            (left * atoms[best]).sum(1), torch.zeros(20, dtype=torch.float64), atol=1e-12, rtol=0
        )


def test_orthogonal_pursuit_is_scikit_learns_where_all_products_are_positive():
    # A dictionary that holds every atom's negative takes whichever product is largest in size.
    x, atoms = rows_and_atoms()
    both = torch.cat([atoms, -atoms])
    values, indices = matching_pursuit(x, both, 5, orthogonal=True)
    z = dense(values, indices, 80)
    signed = (z[:, :40] - z[:, 40:]).numpy()
    expected = orthogonal_mp(atoms.numpy().T, x.numpy().T, n_nonzero_coefs=5).T
    np.testing.assert_allclose(signed, expected, atol=1e-4)
    np.testing.assert_array_equal(signed != 0, expected != 0)


@pytest.mark.parametrize("k", [1, 4, 10])
def test_signed_orthogonal_pursuit_is_scikit_learns(k):
    x, atoms = rows_and_atoms(seed=3)
    values, indices = matching_pursuit(x, atoms, k, orthogonal=True, signed=True)
    expected = orthogonal_mp(atoms.T.numpy(), x.T.numpy(), n_nonzero_coefs=k).T
    np.testing.assert_allclose(dense(values, indices, len(atoms)), expected, atol=1e-4)


def test_signed_pursuit_sees_a_row_and_its_opposite_alike():
    x, atoms = rows_and_atoms(seed=4)
    both = [dense(*matching_pursuit(s * x, atoms, 5, signed=True), len(atoms)) for s in (1, -1)]
    np.testing.assert_allclose(both[0], -both[1], atol=1e-6)
    assert (both[0] < 0).any()


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("k", [1, 4])
def test_gradients_are_those_of_finite_differences(orthogonal, k):
    x, atoms = rows_and_atoms(rows=5, width=12, d=8)

    def coefficients(x, atoms):
        return matching_pursuit(x, atoms, k, orthogonal=orthogonal)[0]

    assert torch.autograd.gradcheck(
        coefficients, (x.requires_grad_(), atoms.requires_grad_()), atol=1e-4
    )


def test_gradients_are_those_of_the_unrolled_steps():
    x, atoms = rows_and_atoms(rows=6)
    atoms.requires_grad_()
    values, indices = matching_pursuit(x, atoms, 6)
    target = torch.randn(6, 40, dtype=torch.float64)
    (dense(values, indices, 40) * target).sum().backward()
    ours, atoms.grad = atoms.grad, None
    left, z = x, torch.zeros(6, 40, dtype=torch.float64)
    for _ in range(6):
        best = (left @ atoms.T).detach().argmax(1)
        amount = torch.relu((left * atoms[best]).sum(1))
        z = z.scatter_add(1, best[:, None], amount[:, None])
        left = left - amount[:, None] * atoms[best]
    (z * target).sum().backward()
    torch.testing.assert_close(ours, atoms.grad)


def test_a_row_ends_where_nothing_is_positive_or_little_is_left():
    atoms = torch.eye(4, dtype=torch.float64)
    x = torch.tensor([[3.0, 0.1, 0, 0], [-1, -1, -1, -1], [0, 0, 0, 0]], dtype=torch.float64)
    values, indices = matching_pursuit(x, atoms, 3)
    torch.testing.assert_close(dense(values, indices, 4), torch.relu(x))
    values, indices = matching_pursuit(x, atoms, 3, tolerance=0.5)
    expected = torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(dense(values, indices, 4), expected)


def test_what_cannot_be_is_one_sentence():
    x, atoms = rows_and_atoms()
    with pytest.raises(IsthmusError, match="k=0 must be positive"):
        matching_pursuit(x, atoms, 0)
    with pytest.raises(IsthmusError, match="at most 16 of these atoms"):
        matching_pursuit(x, atoms, 17, orthogonal=True)
    assert matching_pursuit(x[:0], atoms, 3)[0].shape == (0, 3)
