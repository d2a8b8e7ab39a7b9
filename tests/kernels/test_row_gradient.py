"""A weight's gradient kept as factors against dense autograd, in float32 to 1e-5 of its largest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels import Preactivations, RowGradient, sparse_decode, take_rows
from isthmus.kernels.row_gradient import SparseFactor, dense_gradient

from .cases import NATIVE, always_sparse, close, engine

PATHS = ["torch", *NATIVE]


def factor(rows, k, d, width, g, dtype=torch.float32):
    values = torch.randn(rows, k, generator=g).to(dtype)
    values[torch.rand(rows, k, generator=g) < 0.2] = 0.0
    indices = torch.randint(0, width, (rows, k), generator=g)
    return SparseFactor(values, indices, torch.randn(rows, d, generator=g).to(dtype))


def by_hand(factors, width):
    total = 0.0
    for f in factors:
        code = torch.zeros(len(f.values), width, dtype=torch.float64)
        total = total + code.scatter_add(1, f.indices, f.values.double()).T @ f.dense.double()
    return total


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 80), st.integers(1, 6)), min_size=1, max_size=3),
       st.integers(1, 200), st.integers(1, 90), st.integers(0, 10_000))  # fmt: skip
def test_the_sum_of_factors(name, sizes, d, width, seed):
    g = torch.Generator().manual_seed(seed)
    factors = [factor(rows, k, d, width, g) for rows, k in sizes]
    with engine(name):
        found = dense_gradient(torch.zeros(width, d), factors)
    close(found, by_hand(factors, width), 1e-5)


@pytest.mark.parametrize("name", PATHS)
def test_float64_is_exact(name):
    g = torch.Generator().manual_seed(0)
    factors = [factor(20, 3, 5, 30, g, torch.float64) for _ in range(2)]
    with engine(name):
        found = dense_gradient(torch.zeros(30, 5, dtype=torch.float64), factors)
    close(found, by_hand(factors, 30), 1e-14)


def loss(weight, x, indices, values, latents):
    chosen, at = Preactivations(x, weight, torch.zeros(len(weight)), None).top(2)
    out = sparse_decode(values, indices, weight) + 0.3 * sparse_decode(chosen, at, weight)
    return (out**2).sum() + (take_rows(weight, latents) ** 3).sum()


@pytest.mark.parametrize("name", PATHS)
def test_what_was_collected_is_the_gradient(name):
    g = torch.Generator().manual_seed(1)
    weight = torch.randn(70, 11, generator=g).requires_grad_()
    one = factor(9, 4, 11, 70, g)
    latents = torch.randperm(70, generator=g)[:30]
    arguments = (one.dense, one.indices, one.values, latents)
    claim = RowGradient()
    with engine(name), always_sparse():
        loss(weight, *arguments).backward()
        wanted, weight.grad = weight.grad, None
        claim.attach(weight)
        assert RowGradient.claims(weight)
        assert not claim
        loss(weight, *arguments).backward()
        assert weight.grad is None
        assert len(claim.factors) == 3
        assert len(claim.rows) == 1
        found = dense_gradient(weight, claim.factors)
    for places, more in claim.rows:
        found.index_add_(0, places, more)
    close(found, wanted, 1e-5)
    claim.clear()
    assert not claim
    RowGradient.detach(weight)
    assert not RowGradient.claims(weight)
    RowGradient.detach(weight)


def test_a_claim_that_does_not_collect_leaves_the_gradient_to_autograd():
    weight = torch.randn(9, 3, requires_grad=True)
    claim = RowGradient(collecting=False)
    claim.attach(weight)
    assert RowGradient.claims(weight)
    sparse_decode(torch.ones(2, 1), torch.tensor([[1], [4]]), weight).sum().backward()
    assert not claim
    assert weight.grad[[1, 4]].eq(1).all()
    assert weight.grad.sum() == 6


@pytest.mark.parametrize("name", NATIVE)
def test_two_threads_give_the_bits_of_one(name):
    g = torch.Generator().manual_seed(2)
    factors = [factor(300, 5, 33, 200, g) for _ in range(2)]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with engine(name):
                found.append(dense_gradient(torch.zeros(200, 33), factors))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
