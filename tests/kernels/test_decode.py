"""The sparse decoder against the dense product, forwards and backwards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels import adaptive_decode, sparse_decode, torch_backend

from .cases import ENGINES, close, engine


def case(rows, k, width, d, seed, distinct):
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, k, generator=g, dtype=torch.float64)
    if distinct:
        indices = torch.rand(rows, width, generator=g).topk(k, 1, sorted=False).indices
    else:
        indices = torch.randint(0, width, (rows, k), generator=g)
    atoms = torch.randn(width, d, generator=g, dtype=torch.float64)
    upstream = torch.randn(rows, d, generator=g, dtype=torch.float64)
    return values, indices, atoms, upstream


def dense(values, indices, atoms):
    code = torch.zeros(len(values), len(atoms), dtype=values.dtype)
    return code.scatter_add(1, indices, values) @ atoms


def gradients(decode, values, indices, atoms, upstream):
    values, atoms = values.clone().requires_grad_(), atoms.clone().requires_grad_()
    result = decode(values, indices, atoms)
    result.backward(upstream)
    return result.detach(), values.grad, atoms.grad


def check(values, indices, atoms, upstream):
    mine = gradients(sparse_decode, values, indices, atoms, upstream)
    theirs = gradients(dense, values, indices, atoms, upstream)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


sizes = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 11), st.integers(1, 7))


@given(sizes, st.integers(0, 10_000))
def test_repeated_indices_add_up(size, seed):
    check(*case(*size, seed, distinct=False))


@given(sizes, st.integers(0, 10_000), st.sampled_from(["one", "all", "some"]))
def test_distinct_indices(size, seed, how_many):
    rows, k, width, d = size
    k = {"one": 1, "all": width, "some": min(k, width)}[how_many]
    check(*case(rows, k, width, d, seed, distinct=True))


def test_gradcheck():
    values, indices, atoms, _ = case(4, 3, 5, 6, 0, distinct=False)
    torch.autograd.gradcheck(
        lambda v, w: sparse_decode(v, indices, w), (values.requires_grad_(), atoms.requires_grad_())
    )


def test_the_backward_pass_in_chunks_is_the_same(monkeypatch):
    arguments = case(23, 4, 9, 5, 1, distinct=False)
    whole = gradients(sparse_decode, *arguments)
    monkeypatch.setattr(torch_backend, "_CHUNK", 3 * 4 * 5 + 1)  # three rows at a time
    for a, b in zip(whole, gradients(sparse_decode, *arguments), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("to_values", "to_atoms"), [(True, False), (False, True)])
def test_only_the_gradients_that_are_wanted(to_values, to_atoms):
    values, indices, atoms, upstream = case(5, 3, 7, 4, 2, distinct=False)
    wanted = gradients(dense, values, indices, atoms, upstream)[1:]
    values.requires_grad_(to_values)
    atoms.requires_grad_(to_atoms)
    sparse_decode(values, indices, atoms).backward(upstream)
    for tensor, expected, asked in zip((values, atoms), wanted, (to_values, to_atoms), strict=True):
        if asked:
            torch.testing.assert_close(tensor.grad, expected)
        else:
            assert tensor.grad is None


def test_gradients_come_back_in_the_dtype_of_their_tensor():
    values, indices, atoms, upstream = case(5, 3, 7, 4, 3, distinct=False)
    low = values.to(torch.bfloat16).requires_grad_()
    full = atoms.float().requires_grad_()
    result = sparse_decode(low, indices, full)
    assert result.dtype == torch.float32
    result.backward(upstream.float())
    assert (low.grad.dtype, full.grad.dtype) == (torch.bfloat16, torch.float32)
    expected = gradients(dense, low.detach().double(), indices, atoms, upstream)
    torch.testing.assert_close(full.grad.double(), expected[2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(low.grad.double(), expected[1], rtol=1e-2, atol=1e-2)


def test_a_gradient_that_is_not_contiguous():
    values, indices, atoms, upstream = case(5, 3, 7, 4, 4, distinct=False)
    check(values, indices, atoms, upstream.T.contiguous().T)


def test_shapes_are_checked():
    values, indices, atoms, _ = case(5, 3, 7, 4, 5, distinct=False)
    with pytest.raises(Exception, match="Type-check error"):
        sparse_decode(values, indices[:4], atoms)


@pytest.mark.parametrize("width", [40, 400])
def test_decode_takes_either_way_to_the_same_numbers(width):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(6, 4, dtype=torch.float64, generator=generator)
    indices = torch.randint(0, width, (6, 4), generator=generator)
    atoms = torch.randn(width, 3, dtype=torch.float64, generator=generator)
    upstream = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    either = gradients(adaptive_decode, values, indices, atoms, upstream)
    for a, b in zip(
        either, gradients(sparse_decode, values, indices, atoms, upstream), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("name", ["reference", *ENGINES[: len(ENGINES) // 2 + 1]])
@pytest.mark.parametrize("decode", [sparse_decode, adaptive_decode])
@settings(max_examples=8)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 300), st.integers(1, 150)),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_float32_on_every_path(name, decode, size, seed, distinct):
    """To 1e-5 of the largest element; zero coefficients and zero rows among them."""
    rows, k, width, d = size
    size = (rows, min(k, width), width, d)
    values, indices, atoms, upstream = (
        t if t.dtype == torch.int64 else t.float() for t in case(*size, seed, distinct)
    )
    values[::3] = 0.0
    values[:, ::4] = 0.0
    with engine(name):
        mine = gradients(decode, values, indices, atoms, upstream)
    theirs = gradients(dense, values.double(), indices, atoms.double(), upstream.double())
    for a, b in zip(mine, theirs, strict=True):
        assert a.dtype == torch.float32
        close(a, b, 1e-5)


@pytest.mark.parametrize("name", ["reference", "torch", "native 0"])
def test_bfloat16(name):
    """To 0.03 of the largest element."""
    values, indices, atoms, upstream = case(9, 3, 60, 7, 6, distinct=True)
    low = [t.bfloat16() for t in (values, atoms, upstream)]
    with engine(name):
        mine = gradients(sparse_decode, low[0], indices, low[1], low[2])
    theirs = gradients(dense, low[0].double(), indices, low[1].double(), low[2].double())
    for a, b in zip(mine, theirs, strict=True):
        assert a.dtype == torch.bfloat16
        close(a, b, 0.03)
