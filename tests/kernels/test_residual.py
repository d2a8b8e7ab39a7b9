"""Decoding and comparing in one visit against doing one after the other, in float32 to 1e-5."""

import pytest
import torch

from isthmus.kernels import RowGradient, residual
from isthmus.kernels.row_gradient import dense_gradient

from .cases import NATIVE, close, engine


def tensors(rows=9, k=3, width=300, d=17):
    g = torch.Generator().manual_seed(0)
    values = torch.randn(rows, k, generator=g)
    values[::2, 1] = 0.0
    indices = torch.rand(rows, width, generator=g).topk(k, 1).indices
    atoms, bias = torch.randn(width, d, generator=g), torch.randn(d, generator=g)
    return values, indices, atoms, bias, torch.randn(rows, d, generator=g)


def loss(error, squares, which):
    weights = torch.linspace(0.5, 2.0, len(error), dtype=error.dtype)
    total = error.new_zeros(())
    if which != "error":
        total = total + (squares * weights).sum()
    if which != "squares":
        total = total + (error**3).sum()
    return total


def run(function, which, dtype=torch.float32):
    values, indices, atoms, bias, target = tensors()
    inputs = [t.to(dtype).requires_grad_() for t in (values, atoms, bias)]
    error, squares = function(inputs[0], indices, inputs[1], inputs[2], target.to(dtype))
    loss(error, squares, which).backward()
    return [error.detach(), squares.detach(), *(t.grad for t in inputs)]


def fused(*inputs):
    found = residual(*inputs)
    return found.error, found.squares


def plain(values, indices, atoms, bias, target):
    error = (values[:, :, None] * atoms[indices]).sum(1) + bias - target
    return error, (error**2).sum(1)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("which", ["error", "squares", "both"])
def test_values_and_gradients(name, which):
    with engine(name):
        mine = run(fused, which)
    for a, b in zip(mine, run(plain, which, torch.float64), strict=True):
        close(a, b, 1e-5)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("which", ["error", "squares", "both"])
def test_the_gradient_of_the_atoms_is_collected(name, which):
    values, indices, atoms, bias, target = tensors()
    atoms.requires_grad_()
    claim = RowGradient()
    claim.attach(atoms)
    with engine(name):
        loss(*fused(values, indices, atoms, bias, target), which).backward()
        assert atoms.grad is None
        found = dense_gradient(atoms, claim.factors)
    close(found, run(plain, which, torch.float64)[3], 1e-5)


@pytest.mark.parametrize("name", ["torch", "reference"])
def test_none_without_the_library(name):
    with engine(name):
        assert residual(*tensors()) is None
