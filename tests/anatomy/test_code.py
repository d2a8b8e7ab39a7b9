"""Codes: the dense view, joining, storing."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus.anatomy import Code, DiscreteCode, GaussianCode, SparseCode, ThresholdCode


@given(st.integers(1, 6), st.integers(1, 7), st.data())
def test_dense_view_of_a_sparse_code_adds_repeated_indices(rows, width, data):
    k = data.draw(st.integers(1, 5))
    indices = np.array(
        data.draw(
            st.lists(
                st.lists(st.integers(0, width - 1), min_size=k, max_size=k),
                min_size=rows,
                max_size=rows,
            )
        )
    )
    values = np.arange(1.0, rows * k + 1).reshape(rows, k)
    expected = np.zeros((rows, width))
    for n in range(rows):
        for j in range(k):
            expected[n, indices[n, j]] += values[n, j]
    code = SparseCode(torch.from_numpy(values), torch.from_numpy(indices), width)
    np.testing.assert_array_equal(code.z.numpy(), expected)


def test_gradients_reach_the_values_of_a_sparse_code_through_z():
    values = torch.ones(1, 2, requires_grad=True)
    code = SparseCode(values, torch.tensor([[3, 0]]), 4)
    (code.z * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert values.grad.tolist() == [[4.0, 1.0]]


def examples():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=g)
    index = torch.randint(0, 9, (6, 4), generator=g)
    return [
        Code(x),
        GaussianCode(x, x, -x),
        SparseCode(x.abs(), index, 9, torch.randn(6, 9), (x, x)),
        ThresholdCode(x.relu(), x, (x, torch.zeros(4))),
        DiscreteCode(x, index, x, x, 9, True),
    ]


def rows_of(code, part):
    return code.take(part)


def test_joining_batches_gives_the_whole():
    for code in examples():
        parts = [rows_of(code, slice(0, 1)), rows_of(code, slice(1, 4)), rows_of(code, slice(4, 6))]
        whole = type(code).join(parts)
        assert type(whole) is type(code)
        assert torch.equal(whole.z, code.z)
        for name, tensor in code.tensors().items():
            assert torch.equal(whole.tensors()[name], tensor)


def test_narrow_and_dense_batches_join_as_what_holds_them_all():
    narrow = SparseCode(torch.ones(2, 1), torch.tensor([[3], [0]]), 5)
    wide = SparseCode(torch.full((1, 2), 2.0), torch.tensor([[4, 1]]), 5)
    dense = ThresholdCode(torch.eye(5)[:1])
    whole = Code.join([narrow, wide])
    assert isinstance(whole, SparseCode)
    assert whole.values.shape == (3, 2)
    assert torch.equal(whole.z, torch.cat((narrow.z, wide.z)))
    for codes in ([narrow, wide, dense], [dense, narrow]):
        mixed = Code.join(codes)
        assert type(mixed) is ThresholdCode
        assert torch.equal(mixed.z, torch.cat([code.z for code in codes]))


@given(st.integers(0, 5), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_what_is_active_of_a_sparse_code_is_what_is_not_zero(rows, most, width, seed):
    g = torch.Generator().manual_seed(seed)
    values = torch.randint(-1, 2, (rows, most), generator=g).float()
    code = SparseCode(values, torch.randint(0, width, (rows, most), generator=g), width)
    row, latent, value = code.active()
    assert bool((value != 0).all())
    assert len(value) == int((values != 0).sum())
    assert bool((row[1:] >= row[:-1]).all())
    dense = torch.zeros(rows, width).index_put((row, latent), value, accumulate=True)
    assert torch.equal(dense, code.z)
    np.testing.assert_array_equal(code.matrix().toarray(), code.z.numpy())
    assert code.matrix().shape == (len(code), code.width) == (rows, width)


def test_what_is_active_of_the_other_kinds():
    z = torch.tensor([[0.0, -1.0, 2.0], [0.0, 0.0, 0.0]])
    for code, kept in ((ThresholdCode(z), 2), (Code(z), 6), (GaussianCode(z, z, z), 6)):
        assert code.matrix().nnz == kept
        assert code.width == 3
        np.testing.assert_array_equal(code.matrix().toarray(), z.numpy())
    assert Code(z.unflatten(1, (3, 1))).width == 3
    index = torch.tensor([[0, 1], [2, 2]])
    own, shared = (DiscreteCode(z, index, z, z, 3, own) for own in (True, False))
    assert (own.width, shared.width) == (6, 3)
    np.testing.assert_array_equal(own.matrix().toarray(), [[1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]])
    np.testing.assert_array_equal(shared.matrix().toarray(), [[1, 1, 0], [0, 0, 2]])
    assert Code(z.bfloat16().requires_grad_()).matrix().dtype == np.float32
    assert [code.is_sparse for code in examples()] == [False, False, True, True, False]


def test_detached_codes_hold_no_graph():
    z = torch.ones(2, 3, requires_grad=True) * 2.0
    code = GaussianCode(z, z, z).detached()
    assert not any(tensor.requires_grad for tensor in code.tensors().values())


def test_stored_parts_are_what_the_kind_promises():
    names = [set(code.tensors()) for code in examples()]
    assert names == [
        {"z"},
        {"z", "mean", "logvar"},
        {"values", "indices"},
        {"z"},
        {"z", "indices", "quantised", "continuous"},
    ]


def test_draws_of_a_gaussian_code_have_its_moments():
    mean, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -2.0]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        code = GaussianCode(mean, mean, logvar).draw(60_000)
    assert code.samples == 60_000
    assert code.z.shape == (60_000, 1, 2)
    torch.testing.assert_close(code.z.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(code.z.var(0), logvar.exp(), atol=0, rtol=0.03)
