"""Choosing a path, and what happens where there is no compiled library."""

import contextlib
import inspect

import numpy as np
import pytest
import torch

import isthmus
from isthmus.errors import IsthmusError
from isthmus.kernels import (
    Preactivations,
    dispatch,
    library,
    operators,
    path_in_use,
    sparse_decode,
    use,
    using,
)
from isthmus.kernels.dispatch import backend_for, is_reference

from .cases import NATIVE


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setattr(library, "_loaded", lambda: (None, "isthmus.so was not built"))


def test_a_misspelt_path_is_answered_with_the_nearest():
    plain = inspect.unwrap(use)  # the tests' own check of types would answer first
    with pytest.raises(IsthmusError, match="unknown path 'natve': did you mean 'native'"):
        plain("natve")


def test_native_without_the_library_is_one_sentence_with_a_remedy(without):
    with pytest.raises(IsthmusError, match=r"isthmus.so was not built.*isthmus doctor --build"):
        use("native")
    assert path_in_use() == "torch"


def test_a_path_is_put_back_whatever_happens():
    before = path_in_use()
    with using("torch"):
        with contextlib.suppress(ZeroDivisionError), using("reference"):
            assert is_reference()
            raise ZeroDivisionError
        assert path_in_use() == "torch"
    assert path_in_use() == before


@pytest.mark.skipif(not NATIVE, reason="no native library")
def test_what_the_library_serves():
    single, double = torch.zeros(2), torch.zeros(2, dtype=torch.float64)
    assert backend_for(single, None).library is library.native()
    assert backend_for(single, double).name == "torch"
    assert backend_for(torch.zeros(2, device="meta")).name == "torch"
    for path in ("torch", "reference"):
        with using(path):
            assert backend_for(single).name == path
    with using("native"):
        assert path_in_use() == "native"
        assert backend_for(single).name == "native"


def test_everything_works_without_the_library(without):
    torch.manual_seed(0)  # with some draws a row has more above the cutoff than there is room for
    x, weight = torch.randn(6, 5), torch.randn(200, 5, requires_grad=True)
    u = Preactivations(x, weight, torch.zeros(200), None)
    values, indices = u.top(2)
    found = u.above(torch.full((200,), 4.0))
    loss = sparse_decode(values, indices, weight).sum() + found[0].sum()
    loss.backward()
    assert weight.grad.isfinite().all()
    wanted = (x @ weight.T).topk(2).values.sort(1).values
    torch.testing.assert_close(values.sort(1).values, wanted)


def test_fit_without_the_library(without):
    X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    model = isthmus.fit("topk", X, latent_dim=256, k=2, steps=3, batch_size=32, progress=False)
    assert np.isfinite(model.reconstruct(X)).all()


@pytest.mark.skipif(not NATIVE, reason="no native library")
def test_paths_train_to_the_same_model():
    """To 1e-4 of the largest weight after five steps in float32."""
    X = np.random.default_rng(1).normal(size=(160, 6)).astype(np.float32)
    weights = {}
    for path in ("reference", "torch", "native"):
        with using(path):
            model = isthmus.fit(
                "topk", X, latent_dim=256, k=2, steps=5, batch_size=32, progress=False
            )
        weights[path] = torch.cat([p.detach().flatten() for p in model.parameters()])
    for path in ("torch", "native"):
        error = (weights[path] - weights["reference"]).abs().max()
        assert error <= 1e-4 * weights["reference"].abs().max()


def test_what_has_no_values_is_served_where_triton_is_installed_and_no_gpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(dispatch, "triton", lambda: "programs for a GPU")
    assert dispatch.backend_for(None).name == "torch"
    order, offsets = operators.by_latent(None, torch.tensor([[2, 0], [0, 1]]), 4)
    assert order.tolist() == [1, 2, 3, 0]
    assert offsets.tolist() == [0, 2, 3, 4, 4]
