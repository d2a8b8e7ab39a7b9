"""Transcoders with a skip, with BatchTopK and with JumpReLU, against the papers' formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import isthmus
from isthmus.anatomy import Clock, Code, SparseCode
from isthmus.bottlenecks.transcoder import TranscoderBatchTopK, TranscoderJumpReLU
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.kernels import using
from isthmus.networks.skip_dictionary import SkipSparseCode, SkipThresholdCode
from isthmus.recipes import get_recipe

INPUTS, TARGETS, WIDTH = 6, 4, 24


def pair(count=1000):
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + torch.randn(count, INPUTS, generator=generator)
    y = torch.relu(x @ torch.randn(INPUTS, TARGETS, generator=generator)) - 1.0
    return {"in": x, "out": y}


def untrained(**options):
    source, recipe = pair(), get_recipe("transcoder")
    torch.manual_seed(0)
    options = {"latent_dim": WIDTH, **options}
    made = recipe.build(as_source(source).signal, recipe.parse(options)[0])
    with torch.no_grad():
        made.prepare(source)
    return made


def fitted(**options):
    options = {"latent_dim": WIDTH, "steps": 30, "batch_size": 100, "warmup": 0, **options}
    return isthmus.fit("transcoder", pair(), **options, progress=False)


def parts(made, count=50):
    """Rows in the model's units, and its weights as leaves of a graph of their own."""
    x, y = (part[:count] / part.square().mean().sqrt() for part in pair().values())
    weights = {n: p.detach().clone().requires_grad_() for n, p in made.named_parameters()}
    return x, y, weights


def both(made, loss):
    """The gradients of a model's objective, and of a loss of one's own, by name of weight."""
    out = made({name: part[:50] for name, part in pair().items()})
    total = made.objective(made, out, "model").total
    total.backward()
    x, y, weights = parts(made)
    own = loss(x, y, weights)
    torch.testing.assert_close(total, own, atol=1e-5, rtol=1e-4)
    own.backward()
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(
            parameter.grad, weights[name].grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: n + m
        )
    return out


def read(x, weights):
    return x @ weights["encoder.each.in.weight"].T + weights["encoder.each.in.bias"]


def recon(z, weights):
    return z @ weights["decoder.weight"] + weights["decoder.bias"]


# --- the skip (Paulo et al. 2025, section 3) ------------------------------------------------------


@pytest.mark.parametrize("path", ["reference", "torch", "auto"])
def test_loss_and_gradients_of_a_skip_transcoder_are_those_of_the_formula(path):
    with using(path):
        made = untrained(k=3, skip=True).train()
        with torch.no_grad():
            made.decoder.skip_weight.normal_(generator=torch.Generator().manual_seed(3))

        def loss(x, y, weights):
            u = read(x, weights)
            values, indices = u.topk(3, dim=1)
            z = torch.zeros_like(u).scatter(1, indices, torch.relu(values))
            rebuilt = recon(z, weights) + x @ weights["decoder.skip_weight"].T
            return (y - rebuilt).square().mean(1).mean()

        both(made, loss)


def test_a_skip_starts_at_zero_and_the_rest_as_without():
    with_it, without = untrained(k=3, skip=True), untrained(k=3)
    assert not with_it.decoder.skip_weight.any()
    for name, parameter in without.named_parameters():
        assert torch.equal(parameter, with_it.get_parameter(name))
    torch.testing.assert_close(with_it.reconstruct(pair()), without.reconstruct(pair()))


@pytest.mark.parametrize("scaling", ["global", "columns"])
def test_a_linear_module_needs_the_skip_alone(scaling):
    x = 0.5 + torch.randn(2000, INPUTS, generator=torch.Generator().manual_seed(1))
    rows = {"in": x, "out": x @ torch.randn(INPUTS, TARGETS) + 3.0}
    fits = {
        skip: isthmus.fit(
            "transcoder", rows, latent_dim=8, k=1, skip=skip, steps=400, batch_size=100, lr=1e-2,
            warmup=0, scaling=scaling, progress=False,
        )
        for skip in (False, True)
    }  # fmt: skip
    error = {skip: isthmus.evaluate(made, rows)["fvu"].value for skip, made in fits.items()}
    assert error[True] < 0.02
    assert error[False] > 10 * error[True]


@pytest.mark.parametrize(
    "options", [{"k": 3}, {"k": 3, "select": "batch"}, {}, {"activation": "jumprelu"}], ids=str
)
def test_the_code_carries_what_skips(options, tmp_path):
    made = fitted(skip=True, out=tmp_path / "run", **options)
    rows = pair(40)
    code = made.encode(rows, code=True)
    assert isinstance(code, (SkipSparseCode, SkipThresholdCode))
    x = rows["in"] / made.scaler["in"].scale
    torch.testing.assert_close(
        code.skip, (x @ made.decoder.skip_weight.detach().T), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(made.decode(code), made.reconstruct(rows), atol=1e-5, rtol=1e-4)
    halves = [made.encode({n: p[at] for n, p in rows.items()}, code=True)
              for at in (slice(20), slice(20, 40))]  # fmt: skip
    joined = type(halves[0]).join(halves)
    torch.testing.assert_close(made.decode(joined), made.decode(code), atol=1e-5, rtol=1e-4)
    with pytest.raises(IsthmusError, match="from the whole code"):
        made.decode(code.z)
    loaded = isthmus.load(tmp_path / "run")
    assert torch.equal(loaded.reconstruct(rows), made.reconstruct(rows))


def test_codes_of_both_kinds_with_a_skip_are_joined():
    values, skip = torch.rand(3, 2), torch.rand(3, 4)
    sparse = SkipSparseCode(values, torch.tensor([[0, 1]] * 3), 5, skip=skip)
    dense = SkipThresholdCode(torch.rand(2, 5), skip=torch.rand(2, 4))
    whole = Code.join([sparse, dense])
    assert torch.equal(whole.z, torch.cat([sparse.z, dense.z]))
    assert torch.equal(whole.skip, torch.cat([sparse.skip, dense.skip]))
    assert set(sparse.tensors()) == {"values", "indices", "skip"}


@pytest.mark.parametrize("scaling", ["global", "columns"])
def test_a_scaler_is_folded_into_the_skip_too(scaling):
    made, rows = fitted(skip=True, k=3, scaling=scaling), pair(40)
    z, recon = made.encode(rows), made.reconstruct(rows)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    removed = made.fold_scale()
    torch.testing.assert_close(made.encode(rows), z, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made.reconstruct(rows), recon, atol=1e-4, rtol=1e-4)
    code = made.encode(rows, code=True)
    torch.testing.assert_close(code.skip, rows["in"] @ made.decoder.skip_weight.detach().T)
    made.unfold_scale(removed)
    for name, tensor in made.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=1e-5, rtol=1e-4)


# --- BatchTopK ------------------------------------------------------------------------------------


def test_the_largest_of_a_batch_are_kept():
    made = untrained(k=3, select="batch").train()
    assert isinstance(made.bottleneck, TranscoderBatchTopK)

    def loss(x, y, weights):
        u = torch.relu(read(x, weights))
        least = u.flatten().topk(3 * len(u)).values[-1]
        return (y - recon(torch.where(u >= least, u, 0.0), weights)).square().mean(1).mean()

    out = both(made, loss)
    assert int((out.code.z != 0).sum()) == 150


def test_at_inference_a_row_does_not_depend_on_its_batch():
    made, rows = fitted(k=3, select="batch", steps=100), pair(60)
    assert made.bottleneck.threshold > 0
    whole, alone = made.encode(rows), made.encode({n: p[:1] for n, p in rows.items()})
    torch.testing.assert_close(whole[:1], alone)
    assert (whole != 0).sum(1).float().mean() == pytest.approx(3.0, abs=0.7)


# --- JumpReLU (Rajamanoharan et al. 2024, equations 11 and 12) ------------------------------------


class Heaviside(torch.autograd.Function):
    """H(u - t) with the rectangular kernel's derivative for t; written from the paper alone."""

    @staticmethod
    def forward(ctx, u, t, eps):
        ctx.save_for_backward(u, t)
        ctx.eps = eps
        return (u > t).to(u.dtype)

    @staticmethod
    def backward(ctx, g):
        u, t = ctx.saved_tensors
        kernel = (((u - t) / ctx.eps).abs() < 0.5).to(u.dtype) / ctx.eps
        return None, -(kernel * g).sum(0), None


def test_loss_and_gradients_with_thresholds_are_those_of_the_formula():
    eps = 0.4
    made = untrained(
        activation="jumprelu", sparsity=0.02, sparsity_steps=0, threshold=0.3, bandwidth=eps
    ).train()

    def loss(x, y, weights):
        u, t = read(x, weights), weights["bottleneck.log_threshold"].exp()
        on = Heaviside.apply(u, t, eps)
        # u H(u - t): by equation 11 the kernel stands at u = t, so that t is the factor there.
        z = u * on.detach() + t * (on - on.detach())
        rebuilt = recon(z, weights)
        return ((y - rebuilt).square().mean(1) + 0.02 * on.sum(1)).mean()

    both(made, loss)
    assert made.get_parameter("bottleneck.log_threshold").grad.abs().max() > 0


def test_published_threshold_and_bandwidth_are_those_of_rows_of_norm_one():
    made = untrained(activation="jumprelu")
    longer = np.sqrt(INPUTS)
    assert isinstance(made.bottleneck, TranscoderJumpReLU)
    assert made.bottleneck.bandwidth == pytest.approx(0.001 * longer)
    threshold = made.bottleneck.log_threshold.detach().exp()
    torch.testing.assert_close(threshold, torch.full((WIDTH,), 0.001 * longer))


def test_the_control_holds_its_target_with_thresholds():
    made = untrained(activation="jumprelu", l0=5.0)
    active = (made.encode(pair(), code=True).z != 0).sum(1).float().mean()
    assert active == pytest.approx(5.0, abs=0.3)
    found = isthmus.evaluate(fitted(activation="jumprelu", l0=5.0, steps=200), pair())
    assert found["l0"].value == pytest.approx(5.0, abs=0.7)
    assert found["fvu"].value < 0.7


def test_it_starts_with_the_best_scale():
    """At the first step no other factor of the encoder rebuilds better."""
    made, source = untrained(k=3, select="batch"), pair()
    scaled = made.scaler(source)
    u = F.linear(scaled["in"], made.encoder["in"].weight, made.encoder["in"].bias)
    least = torch.relu(u).flatten().topk(3 * len(u)).values[-1]
    z = torch.where(u >= least, u, 0.0)
    plain, wanted = z @ made.decoder.weight, scaled["out"] - made.decoder.bias
    best = (plain * wanted).sum() / plain.square().sum()
    assert best.item() == pytest.approx(1.0, abs=1e-3)


def test_the_price_rises_over_the_steps_that_are_said():
    def price(name, **options):
        parts = untrained(**options).objective
        return next(part.weight for part in parts if part.term.name == name)

    ramp = price("l1", sparsity=0.4, sparsity_steps=10)
    assert [ramp(Clock(step, 1000)) for step in (0, 5, 10, 50)] == pytest.approx([0, 0.2, 0.4, 0.4])
    assert price("l1", sparsity=0.4)(Clock(0, 1000)) == pytest.approx(0.4)
    assert price("l0", activation="jumprelu")(Clock(5000, 10**6)) == pytest.approx(5e-4)


def test_ranks_and_thresholds_are_not_mixed():
    with pytest.raises(IsthmusError, match="leave one out"):
        fitted(k=3, activation="jumprelu")


def test_a_sparse_code_stays_one():
    """Where rows are encoded sparsely the code with a skip is a sparse code, too."""
    code = fitted(k=3, skip=True).encode(pair(20), code=True)
    assert isinstance(code, SparseCode)
    assert code.values.shape == (20, 3)
