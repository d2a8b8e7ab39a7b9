"""Values and gradients of the pre-activations on every path against autograd of the dense product.

Tolerances, relative to the largest element: 1e-12 in float64, 1e-5 in float32, 0.03 in bfloat16.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernels import Preactivations, RowGradient, sum_by_latent, take_at, take_rows
from isthmus.kernels.row_gradient import dense_gradient

from .cases import ENGINES, always_sparse, close, engine, linear, problems

FLOAT32 = 1e-5
SMOOTH = ("normal", "zeros", "huge", "tiny", "outlier")
EVERY = ["reference", *ENGINES]


def parts(flavour, rows, d, width, seed, dtype=torch.float32):
    x, weight, bias, priority = linear(flavour, rows, d, width, seed, dtype)
    g = torch.Generator().manual_seed(seed + 1)
    if flavour == "zeros":  # rows of nothing would tie with each other
        weight = weight + 1e-3 * torch.randn(weight.shape, generator=g).to(dtype)
    centre = 0.3 * torch.randn(d, generator=g).to(dtype) * x.abs().mean().clamp_min(1e-20)
    upstream = torch.randn(rows, width, generator=g).to(dtype)
    return (x, weight, bias, centre), upstream, priority


def product(x, weight, bias, centre):
    return (x - centre) @ weight.T + bias


def gradients(function, tensors, dtype=None):
    own = [t.to(dtype or t.dtype).clone().requires_grad_() for t in tensors]
    value = function(*own)
    value.backward()
    return value.detach(), [t.grad for t in own]


def compare(mine, wanted, tolerance):
    names = ("x", "weight", "bias", "centre")
    for name, a, b in zip(names, mine[1], wanted[1], strict=True):
        close(a, b, tolerance, name)


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=12)
@given(problems(SMOOTH), st.booleans(), st.booleans())
def test_top_has_the_gradients_of_the_dense_product(name, problem, magnitude, weighted):
    *shape, k = problem
    tensors, upstream, priority = parts(*shape)
    chosen = {}

    def mine(x, weight, bias, centre):
        u = Preactivations(x, weight, bias, centre)
        used = priority if weighted else None
        values, chosen["indices"] = u.top(k, magnitude=magnitude, priority=used)
        chosen["values"] = values.detach()
        return (values * upstream.gather(1, chosen["indices"])).sum()

    def dense(*inputs):
        u = product(*inputs)
        chosen["u"] = u.detach()
        return (
            u.gather(1, chosen["indices"]) * upstream.double().gather(1, chosen["indices"])
        ).sum()

    with engine(name), always_sparse():
        found = gradients(mine, tensors)
    wanted = gradients(dense, tensors, torch.float64)
    compare(found, wanted, FLOAT32)
    x, weight, bias, centre = (t.double() for t in tensors)
    size = (x.norm(dim=1) + centre.norm()).max() * weight.norm(dim=1).max() + bias.abs().max()
    at = chosen["u"].gather(1, chosen["indices"])
    assert ((chosen["values"].double() - at).abs() <= FLOAT32 * size).all()
    key = chosen["u"].abs() if magnitude else chosen["u"]
    key = key * priority.double() if weighted else key
    best = key.topk(k, 1).values
    got = key.gather(1, chosen["indices"]).sort(1, descending=True).values
    assert ((best - got).abs() <= 1.5 * FLOAT32 * size).all()


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=12)
@given(problems(SMOOTH))
def test_above_has_the_gradients_of_the_dense_product(name, problem):
    *shape, _ = problem
    tensors, upstream, _ = parts(*shape)
    u = product(*(t.double() for t in tensors))
    cutoff = u.quantile(0.97, dim=0).float() if len(u) > 1 else torch.full_like(tensors[2], u.max())
    seen = {}

    def mine(x, weight, bias, centre):
        found = Preactivations(x, weight, bias, centre).above(cutoff, fill=-7e30)
        if found is None:
            return (x.sum() + weight.sum() + bias.sum() + centre.sum()) * 0.0
        values, indices = found
        used = (values.detach() != -7e30).float()
        seen["mask"] = torch.zeros_like(upstream).scatter_add(1, indices, used)
        return (values * upstream.gather(1, indices)).sum()

    with engine(name), always_sparse():
        found = gradients(mine, tensors)
    if "mask" not in seen:
        return
    compare(
        found,
        gradients(lambda *t: (product(*t) * (upstream * seen["mask"]).double()).sum(), tensors,
                  torch.float64),
        FLOAT32,
    )  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=8)
@given(problems(("normal", "integers")))
def test_dense_at_and_of(name, problem):
    *shape, k = problem
    tensors, upstream, _ = parts(*shape)
    rows, width = upstream.shape
    g = torch.Generator().manual_seed(k)
    indices = torch.randint(0, width, (rows, 3), generator=g)
    latents = torch.randperm(width, generator=g)[:k]

    def total(dense, at, some):
        weights = upstream.to(dense.dtype)
        return (
            (dense * weights).sum()
            + (at * weights.gather(1, indices)).sum()
            + (some * weights[:, latents]).sum()
        )

    def mine(*inputs):
        u = Preactivations(*inputs)
        assert (len(u), u.width) == (rows, width)
        return total(u.dense(), u.at(indices), u.of(latents).dense())

    def plain(*inputs):
        u = product(*inputs)
        return total(u, u.gather(1, indices), u[:, latents])

    with engine(name):
        found = gradients(mine, tensors)
    compare(found, gradients(plain, tensors, torch.float64), FLOAT32)


@pytest.mark.parametrize("name", EVERY)
def test_top_of_some_latents(name):
    tensors, upstream, _ = parts("normal", 9, 12, 300, 1)
    latents = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:150]

    def mine(*inputs):
        values, indices = Preactivations(*inputs).of(latents).top(2)
        mine.indices = latents[indices]
        return (values * upstream.gather(1, mine.indices)).sum()

    with engine(name):
        found = gradients(mine, tensors)
    weights = torch.zeros_like(upstream)
    weights.scatter_(1, mine.indices, upstream.gather(1, mine.indices))
    compare(
        found,
        gradients(lambda *t: (product(*t) * weights.double()).sum(), tensors, torch.float64),
        1e-5,
    )


@pytest.mark.parametrize("name", ["reference", "torch"])
@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("magnitude", [False, True])
def test_gradcheck_of_top(name, k, magnitude):
    tensors, _, _ = parts("normal", 3, 4, 40, 2, torch.float64)

    def function(*inputs):
        values, indices = Preactivations(*inputs).top(k, magnitude=magnitude)
        return values.gather(1, indices.argsort(1))

    with engine(name), always_sparse():
        assert torch.autograd.gradcheck(function, [t.requires_grad_() for t in tensors])


@pytest.mark.parametrize("name", ["reference", "torch"])
def test_gradcheck_of_the_rest(name):
    tensors, _, _ = parts("normal", 3, 4, 30, 3, torch.float64)
    tensors = [t.requires_grad_() for t in tensors]
    indices = torch.tensor([[0, 4, 4], [29, 1, 0], [7, 8, 9]])
    latents = torch.tensor([5, 0, 17])

    def above(*inputs):
        found = Preactivations(*inputs).above(torch.full((30,), 2.5, dtype=torch.float64))
        assert (found is None) == (name == "reference")
        if found is None:
            return inputs[0] * 1.0
        assert (found[0] != 0).any()
        assert (found[0] == 0).any()
        return found[0]

    with engine(name), always_sparse():
        check = torch.autograd.gradcheck
        assert check(above, tensors)
        assert check(lambda *t: Preactivations(*t).dense(), tensors)
        assert check(lambda *t: Preactivations(*t).at(indices), tensors)
        assert check(lambda *t: Preactivations(*t).of(latents).dense(), tensors)
        assert check(lambda b: take_at(b, indices), (tensors[2],))
        assert check(lambda w: take_rows(w, latents), (tensors[1],))


@pytest.mark.parametrize("name", ["reference", "torch", "native 0"])
def test_bfloat16(name):
    tensors, upstream, _ = parts("normal", 16, 24, 200, 4, torch.bfloat16)

    def mine(*inputs):
        values, mine.indices = Preactivations(*inputs).top(3)
        return (values * upstream.gather(1, mine.indices)).sum()

    with engine(name), always_sparse():
        found = gradients(mine, tensors)
    assert all(g.dtype == torch.bfloat16 for g in found[1])
    weights = torch.zeros(upstream.shape).scatter_(
        1, mine.indices, upstream.float().gather(1, mine.indices)
    )
    compare(
        found, gradients(lambda *t: (product(*t) * weights).sum(), tensors, torch.float32), 0.03
    )


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=15)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 300), st.integers(0, 10_000))
def test_take_at_and_sums_by_latent(name, rows, k, width, seed):
    g = torch.Generator().manual_seed(seed)
    parameter = torch.randn(width, generator=g, requires_grad=True)
    indices = torch.randint(0, width, (rows, k), generator=g)
    upstream = torch.randn(k, rows, generator=g).T
    wanted = torch.zeros(width, dtype=torch.float64)
    wanted.index_add_(0, indices.flatten(), upstream.double().flatten())
    with engine(name):
        taken = take_at(parameter, indices)
        taken.backward(upstream)
        sums = sum_by_latent(upstream, indices, width)
    assert torch.equal(taken.detach(), parameter.detach()[indices])
    assert parameter.grad.dtype == torch.float32
    close(parameter.grad, wanted, 1e-6)
    close(sums, wanted, 1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_take_rows(name):
    weight = torch.randn(50, 7, requires_grad=True)
    latents = torch.randperm(50)[:20]
    upstream = torch.randn(20, 7)
    with engine(name):
        take_rows(weight, latents).backward(upstream)
    wanted = torch.zeros(50, 7)
    wanted[latents] = upstream
    assert torch.equal(weight.grad, wanted)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("wanted", range(4))
def test_only_the_gradients_that_are_wanted(name, wanted):
    tensors, upstream, _ = parts("normal", 5, 6, 64, 6)
    whole = [t.clone().requires_grad_() for t in tensors]
    alone = [t.clone().requires_grad_(i == wanted) for i, t in enumerate(tensors)]
    with engine(name), always_sparse():
        for inputs in (whole, alone):
            values, indices = Preactivations(*inputs).top(2)
            (values * upstream.gather(1, indices)).sum().backward()
    for i, (a, b) in enumerate(zip(whole, alone, strict=True)):
        if i == wanted:
            torch.testing.assert_close(a.grad, b.grad)
        else:
            assert b.grad is None


@pytest.mark.parametrize("name", EVERY)
def test_without_a_centre_and_without_gradients(name):
    (x, weight, bias, _), _, _ = parts("normal", 5, 6, 64, 7)
    with engine(name), always_sparse(), torch.no_grad():
        u = Preactivations(x, weight, bias, None)
        values, _ = u.top(3)
    assert not values.requires_grad
    close(values.sort(1).values, (x @ weight.T + bias).topk(3).values.sort(1).values, FLOAT32)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("collecting", [False, True])
@pytest.mark.parametrize("how", ["dense", "top", "above", "of"])
def test_several_added_are_their_sum(name, how, collecting):
    """Values, and the gradient of every part, whoever collects it."""
    generator = torch.Generator().manual_seed(0)
    sizes, rows, width = (5, 7, 3), 20, 600

    def drawn(*shape):
        return torch.randn(*shape, generator=generator)

    xs, weights = [drawn(rows, d) for d in sizes], [drawn(width, d) for d in sizes]
    biases = [drawn(width) for _ in sizes]
    centres, bias = [None, drawn(7), None], drawn(width)
    u = bias + sum(
        (x if c is None else x - c) @ w.T + b
        for x, w, b, c in zip(xs, weights, biases, centres, strict=True)
    )
    upstream = drawn(rows, width)
    on = {"dense": u > -torch.inf, "above": u > 9.0, "of": torch.zeros_like(u, dtype=torch.bool)}
    on["top"] = torch.zeros_like(on["of"]).scatter_(1, u.topk(6).indices, True)
    some = torch.tensor([4, 599, 0])
    on["of"][:, some] = True
    chosen = torch.where(on[how], upstream, 0.0)

    kept = [w.clone().requires_grad_() for w in weights]
    collectors = [RowGradient() for _ in sizes]
    if collecting:
        for weight, collector in zip(kept, collectors, strict=True):
            collector.attach(weight)
    with engine(name), always_sparse():
        parts = zip(xs, kept, biases, centres, strict=True)
        whole = Preactivations.added([Preactivations(*part) for part in parts], bias)
        if how == "dense":
            value = (whole.dense() * chosen).sum()
            torch.testing.assert_close(whole.dense(), u, atol=1e-4, rtol=1e-4)
        elif how == "of":
            value = (whole.of(some).dense() * upstream[:, some]).sum()
        else:
            found = whole.top(6) if how == "top" else whole.above(torch.full_like(bias, 9.0))
            if found is None:  # the reference knows no other way than all of them
                assert name == "reference"
                value = (whole.dense() * chosen).sum()
            else:
                value = (found[0] * chosen.gather(1, found[1])).sum()
        value.backward()
    for i, (x, c, weight) in enumerate(zip(xs, centres, kept, strict=True)):
        wanted = chosen.T @ (x if c is None else x - c)
        sparse = collecting and how != "dense" and weight.grad is None
        if sparse:
            assert collectors[i]
            got = dense_gradient(weight.detach(), collectors[i].factors)
            for latents, more in collectors[i].rows:
                got = got.index_add(0, latents, more)
        else:
            got = weight.grad
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    if collecting and how != "dense" and name != "reference":
        assert all(weight.grad is None for weight in kept)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("rows", [0, 7])
def test_the_best_by_a_key_of_each_row_have_the_gradients_of_the_dense_product(
    name, rows, monkeypatch
):
    tensors, upstream, _ = parts("normal", 7, 6, 40, 0)
    tensors = (tensors[0][:rows], *tensors[1:])
    factors = torch.rand(rows, 40, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr("isthmus.kernels.preactivations._BLOCK", 80)  # two rows at a time
    chosen = {}

    def mine(x, weight, bias, centre):
        values, chosen["indices"] = Preactivations(x, weight, bias, centre).best(
            4, lambda u, part: u * factors[part]
        )
        return (values * upstream[:rows].gather(1, chosen["indices"])).sum()

    def wanted(x, weight, bias, centre):
        u = product(x, weight, bias, centre)
        indices = (u * factors).topk(4, dim=1).indices
        if rows:
            assert torch.equal(indices.sort(1).values, chosen["indices"].sort(1).values)
        return (u.gather(1, indices) * upstream[:rows].gather(1, indices)).sum()

    with engine(name), always_sparse():
        got = gradients(mine, tensors)
    compare(got, gradients(wanted, tensors), FLOAT32)
