"""Gated latents: equations 5 to 7, both ways of computing them, and the shift of the cutoffs."""

import numpy as np
import pytest
import torch

from isthmus import kernels
from isthmus.anatomy import Autoencoder, Signal, SparseCode, ThresholdCode, View
from isthmus.bottlenecks import Gated
from isthmus.kernels import Preactivations
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE

WIDTH, D, ROWS = 640, 12, 9
PATHS = ["torch", "native"] if kernels.library.native() is not None else ["torch"]


def parameters(seed=0, bias=-2.2, dtype=np.float32):
    rng = np.random.default_rng(seed)
    shapes = {"x": (ROWS, D), "weight": (WIDTH, D), "bias": (WIDTH,), "centre": (D,)}
    made = {n: rng.normal(size=s).astype(dtype) for n, s in shapes.items()}
    made["weight"] /= dtype(D**0.5)
    made["bias"] = (0.1 * made["bias"] + bias).astype(dtype)
    return {n: torch.from_numpy(t).requires_grad_() for n, t in made.items()}


def bottleneck(seed=0):
    torch.manual_seed(seed)
    made = Gated(WIDTH, 100)
    with torch.no_grad():
        made.log_scale.normal_(0.0, 0.3)
        made.bias.normal_(-1.5, 0.5)  # so that some open gates have no size
    return made


def formula(given, made):
    x, w, b, c = (given[n].detach().double().numpy() for n in ("x", "weight", "bias", "centre"))
    r, b_mag = (p.detach().double().numpy() for p in (made.log_scale, made.bias))
    gate = (x - c) @ w.T + b
    size = (x - c) @ (np.exp(r)[:, None] * w).T + b_mag
    return np.maximum(gate, 0.0), (gate > 0) * np.maximum(size, 0.0)


@pytest.mark.parametrize("bias", [-2.2, 0.0])
def test_it_is_the_papers_formula(bias):
    given, made = parameters(bias=bias), bottleneck()
    code = made(Preactivations(**given))
    gate, z = formula(given, made)
    np.testing.assert_allclose(code.z.detach().numpy(), z, atol=1e-5)
    assert ((gate > 0) & (z == 0)).any()
    assert (z > 0).any()
    (gates,) = code.gates
    assert gates.detach().sum().item() == pytest.approx(gate.sum(), rel=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_sparse_equals_dense_with_all_gradients(path):
    given, made, upstream = parameters(), bottleneck(), torch.randn(ROWS, WIDTH)
    kinds, results = [], []
    for way in ("reference", path):
        with kernels.using(way):
            code = made(Preactivations(**given))
            (gate,) = code.gates
            if isinstance(code, SparseCode):
                gate = torch.zeros(ROWS, WIDTH).scatter_add(1, code.indices, gate)
            ((code.z * upstream).sum() + (gate * upstream.cos()).sum()).backward()
        leaves = {**given, **dict(made.named_parameters())}
        results.append({"z": code.z.detach(), "gate": gate.detach()})
        for name, tensor in leaves.items():
            results[-1][name] = tensor.grad.clone()
            tensor.grad = None
        kinds.append(type(code))
    assert kinds == [ThresholdCode, SparseCode]
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=5e-5, atol=5e-5, msg=name)


def test_gradients_against_finite_differences():
    given = parameters(bias=0.0, dtype=np.float64)
    given = {n: (t if n in ("x", "centre") else t[:5]).detach().clone() for n, t in given.items()}
    made = Gated(5, 100).double()
    with torch.no_grad():
        made.log_scale.normal_(0.0, 0.3)
        made.bias.copy_(given["bias"] + 0.3)

    def values(x, weight, bias, centre, log_scale, size):
        with torch.no_grad():
            made.log_scale.copy_(log_scale)
            made.bias.copy_(size)
        made.log_scale.requires_grad_(False)
        parts = {"log_scale": log_scale, "bias": size}
        h = Preactivations(x, weight, bias, centre)
        code = torch.func.functional_call(made, parts, (h,))
        return code.z, *code.gates

    leaves = [given[n].requires_grad_() for n in ("x", "weight", "bias", "centre")]
    leaves += [made.log_scale.detach().clone().requires_grad_()]
    leaves += [made.bias.detach().clone().requires_grad_()]
    assert torch.autograd.gradcheck(values, leaves)


def test_no_gradient_of_the_code_reaches_the_gate():
    """At an open gate b_gate cancels; at a closed one nothing passes."""
    given, made = parameters(bias=0.0), bottleneck()
    made(Preactivations(**given)).z.sum().backward()
    torch.testing.assert_close(given["bias"].grad, torch.zeros(WIDTH), atol=1e-5, rtol=0)
    assert made.bias.grad.abs().sum() > 0


def test_a_shift_raises_both_cutoffs():
    torch.manual_seed(0)
    dictionary = Dictionary(WIDTH, (D,))
    encoder, made = DictionaryEncoder(dictionary), bottleneck()
    model = Autoencoder(
        Signal("vector", (D,)), encoder=encoder, bottleneck=made, decoder=dictionary,
        objective=MSE(),
    )  # fmt: skip
    x = torch.randn(ROWS, D)
    with torch.no_grad():
        made.bias.fill_(0.0)
        before = made(model.encode_view(View(x))).z
        made.shift(model, torch.tensor(0.1))
        after = made(model.encode_view(View(x))).z
        u = x @ encoder.weight.T
    torch.testing.assert_close(after, made.log_scale.exp() * (u - 0.1).clamp_min(0.0))
    assert (after != 0).sum() < (before != 0).sum()


def test_batches_join():
    given, made = parameters(), bottleneck()
    with torch.no_grad(), kernels.using("torch"):
        code = made(Preactivations(**given)).detached()
    joined = type(code).join([code, code])
    assert isinstance(joined, (SparseCode, ThresholdCode))
    assert torch.equal(joined.z, torch.cat([code.z, code.z]))
