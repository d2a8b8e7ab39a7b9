import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus import IsthmusError
from isthmus.anatomy import SparseCode
from isthmus.evaluation import Firing, dead_share, dense_share, l0

from .tiny import NoDenseCode


def sparse(rows, k, width, seed=0, kind=SparseCode):
    rng = np.random.default_rng(seed)
    indices = np.argsort(rng.random((rows, width)), 1)[:, :k]
    values = rng.normal(size=(rows, k)) * (rng.random((rows, k)) > 0.3)
    return kind(torch.tensor(values), torch.tensor(indices), width)


def test_a_selected_latent_of_value_zero_has_not_fired():
    code = SparseCode(
        torch.tensor([[2.0, 0.0], [-1.0, 3.0]]), torch.tensor([[0, 3], [0, 1]]), width=5
    )
    result = l0(code)
    assert result.value == 1.5
    np.testing.assert_array_equal(result.per, [1.0, 0.5, 0.0, 0.0, 0.0])
    assert dead_share(code).value == 0.6
    assert "fired on none of 2 rows (a rate below 1.5)" in dead_share(code).estimator
    assert dense_share(code, rate=0.5).value == 0.2


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 5))
def test_sparse_and_dense_codes_agree(rows, k, seed):
    code = sparse(rows, k, 9, seed)
    for measure in (l0, dead_share, dense_share):
        held, dense = measure(code), measure(code.z.numpy())
        assert held.value == dense.value
        np.testing.assert_array_equal(held.per, dense.per)
    assert l0(code).value == pytest.approx(np.count_nonzero(code.z.numpy()) / rows)


def test_a_sparse_code_is_never_made_dense():
    code = sparse(8, 3, 20, kind=NoDenseCode)
    assert 0 < l0(code).value <= 3


def test_batches_add_up():
    code = sparse(30, 3, 9)
    firing = Firing()
    for part in (slice(0, 4), slice(4, 5), slice(5, 30)):
        firing.update(SparseCode(code.values[part], code.indices[part], 9))
    assert firing.l0().value == pytest.approx(l0(code).value, rel=1e-12)
    assert firing.l0().interval == pytest.approx(l0(code).interval, rel=1e-12)
    assert firing.dead_share().value == dead_share(code).value


def test_dense_share_counts_latents_over_the_rate_only():
    z = np.zeros((10, 3))
    z[:1, 0] = 1  # exactly 10 %
    z[:2, 1] = 1
    assert dense_share(z).value == pytest.approx(1 / 3)


def test_misuse_is_one_sentence():
    with pytest.raises(IsthmusError, match="empty"):
        l0(np.zeros((0, 3)))
    with pytest.raises(IsthmusError, match="2 latents follow codes of 3"):
        Firing().update(np.zeros((1, 3))).update(np.zeros((1, 2)))
    with pytest.raises(IsthmusError, match="no codes have been seen"):
        Firing().dead_share()
