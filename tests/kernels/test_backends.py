"""Every implementation against the reference in float64, by the same checks.

Tolerances, relative to the largest element: 1e-5 in float32, 2e-3 in float16. Shapes are small
enough for Triton's interpreter, in which ``make test-triton`` runs this file.
"""

import os

import pytest
import torch

from isthmus.kernels import dispatch, library
from isthmus.kernels.backend import AdamStep, SparseFactor
from isthmus.kernels.reference_backend import ReferenceBackend

from .cases import NATIVE, close, engine, linear

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
COMPILED = ["reference", "torch", *NATIVE]
IMPLEMENTATIONS = (
    [("triton", torch.float32), ("triton", torch.float16)]
    if INTERPRETED
    else [(name, torch.float32) for name in COMPILED]
)
TRUTH = ReferenceBackend()
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3}


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda p: f"{p[0]}-{str(p[1])[6:]}")
def served(request):
    """An implementation in use, and the type it is asked in."""
    name, dtype = request.param
    if name == "triton" and dispatch.triton() is None:
        pytest.skip("Triton cannot be installed here")
    with engine(name):
        backend = dispatch.backend_for(torch.zeros(1, dtype=dtype))
        assert backend.name == name.partition(" ")[0]
        yield backend, dtype


def doubled(*tensors):
    return [t.double() if t is not None and t.is_floating_point() else t for t in tensors]


def ascending(values, indices):
    order = indices.argsort(1)
    return values.gather(1, order), indices.gather(1, order)


def code(rows, k, width, seed, dtype, *, distinct=True):
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, k, generator=g)
    values[torch.rand(rows, k, generator=g) < 0.3] = 0.0
    if distinct:
        indices = torch.rand(rows, width, generator=g).topk(k, 1).indices
    else:
        indices = torch.randint(0, width, (rows, k), generator=g)
    return values.to(dtype), indices


def drawn(*shape, seed, dtype):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


SHAPES = [(5, 12, 300, 3), (1, 1, 1, 1), (3, 17, 65, 20), (2, 33, 40, 40)]
"""rows, d, width, k"""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_top(served, shape, magnitude, weighted):
    backend, dtype = served
    rows, d, width, k = shape
    x, weight, bias, priority = linear("normal", rows, d, width, 1, dtype)
    used = priority if weighted else None
    values, indices = backend.select_top(x, weight, bias, k, magnitude, used)
    assert (values.dtype, indices.dtype) == (dtype, torch.int64)
    u = doubled(x)[0] @ doubled(weight)[0].T + doubled(bias)[0]
    key = u.abs() if magnitude else u
    key = key * priority.double() if weighted else key
    close(values, u.gather(1, indices), TOLERANCE[dtype])
    best = key.topk(k, 1).values
    close(key.gather(1, indices).sort(1, descending=True).values, best, TOLERANCE[dtype])
    assert all(len(set(row)) == k for row in indices.tolist())
    if backend.name != "torch":
        assert torch.equal(indices, indices.sort(1).values), "latents ascend"


@pytest.mark.parametrize("k", [1, 4, 70])
def test_of_latents_that_tie_the_lowest_is_selected(served, k):
    backend, dtype = served
    if backend.name not in ("triton", "reference"):
        pytest.skip("which one is selected is free")
    x, weight, bias, _ = linear("repeated", 4, 6, 150, 2, dtype)
    x, weight = x.round(), weight.round()
    wanted = TRUTH.select_top(*doubled(x, weight, bias), k)
    values, indices = backend.select_top(x, weight, bias, k)
    assert torch.equal(indices, wanted[1])
    close(values, wanted[0], TOLERANCE[dtype])
    zeros = backend.select_top(torch.zeros_like(x), weight, torch.zeros_like(bias), k)
    assert torch.equal(zeros[1], torch.arange(k).expand(4, k))


@pytest.mark.parametrize("where", ["x", "weight"])
def test_nan_is_selected(served, where):
    backend, dtype = served
    x, weight, bias, _ = linear("normal", 3, 6, 200, 3, dtype)
    (x if where == "x" else weight)[1, 2] = torch.nan
    values, indices = backend.select_top(x, weight, bias, 2)
    assert ((indices >= 0) & (indices < 200)).all()
    assert values.isnan().any(1).tolist() == ([False, True, False] if where == "x" else [True] * 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_above(served, shape):
    backend, dtype = served
    rows, d, width, _ = shape
    x, weight, bias, _ = linear("normal", rows, d, width, 4, dtype)
    u = doubled(x)[0] @ doubled(weight)[0].T + doubled(bias)[0]
    # Cutoffs between two pre-activations of a latent: no rounding moves one over it.
    ordered = torch.cat([u.sort(0).values, u.max(0, keepdim=True).values + 2.0])
    place = max(1, int(0.8 * rows))
    cutoff = ((ordered[place - 1] + ordered[place]) / 2).to(dtype)
    clear = ((u - cutoff.double()).abs() > 5e-2).all(0)
    cutoff = torch.where(clear, cutoff, 1e4)
    active = u > cutoff.double()
    found = backend.select_above(x, weight, bias, cutoff, width)
    values, indices, counts = found
    assert torch.equal(counts, active.sum(1))
    assert values.shape == indices.shape == (rows, max(1, int(counts.max())))
    used = torch.arange(values.shape[1]) < counts[:, None]
    assert not values[~used].any()
    assert not indices[~used].any()
    seen = torch.zeros(rows, width).scatter_add(1, indices, used.float())
    assert torch.equal(seen.bool(), active)
    close(values * used, u.gather(1, indices) * used, TOLERANCE[dtype])
    room = int(counts.max()) - 1
    if room >= 1:
        nothing = backend.select_above(x, weight, bias, cutoff, room)
        assert nothing[0].shape == nothing[1].shape == (rows, 0)
        assert int(nothing[2].min()) < 0


@pytest.mark.parametrize("shape", SHAPES)
def test_decode_its_error_and_places(served, shape):
    backend, dtype = served
    rows, d, width, k = shape
    values, indices = code(rows, k, width, 5, dtype, distinct=False)
    atoms, bias = drawn(width, d, seed=6, dtype=dtype), drawn(d, seed=7, dtype=dtype)
    target = drawn(rows, d, seed=8, dtype=dtype)
    args = doubled(values, indices, atoms, bias, target)
    close(backend.decode(values, indices, atoms), TRUTH.decode(*args[:3]), TOLERANCE[dtype])
    found = backend.decode_error(values, indices, atoms, bias, target)
    for mine, wanted in zip(found, TRUTH.decode_error(*args), strict=True):
        close(mine, wanted, 2 * TOLERANCE[dtype])
    places = backend.at_places(target, indices, atoms)
    close(places, TRUTH.at_places(args[4], indices, args[2]), TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["triton"] if INTERPRETED else ["reference", "torch"])
def test_atoms_in_half_precision_and_all_else_in_float32(name):
    # As under autocast on CUDA. Triton's interpreter knows no bfloat16.
    half = torch.float16 if INTERPRETED else torch.bfloat16
    with engine(name):
        backend = dispatch.backend_for(torch.zeros(1))
    values, indices = code(5, 3, 40, 5, torch.float32, distinct=False)
    atoms, bias = drawn(40, 12, seed=6, dtype=half), drawn(12, seed=7, dtype=torch.float32)
    target = drawn(5, 12, seed=8, dtype=torch.float32)
    args = doubled(values, indices, atoms, bias, target)
    places = backend.at_places(target, indices, atoms)
    assert places.dtype == torch.float32
    close(places, TRUTH.at_places(args[4], indices, args[2]), 1e-5)
    found = backend.decode_error(values, indices, atoms, bias, target)
    assert {t.dtype for t in found} == {torch.float32}
    for mine, wanted in zip(found, TRUTH.decode_error(*args), strict=True):
        close(mine, wanted, 0.03)


@pytest.mark.parametrize("shape", [(6, 3, 40), (1, 1, 1), (30, 5, 7)])
def test_entries_by_latent(served, shape):
    backend, dtype = served
    rows, k, width = shape
    values, indices = code(rows, k, width, 9, dtype, distinct=False)
    for given in (values, None):
        order, offsets = backend.by_latent(given, indices, width)
        wanted = TRUTH.by_latent(given, indices, width)
        entries = int(offsets[-1])
        assert torch.equal(offsets, wanted[1])
        assert torch.equal(order[:entries], wanted[0][:entries])


def parts(width, d, dtype):
    """Factors (one latent in every row, one that never fires), rows for some, a whole gradient."""
    factors = []
    for number, (rows, k) in enumerate([(20, 3), (9, 2)]):
        values, indices = code(rows, k, width, 10 + number, dtype, distinct=False)
        indices[:, 0] = min(2, width - 1)
        factors.append(SparseFactor(values, indices, drawn(rows, d, seed=number, dtype=dtype)))
    latents = torch.randperm(width, generator=torch.Generator().manual_seed(4))[: width // 2 + 1]
    rows = [
        (latents, drawn(len(latents), d, seed=13, dtype=dtype)),
        (latents[:1], torch.ones(1, d)),
    ]
    return (
        factors,
        [(at, part.to(dtype)) for at, part in rows],
        drawn(width, d, seed=14, dtype=dtype),
    )


def exactly(factors):
    return [SparseFactor(*doubled(f.values, f.indices, f.dense)) for f in factors]


@pytest.mark.parametrize("shape", [(13, 21), (1, 1), (40, 64)])
def test_the_gradient_of_rows(served, shape):
    backend, dtype = served
    width, d = shape
    factors, rows, _ = parts(width, d, dtype)
    weight = torch.zeros(width, d, dtype=dtype)
    exact = [(latents, part.double()) for latents, part in rows]
    for some in (factors[:1], factors):
        found = backend.row_gradient(weight, some, rows)
        close(found, TRUTH.row_gradient(weight.double(), exactly(some), exact), TOLERANCE[dtype])


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("which", ["one factor", "everything", "the gradient alone"])
@pytest.mark.parametrize("shape", [(13, 21), (5, 64)])
def test_adam_by_rows(served, unit, which, shape):
    """Weights and moments are float32 whatever the factors are."""
    backend, dtype = served
    width, d = shape
    factors, rows, gradient = parts(width, d, dtype)
    if which == "one factor":
        factors, rows, gradient = factors[:1], [], None
    elif which == "the gradient alone":
        factors, rows = [], []
    gradient = None if gradient is None else gradient.float()
    state = [torch.nn.functional.normalize(drawn(width, d, seed=15, dtype=torch.float32), dim=1)]
    state += [0.1 * drawn(width, d, seed=16, dtype=torch.float32)]
    state += [0.01 * drawn(width, d, seed=17, dtype=torch.float32).square()]
    wanted, step = doubled(*state), AdamStep(1e-2, 0.9, 0.99, 1e-6, 0.19, 0.0199, 0.01, unit)
    exact = [(latents, part.double()) for latents, part in rows]
    whole = None if gradient is None else gradient.double()
    before = [t.clone() for t in state]
    skip = torch.ones(())
    backend.row_adam(*state, factors, step, gradient=gradient, rows=rows, skip=skip)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
    skip.zero_()
    backend.row_adam(
        *state, factors, step, gradient=None if gradient is None else gradient.clone(), rows=rows,
        skip=skip,
    )  # fmt: skip
    TRUTH.row_adam(*wanted, exactly(factors), step, gradient=whole, rows=exact)
    for mine, truth in zip(state, wanted, strict=True):
        close(mine, truth, 5 * TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(6, 3, 40), (1, 1, 1), (30, 5, 7)])
def test_sums_by_latent(served, shape):
    backend, dtype = served
    rows, k, width = shape
    values, indices = code(rows, k, width, 18, dtype, distinct=False)
    found = backend.sum_by_latent(values, indices, width)
    assert found.dtype == dtype
    close(found, TRUTH.sum_by_latent(values.double(), indices, width), TOLERANCE[dtype])


def test_no_rows(served):
    backend, dtype = served
    _, weight, bias, _ = linear("normal", 1, 6, 64, 19, dtype)
    x, indices = weight[:0], torch.zeros(0, 2, dtype=torch.int64)
    values = x.new_zeros(0, 2)
    assert [t.shape for t in backend.select_top(x, weight, bias, 2)] == [(0, 2)] * 2
    assert backend.decode(values, indices, weight).shape == (0, 6)
    assert backend.at_places(x, indices, weight).shape == (0, 2)
    error, squares, products = backend.decode_error(values, indices, weight, weight[0], x)
    assert (error.shape, squares.shape, products.shape) == ((0, 6), (0,), (0, 2))
    assert not backend.row_gradient(weight, [SparseFactor(values, indices, x)]).any()
    assert not backend.sum_by_latent(values, indices, 64).any()
    above = backend.select_above(x, weight, bias, bias, 8)
    assert [len(t) for t in above] == [0, 0, 0]


@pytest.mark.skipif(library.native() is None or INTERPRETED, reason="of the compiled library")
def test_the_same_bits_for_any_division_of_the_rows():
    x, weight, bias, _ = linear("normal", 9, 12, 300, 20)
    with engine("native 0"):
        backend = dispatch.backend_for(x)
        assert backend.exact_rows
        whole = backend.select_top(x, weight, bias, 3)
        parts = [backend.select_top(part, weight, bias, 3) for part in x.split(4)]
    for i in range(2):
        assert torch.equal(whole[i], torch.cat([part[i] for part in parts]))
