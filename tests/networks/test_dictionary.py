"""Dictionaries, firing counters and the geometric median."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from isthmus.anatomy import Autoencoder, Clock, Code, Signal, SparseCode
from isthmus.bottlenecks import FiringCounter, Identity
from isthmus.bottlenecks.dictionary_start import geometric_median
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE


def dictionary(width=7, shape=(2, 3), **options):
    torch.manual_seed(0)
    made = Dictionary(width, shape, **options)
    with torch.no_grad():
        made.bias.normal_()
    return made


def around(encoder, decoder):
    """A model of the two: the encoder reads the bias of whichever decoder the model has."""
    return Autoencoder(
        Signal("vector", (6,)), encoder=encoder, bottleneck=Identity(), decoder=decoder,
        objective=MSE(),
    )  # fmt: skip


def test_a_sparse_code_decodes_as_its_dense_one():
    made = dictionary()
    code = SparseCode(torch.rand(4, 3), torch.tensor([[0, 1, 6]] * 4), 7)
    expected = (code.z @ made.weight + made.bias).reshape(4, 2, 3)
    torch.testing.assert_close(made.decode(code), expected)
    torch.testing.assert_close(made(code=made.from_latent(code.z)), expected)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_rows_keep_norm_one_under_any_optimiser(name):
    made = dictionary()
    optimiser = getattr(torch.optim, name)(made.parameters(), lr=0.3)
    for step in range(20):
        z = torch.rand(5, 7, generator=torch.Generator().manual_seed(step))
        made.decode(Code(z)).square().sum().backward()
        made.before_update()
        optimiser.step()
        optimiser.zero_grad()
        made.after_update()
        torch.testing.assert_close(made.weight.norm(dim=1), torch.ones(7), atol=1e-6, rtol=0)


def test_the_gradient_is_tangential_and_otherwise_unchanged():
    made = dictionary()
    made.decode(Code(torch.rand(5, 7))).square().sum().backward()
    raw = made.weight.grad.clone()
    made.before_update()
    tangent = made.weight.grad
    torch.testing.assert_close((tangent * made.weight).sum(1), torch.zeros(7), atol=1e-5, rtol=0)
    # what was taken away is parallel to the row
    removed = raw - tangent
    along = (removed * made.weight).sum(1, keepdim=True) * made.weight
    torch.testing.assert_close(removed, along, atol=1e-5, rtol=1e-4)


def test_without_unit_rows_nothing_is_projected():
    made = dictionary(unit=False)
    made.decode(Code(torch.rand(5, 7))).square().sum().backward()
    raw = made.weight.grad.clone()
    made.before_update()
    assert torch.equal(made.weight.grad, raw)
    with torch.no_grad():
        made.weight.mul_(3.0)
    made.after_update()
    torch.testing.assert_close(made.weight.norm(dim=1), torch.full((7,), 3.0))


def test_the_encoder_is_the_transpose_at_first_and_not_shared():
    made = dictionary()
    encoder = DictionaryEncoder(made)
    assert torch.equal(encoder.weight, made.weight)
    assert encoder.weight.data_ptr() != made.weight.data_ptr()
    assert {n for n, _ in encoder.named_parameters()} == {"weight", "bias"}
    x = torch.randn(5, 2, 3)
    expected = (x.flatten(1) - made.bias) @ encoder.weight.T
    model = around(encoder, made)
    torch.testing.assert_close(encoder(x, model=model).dense(), expected)
    model.decoder = other = dictionary()
    with torch.no_grad():
        other.bias.add_(1.0)
    moved = (x.flatten(1) - other.bias) @ encoder.weight.T
    torch.testing.assert_close(encoder(x, model=model).dense(), moved)
    plain = DictionaryEncoder(made, subtract_bias=False)
    torch.testing.assert_close(plain(x, model=model).dense(), x.flatten(1) @ plain.weight.T)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_half_precision_does_not_drown_in_the_offset_of_the_data(offset):
    """The decoder's bias is subtracted before rounding, as language models' activations need."""
    made = dictionary()
    with torch.no_grad():
        made.bias.add_(offset)
    encoder = DictionaryEncoder(made)
    model = around(encoder, made)
    x = made.bias.detach() + torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    exact = encoder(x, model=model).dense()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(x, model=model).dense()
    assert (rounded - exact).norm() < 0.01 * exact.norm()


# --- who fired when ---------------------------------------------------------------------------


def sparse(values, indices, width):
    return SparseCode(torch.tensor(values), torch.tensor(indices), width)


def test_rows_since_each_latent_fired():
    counter = FiringCounter(4, dead_after=6)
    counter.count(sparse([[1.0, 0.5], [2.0, 0.1]], [[0, 1], [0, 2]], 4))
    assert counter.silent_rows.tolist() == [0, 0, 0, 2]
    counter.count(sparse([[1.0], [1.0], [1.0]], [[1], [1], [1]], 4))
    assert counter.silent_rows.tolist() == [3, 0, 3, 5]


def test_value_zero_is_no_firing():
    counter = FiringCounter(3, dead_after=6)
    counter.count(sparse([[1.0, 0.0]], [[0, 1]], 3))
    assert counter.silent_rows.tolist() == [0, 1, 1]
    counter.count(Code(torch.tensor([[0.0, 1e-9, 0.0]])))
    assert counter.silent_rows.tolist() == [1, 0, 2]


def test_sparse_and_dense_codes_count_alike():
    g = torch.Generator().manual_seed(0)
    a, b = FiringCounter(9, 5), FiringCounter(9, 5)
    for _ in range(10):
        values, indices = torch.randn(3, 9, generator=g).topk(2, 1)
        code = SparseCode(values.relu() * (values > 1), indices, 9)
        a.count(code)
        b.count(Code(code.z))
        assert torch.equal(a.silent_rows, b.silent_rows)
    assert a.silent_rows.max() > 0


def test_dead_after_so_many_rows_or_a_tenth_of_the_run():
    counter = FiringCounter(3, dead_after=50)
    counter.silent_rows.copy_(torch.tensor([0, 30, 50]))
    long = Clock(5, total=1000, rows_per_step=64)
    assert counter.dead(long).tolist() == [False, False, True]
    short = Clock(5, total=10, rows_per_step=30)  # 300 rows: dead after 30
    assert counter.dead(short).tolist() == [False, True, True]


def test_the_counter_is_saved_with_the_model():
    counter = FiringCounter(3, 5)
    assert list(counter.state_dict()) == ["silent_rows"]
    assert counter.silent_rows.dtype == torch.int64


# --- the geometric median ---------------------------------------------------------------------


def distances(x, point):
    return np.linalg.norm(x - point, axis=1).sum()


def by_scipy(x):
    """The least sum of distances that Nelder-Mead and BFGS find from several starts."""
    starts = [x.mean(0), np.median(x, 0), *x[:4]]
    return min(
        minimize(
            lambda p: distances(x, p),
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000},
        ).fun
        for start in starts
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_median_minimises_the_summed_distance(seed, offset):
    rng = np.random.default_rng(seed)
    x = np.exp(rng.normal(size=(40, 3))) + offset
    mine = distances(x, geometric_median(torch.from_numpy(x)).numpy())
    assert mine <= by_scipy(x) * (1 + 1e-6)


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=9),
)
def test_median_of_points_that_coincide_with_it(points):
    x = np.array(points, float)
    mine = distances(x, geometric_median(torch.from_numpy(x)).numpy())
    best = min(distances(x, p) for p in x)  # no more than at any of the points
    assert mine <= best * (1 + 5e-3) + 1e-6


def test_median_at_a_data_point_that_is_the_mean():
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [4.0]])
    assert abs(geometric_median(x).item()) < 1e-3
