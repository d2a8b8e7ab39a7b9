"""ReLU: the formula, both ways of computing it, and the start at a target."""

import numpy as np
import pytest
import torch

import isthmus
from isthmus import kernels
from isthmus.anatomy import Signal, SparseCode, ThresholdCode
from isthmus.bottlenecks import ReLU
from isthmus.kernels import Preactivations
from isthmus.recipes import get_recipe

WIDTH, D, ROWS = 640, 12, 9
PATHS = ["torch", "native"] if kernels.library.native() is not None else ["torch"]


def parameters(seed=0, bias=-2.5):
    rng = np.random.default_rng(seed)
    shapes = {"x": (ROWS, D), "weight": (WIDTH, D), "bias": (WIDTH,), "centre": (D,)}
    made = {n: torch.from_numpy(rng.normal(size=s).astype(np.float32)) for n, s in shapes.items()}
    made["weight"] /= D**0.5
    made["bias"] = 0.1 * made["bias"] + bias
    return {n: t.requires_grad_() for n, t in made.items()}


def run(bottleneck, path, given, upstream):
    """Dense values, and the gradients of the inputs and the bottleneck's parameters."""
    with kernels.using(path):
        code = bottleneck(Preactivations(**given))
        z = code.z
        (z * upstream).sum().backward()
    leaves = {**given, **dict(bottleneck.named_parameters())}
    gradients = {n: t.grad.clone() for n, t in leaves.items() if t.grad is not None}
    for tensor in leaves.values():
        tensor.grad = None
    return code, z.detach(), gradients


@pytest.mark.parametrize("path", PATHS)
def test_sparse_equals_dense_with_all_gradients(path):
    given, upstream = parameters(), torch.randn(ROWS, WIDTH)
    made = ReLU(WIDTH, 100)
    dense, expected, gradients = run(made, "reference", given, upstream)
    sparse, z, found = run(made, path, given, upstream)
    assert isinstance(dense, ThresholdCode)
    assert isinstance(sparse, SparseCode)
    torch.testing.assert_close(z, expected, rtol=2e-5, atol=1e-5)
    assert found.keys() == gradients.keys() == {"x", "weight", "bias", "centre"}
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=2e-5, atol=2e-5)


def test_it_is_the_rectifier():
    given = parameters(bias=0.0)
    x, w, b, c = (given[n].detach().double().numpy() for n in ("x", "weight", "bias", "centre"))
    z = ReLU(WIDTH, 100)(Preactivations(**given)).z.detach().numpy()
    np.testing.assert_allclose(z, np.maximum((x - c) @ w.T + b, 0.0), atol=1e-5)


def start(name, x, **options):
    recipe = get_recipe(name)
    model = recipe.build(Signal.infer(x), recipe.parse(options)[0])
    with torch.no_grad():
        model.prepare(torch.from_numpy(x))
    return model


def rows(n=3000, d=16, scale=1.0):
    rng = np.random.default_rng(0)
    mixed = rng.exponential(size=(n, 40)) * (rng.random((n, 40)) < 0.1)
    return (scale * (mixed @ rng.normal(size=(40, d)) + 3.0)).astype(np.float32)


@pytest.mark.parametrize("name", ["relu-l1", "gated", "jumprelu"])
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("l0", [2.0, 20.0])
def test_a_run_starts_at_its_target_and_at_the_scale_of_the_data(name, scale, l0):
    x = rows(scale=scale)
    model = start(name, x, latent_dim=64, l0=l0)
    z = model.encode(x)
    assert (z != 0).sum(1).mean() == pytest.approx(l0, rel=0.02)
    left = ((model.reconstruct(x) - x) ** 2).sum() / ((x - np.median(x, 0)) ** 2).sum()
    assert left < 1.0  # no overshoot, however many are active
    assert model.bottleneck.control.coefficient > 0
    torch.testing.assert_close(model.decoder.weight.norm(dim=1), torch.ones(64))


@pytest.mark.parametrize("name", ["relu-l1", "gated", "jumprelu"])
def test_the_start_does_not_depend_on_the_scale_of_the_data(name):
    torch.manual_seed(0)
    one = start(name, rows(), latent_dim=64, l0=5.0)
    torch.manual_seed(0)
    other = start(name, rows(scale=100.0), latent_dim=64, l0=5.0)
    theirs = other.state_dict()
    for key, value in one.state_dict().items():
        if not key.startswith("scaler"):
            torch.testing.assert_close(value, theirs[key], rtol=1e-3, atol=1e-4, msg=key)


KINDS = [("relu-l1", {}), ("relu-l1", {"tied": True}), ("gated", {}), ("jumprelu", {}),
         ("jumprelu", {"threshold": 0.1}), ("jumprelu", {"subtract_bias": False})]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_without_a_target_the_first_reconstruction_is_sane(name, options):
    """A tied start of all latents overshoots by half of them an element: 16 times, squared."""
    x = rows()
    model = start(name, x, latent_dim=512, **options)
    centre = model.decoder.bias.detach() * model.scaler.scale
    left = ((model.reconstruct(x) - x) ** 2).sum() / ((x - np.median(x, 0)) ** 2).sum()
    assert left < (1.0 if options else 0.5)  # no overshoot
    np.testing.assert_allclose(centre, np.median(x, 0), atol=1.0)  # and not at zero
    torch.testing.assert_close(model.decoder.weight.norm(dim=1), torch.ones(512))
    if not {"tied", "threshold"} & set(options):
        assert (model.encode(x) != 0).any(0).all()  # no latent is silent
        assert start_of(model, x) == pytest.approx(1.0, abs=0.02)  # no other scale is better


def start_of(model, x):
    """The best factor on what a model rebuilds about its centre, in closed form."""
    centre = (model.decoder.bias.detach() * model.scaler.scale).numpy()
    rebuilt = model.reconstruct(x) - centre
    return float((rebuilt * (x - centre)).sum() / (rebuilt**2).sum())


def test_an_initial_threshold_is_kept():
    model = start("jumprelu", rows(), latent_dim=64, threshold=0.1)
    torch.testing.assert_close(model.bottleneck.log_threshold.exp(), torch.full((64,), 0.1))


def test_only_training_counts_who_fires():
    fitted = isthmus.fit(
        "relu-l1", rows(200), latent_dim=16, steps=3, batch_size=20, progress=False
    )
    before = fitted.bottleneck.counter.silent_rows.clone()
    fitted.encode(rows(50))
    assert torch.equal(fitted.bottleneck.counter.silent_rows, before)
