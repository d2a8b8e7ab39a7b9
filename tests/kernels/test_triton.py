"""Programs in Triton's interpreter at their limits: levels of groups, segments, borders, same bits.

``make test-triton`` runs this file in a process of its own; agreement with the reference on
ordinary shapes is in ``test_backends.py``.
"""

import os

import numpy as np
import pytest
import torch
from benchmarks.gpu import LIMITS, deviations

import isthmus
from isthmus.kernels import dispatch, using
from isthmus.kernels.backend import AdamStep, SparseFactor
from isthmus.kernels.reference_backend import ReferenceBackend

from .cases import close, linear

pytestmark = [
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="run by make test-triton"),
    pytest.mark.skipif(dispatch.triton() is None, reason="Triton cannot be installed here"),
]
TRUTH = ReferenceBackend()


@pytest.fixture
def backend():
    from isthmus.kernels.triton_backend import TritonBackend

    return TritonBackend()


@pytest.fixture
def small(monkeypatch):
    """Limits so small that tiny shapes go beyond them."""
    from isthmus.kernels import triton_backend

    limits = {"GROUP": 8, "MOST_LISTED": 64, "MOST_GROUPS": 16, "TILE": 64, "SEGMENT": 4}
    for name, value in limits.items():
        monkeypatch.setattr(triton_backend, name, value)
    return limits


def poisoned(tensor, fill=float("nan")):
    """The same numbers with a border before and after them, in one piece of memory."""
    if not tensor.is_floating_point():
        fill = 1 << 20
    border = 64
    whole = torch.full((tensor.numel() + 2 * border,), fill, dtype=tensor.dtype)
    whole[border:-border] = tensor.flatten()
    inner = whole[border:-border].view(tensor.shape)
    assert inner.is_contiguous()
    return inner, whole


@pytest.mark.parametrize("flavour", ["normal", "repeated", "zeros"])
@pytest.mark.parametrize(("width", "k"), [(100, 5), (128, 8), (333, 5), (64, 3), (129, 40)])
def test_every_way_of_selecting_is_exact(backend, small, flavour, width, k):
    """One block, groups, groups of groups, digits of keys: values and latents of a stable sort."""
    x, weight, bias, priority = linear(flavour, 2, 6, width, 0)
    x, weight = (2 * x).round(), (2 * weight).round()  # exact sums, many ties
    for magnitude, used in ((False, None), (True, priority.round() + 1.0)):
        wanted = TRUTH.select_top(x.double(), weight.double(), bias.double(), k, magnitude,
                                  None if used is None else used.double())  # fmt: skip
        given = [poisoned(t)[0] for t in (x, weight, bias)]
        used = None if used is None else poisoned(used)[0]
        values, indices = backend.select_top(*given, k, magnitude, used)
        assert torch.equal(indices, wanted[1])
        close(values, wanted[0], 1e-6)


def test_nothing_is_written_beside_the_output(backend, small):
    from isthmus.kernels import triton_backend

    for width, k in ((60, 5), (100, 5), (333, 5), (129, 40)):
        u, _ = poisoned(torch.randn(3, width))
        bias, _ = poisoned(torch.zeros(width))
        values, around = poisoned(torch.zeros(3, k), 7.0)
        indices, places = poisoned(torch.zeros(3, k, dtype=torch.int64))
        triton_backend.pick(u, bias, bias, values, indices, k, magnitude=False, weighted=False)
        assert around[:64].eq(7.0).all()
        assert around[-64:].eq(7.0).all()
        assert places[:64].eq(1 << 20).all()
        assert places[-64:].eq(1 << 20).all()
        assert torch.equal(values, u.gather(1, indices))


def test_decoding_reads_nothing_beside_its_rows(backend):
    n, k, d, width = 4, 3, 21, 9
    values, atoms, bias, target = (
        poisoned(torch.randn(*s))[0] for s in ((n, k), (width, d), (d,), (n, d))
    )
    indices, _ = poisoned(torch.randint(0, width, (n, k)))
    wanted = TRUTH.decode_error(*(t.double() for t in (values,)), indices,
                                *(t.double() for t in (atoms, bias, target)))  # fmt: skip
    for mine, truth in zip(
        backend.decode_error(values, indices, atoms, bias, target), wanted, strict=True
    ):
        close(mine, truth, 1e-5)
    close(backend.at_places(target, indices, atoms),
          TRUTH.at_places(target.double(), indices, atoms.double()), 1e-5)  # fmt: skip


def test_an_entry_of_zero_reads_no_atom(backend):
    atoms = torch.full((5, 6), torch.nan)
    atoms[2] = 1.0
    values, indices = torch.tensor([[0.0, 2.0]]), torch.tensor([[0, 2]])
    assert torch.equal(backend.decode(values, indices, atoms), torch.full((1, 6), 2.0))
    error, squares, _ = backend.decode_error(
        values, indices, atoms, torch.zeros(6), torch.ones(1, 6)
    )
    assert error.eq(1.0).all()
    assert squares.item() == 6.0


def factors(width, d, seed=0):
    """Latent 3 in every row, latents 5 and 6 in many, others rarely, some values zero."""
    g = torch.Generator().manual_seed(seed)
    made = []
    for rows in (23, 11):
        indices = torch.randint(0, width, (rows, 3), generator=g)
        indices[:, 0] = 3
        indices[::2, 1] = 5
        values = torch.randn(rows, 3, generator=g)
        values[::5, 2] = 0.0
        made.append(SparseFactor(values, indices, torch.randn(rows, d, generator=g)))
    return [*made, SparseFactor(made[0].values * 2.0, made[0].indices, made[0].dense)]


@pytest.mark.parametrize("segment", [1, 4, 7, 128])
def test_segments_of_latents_that_fire_on_every_row(backend, monkeypatch, segment):
    from isthmus.kernels import triton_backend

    monkeypatch.setattr(triton_backend, "SEGMENT", segment)
    width, d = 12, 10
    given = [SparseFactor(*(poisoned(t)[0] for t in (f.values, f.indices, f.dense)))
             for f in factors(width, d)]  # fmt: skip
    given[2] = SparseFactor(given[2].values, given[2].indices, given[0].dense)  # shared
    exact = [SparseFactor(f.values.double(), f.indices, f.dense.double()) for f in given]
    found = backend.row_gradient(torch.zeros(width, d), given)
    close(found, TRUTH.row_gradient(torch.zeros(width, d).double(), exact), 1e-5)
    assert torch.equal(found, backend.row_gradient(torch.zeros(width, d), given))


@pytest.mark.parametrize("whole_row", [8192, 8])
@pytest.mark.parametrize("unit", [False, True])
def test_adam_with_a_copy_in_half_precision(backend, small, monkeypatch, whole_row, unit):
    from isthmus.kernels import triton_backend

    monkeypatch.setattr(triton_backend, "WHOLE_ROW", whole_row)
    width, d = 7, 10
    g = torch.Generator().manual_seed(1)
    weight = torch.nn.functional.normalize(torch.randn(width, d, generator=g), dim=1)
    state = [weight, torch.zeros(width, d), torch.zeros(width, d)]
    wanted = [t.double() for t in state]
    state = [poisoned(t)[0] for t in state]
    half, around = poisoned(torch.zeros(width, d, dtype=torch.float16), 7.0)
    step = AdamStep(1e-2, 0.9, 0.99, 1e-8, 0.1, 0.01, 0.0, unit)
    given = factors(width, d)
    backend.row_adam(*state, given, step, half=half)
    exact = [SparseFactor(f.values.double(), f.indices, f.dense.double()) for f in given]
    TRUTH.row_adam(*wanted, exact, step)
    for mine, truth in zip(state, wanted, strict=True):
        close(mine, truth, 5e-5)
    assert torch.equal(half, state[0].half())
    assert around[:64].eq(7.0).all()
    assert around[-64:].eq(7.0).all()


def test_what_decodes_long_rows_is_the_same(backend, monkeypatch):
    from isthmus.kernels import triton_backend

    values, atoms, bias = torch.randn(3, 2), torch.randn(9, 40), torch.randn(40)
    indices, target = torch.randint(0, 9, (3, 2)), torch.randn(3, 40)
    whole = backend.decode_error(values, indices, atoms, bias, target)
    monkeypatch.setattr(triton_backend, "WHOLE_ROW", 16)
    for a, b in zip(backend.decode_error(values, indices, atoms, bias, target), whole, strict=True):
        close(a, b, 1e-5)


def test_a_training_run():
    """To 1e-4 of the largest weight after two steps; twice the same bits; factored or clipped."""
    X = np.random.default_rng(1).normal(size=(32, 6)).astype(np.float32)
    weights = {}
    runs = [("reference", None), ("triton", None), ("triton", None), ("triton", 1.0)]
    for number, (path, clip) in enumerate([*runs, ("reference", 1.0)]):
        with using(path):
            model = isthmus.fit(
                "topk", X, latent_dim=136, k=2, k_aux=4, steps=2, batch_size=8, clip=clip,
                progress=False,
            )  # fmt: skip
        weights[number] = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert torch.equal(weights[1], weights[2])
    for mine, wanted in ((1, 0), (3, 4)):
        error = (weights[mine] - weights[wanted]).abs().max()
        assert error <= 1e-4 * weights[wanted].abs().max()


def test_what_the_benchmark_holds_against_float64(backend):
    found = deviations(backend, torch.float16, (6, 10, 130, 2), "cpu")
    assert set(found) >= {"selected", "decode", "row_adam", "its products"}
    assert all(off <= LIMITS[torch.float16] for off in found.values()), found
