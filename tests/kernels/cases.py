"""Every implementation there is on this machine, and data that are hard for some of them."""

import contextlib
from unittest import mock

import torch
from hypothesis import strategies as st

from isthmus.kernels import library, preactivations, using

LEVELS = [] if library.native() is None else list(range(library.native().best_level() + 1))
NATIVE = [f"native {level}" for level in LEVELS]
ENGINES = ["torch", *NATIVE]
FLAVOURS = ["normal", "integers", "repeated", "zeros", "huge", "tiny", "outlier", "aligned"]


@contextlib.contextmanager
def engine(name):
    """``torch``, ``reference`` or ``native n`` for a while."""
    kind, _, level = name.partition(" ")
    if not level:
        with using(kind):
            yield
        return
    native = library.native()
    before = native.level
    native.set_level(int(level))
    try:
        with using(kind):
            yield
    finally:
        native.set_level(before)


def always_sparse():
    """Let the sparse products serve shapes for which the dense ones would be faster."""
    return mock.patch.object(preactivations, "sparse_pays", return_value=True)


def linear(flavour, rows, d, width, seed, dtype=torch.float32):
    """x ``(rows, d)``, weight ``(width, d)``, bias ``(width,)``, priority > 0 ``(width,)``."""
    g = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(rows, d, generator=g), torch.randn(width, d, generator=g)
    bias = 0.1 * torch.randn(width, generator=g)
    priority = 0.5 + torch.rand(width, generator=g)
    if flavour == "integers":
        x, weight, bias = x.round(), weight.round(), bias.round()
        priority = torch.ones(width)
    elif flavour == "repeated":
        weight[:] = weight[torch.randint(0, max(1, width // 8), (width,), generator=g)]
        bias[:], priority[:] = 0.25, 1.0
    elif flavour == "zeros":
        x[::2] = 0.0
        weight[::3] = 0.0
    elif flavour == "huge":
        x, bias = x * 1e12, bias * 1e12
    elif flavour == "tiny":
        x, bias = x * 1e-12, bias * 1e-12
    elif flavour == "outlier":
        x[:, 0] = 1e4 * x[:, 0].abs().clamp_min(0.5)
    elif flavour == "aligned":
        # The largest element is 300 times the others, which some latents match exactly.
        weight[:rows] = x[:width]
        weight[:rows, 0] = 0.0
        x[:, 0] = 300.0
        weight[:, 0] *= 1e-3
    return tuple(t.to(dtype) for t in (x, weight, bias, priority))


def ks(width):
    """1, all, few enough for the products in int8, or any number."""
    few = st.integers(1, max(1, width // 5))
    return st.one_of(st.just(1), st.just(width), few, st.integers(1, width))


@st.composite
def problems(draw, flavours=tuple(FLAVOURS)):
    """flavour, rows, d, width, seed, k."""
    width = draw(st.integers(1, 300))
    return (
        draw(st.sampled_from(flavours)),
        draw(st.integers(1, 40)),
        draw(st.integers(1, 70)),
        width,
        draw(st.integers(0, 10_000)),
        draw(ks(width)),
    )


def truth(x, weight, bias):
    """The pre-activations in float64, and what an error of each row is measured by."""
    u = x.double() @ weight.double().T + bias.double()
    size = x.double().norm(dim=1) * weight.double().norm(dim=1).max() + bias.double().abs().max()
    return u, size[:, None]


def close(mine, wanted, tolerance, what=""):
    """Equal to within ``tolerance`` of the largest element."""
    error = (mine.double() - wanted.double()).abs().max().item() if mine.numel() else 0.0
    limit = tolerance * max(wanted.double().abs().max().item() if wanted.numel() else 0.0, 1e-30)
    assert mine.shape == wanted.shape
    assert error <= limit, f"{what}: off by {error:.3g}, allowed {limit:.3g}"
