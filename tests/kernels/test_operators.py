"""The products as PyTorch's operators: their rules, their derivatives, compiled and exported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isthmus.kernels import RowGradient, operators, using
from isthmus.kernels.dispatch import portable

from .cases import NATIVE
from .compiled import WIDTH, D, K, Small, tensors

PATHS = ["torch", *(["native"] if NATIVE else [])]


def calls(dtype=torch.float32):
    """Each operator with arguments of its own; floating ones want gradients."""
    t = tensors(dtype)
    indices, cutoff = t.pop("indices"), torch.full((WIDTH,), 4.0, dtype=dtype)
    x, target, weight, bias, values, offset = (t[n].requires_grad_() for n in t)
    ops = operators
    return {
        "select_top": (ops.select_top, (x, weight, bias, K, False, None)),
        "select_top by priority": (ops.select_top, (x, weight, bias, K, True, bias.detach().abs())),
        "select_above": (ops.select_above, (x, weight, bias, cutoff, WIDTH)),
        "decode": (ops.decode, (values, indices, weight)),
        "decode_error": (ops.decode_error, (values, indices, weight, offset, target)),
        "at_places": (ops.at_places, (x, indices, weight)),
        "by_latent": (ops.by_latent, (values.detach(), indices, WIDTH)),
        "row_gradient": (ops.row_gradient, (values, indices, x, WIDTH, dtype)),
        "sum_by_latent": (ops.sum_by_latent, (values, indices, WIDTH)),
    }


@pytest.mark.parametrize("path", ["reference", *PATHS])
@pytest.mark.parametrize("name", list(calls()))
def test_the_rules_of_operators(path, name):
    operator, arguments = calls()[name]
    with using(path):
        torch.library.opcheck(operator.overload, arguments)


@pytest.mark.parametrize("path", ["reference", *PATHS])
def test_the_rules_of_adam_by_rows(path):
    t = tensors()
    state = [t["weight"], torch.zeros(WIDTH, D), torch.zeros(WIDTH, D)]
    lists = [[t["values"]], [t["indices"]], [t["x"]], [torch.arange(3)], [torch.ones(3, D)]]
    numbers = (1e-3, 0.9, 0.999, 1e-8, 0.1, 1e-3, 0.0, True)
    with using(path):
        torch.library.opcheck(
            operators._ROW_ADAM.overload, (*state, *lists, None, torch.zeros(()), None, *numbers)
        )


@pytest.mark.parametrize("name", [n for n in calls() if n != "by_latent"])
def test_gradients(name):
    operator, arguments = calls(torch.float64)[name]
    wanted = [a for a in arguments if isinstance(a, torch.Tensor) and a.requires_grad]
    places = [i for i, a in enumerate(arguments) if isinstance(a, torch.Tensor) and a.requires_grad]

    def function(*inputs):
        given = list(arguments)
        for place, value in zip(places, inputs, strict=True):
            given[place] = value
        found = operator(*given)
        return (
            found
            if isinstance(found, torch.Tensor)
            else [t for t in found if t.is_floating_point()]
        )

    with using("torch"):
        assert torch.autograd.gradcheck(function, wanted, fast_mode=True)
        if name not in ("select_top", "select_top by priority", "select_above"):
            assert torch.autograd.gradgradcheck(function, wanted, fast_mode=True)


def test_compiled_and_exported():
    """In a process of its own: what checks annotations here cannot be compiled."""
    script = Path(__file__).with_name("compiled.py")
    found = subprocess.run(
        [sys.executable, "-W", "error", str(script), *PATHS], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.split() == ["compiled", "exported"] * len(PATHS)


def test_what_collects_a_gradient_still_does_outside_a_graph():
    model, x = Small(), tensors()["x"]
    claim = RowGradient()
    claim.attach(model.decoder)
    model(x).backward()
    assert claim
    assert model.decoder.grad is None
    assert model.encoder.grad is not None


def test_the_profiler_names_them():
    model, x = Small(), tensors()["x"]
    with (
        using("torch"),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile,
    ):
        model(x).backward()
    names = {event.key for event in profile.key_averages()}
    assert {"isthmus::select_top", "isthmus::decode", "isthmus::row_gradient"} <= names


def test_where_operations_are_counted_there_is_none():
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    model, x = Small(), tensors()["x"]
    with portable(), Watch():
        model(x).backward()
    assert "aten.addmm.default" in seen
    assert not any("isthmus" in name for name in seen)


def test_autocast_is_left_alone_in_main_memory():
    t = tensors()
    with torch.autocast("cpu", torch.bfloat16):
        found = operators.decode(t["values"], t["indices"], t["weight"])
    assert found.dtype == torch.float32
