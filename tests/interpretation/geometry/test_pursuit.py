import numpy as np
import pytest
import torch
from torch.nn import functional as F

from isthmus.errors import IsthmusError
from isthmus.interpretation.geometry import gradient_pursuit


def dictionary(latents=40, width=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(latents, width, generator=generator), dim=1)


def rows(n=50, width=12, seed=1):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def by_hand(x, atoms, active):
    """One row in plain NumPy."""
    z, chosen = np.zeros(len(atoms)), np.zeros(len(atoms), bool)
    for _ in range(active):
        residual = x - z @ atoms
        products = atoms @ residual
        if products.max() > 0:
            chosen[products.argmax()] = True
        change = (products * chosen) @ atoms
        z = np.maximum(z + (change @ residual) / (change @ change) * products * chosen, 0.0)
    return z


@pytest.mark.parametrize("active", [1, 3, 8])
def test_it_is_the_loop_over_single_rows(active):
    x, atoms = rows().double(), dictionary().double()
    code = gradient_pursuit(x, atoms, active)
    expected = np.stack([by_hand(row, atoms.numpy(), active) for row in x.numpy()])
    np.testing.assert_allclose(code.z.numpy(), expected, atol=1e-10)
    assert code.values.shape == (50, active)


def test_orthonormal_atoms_give_the_largest_products():
    x, atoms = rows(), torch.eye(12)
    code = gradient_pursuit(x, atoms, 4)
    top = x.clamp_min(0.0).topk(4)
    expected = torch.zeros_like(x).scatter(1, top.indices, top.values)
    torch.testing.assert_close(code.z, expected)


def test_the_error_falls_with_every_latent_and_codes_are_never_negative():
    x, atoms = rows(200), dictionary()
    errors = []
    for active in (1, 2, 4, 8, 12):
        z = gradient_pursuit(x, atoms, active).z
        assert bool((z >= 0).all())
        errors.append(float((x - z @ atoms).square().sum()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.35 * float(x.square().sum())


def test_each_row_may_have_its_own_number():
    x, atoms = rows(), dictionary()
    limit = torch.arange(50) % 5
    code = gradient_pursuit(x, atoms, limit)
    assert bool(((code.values > 0).sum(1) <= limit).all())
    for active in range(1, 5):
        mine = limit == active
        torch.testing.assert_close(code.z[mine], gradient_pursuit(x[mine], atoms, active).z)
    assert not code.values[limit == 0].any()


def test_many_rows_are_coded_in_parts():
    x, atoms = rows(1030), dictionary()
    whole = gradient_pursuit(x, atoms, 3).z
    torch.testing.assert_close(whole[1020:], gradient_pursuit(x[1020:], atoms, 3).z)


@pytest.mark.parametrize("active", [0, 41])
def test_numbers_that_cannot_be(active):
    with pytest.raises(IsthmusError, match="active latents of 40"):
        gradient_pursuit(rows(), dictionary(), active)
