"""Adam by rows against torch's Adam with the dictionary's hooks.

Tolerances in float32, relative to the largest element: weights 2e-5 after six steps, moments 5e-5
(1 - beta is formed in single precision).
"""

import shutil
from unittest import mock

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import isthmus
import zoo
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.kernels import RowGradient, library, sparse_decode, take_rows, using
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.training import Callback
from isthmus.training.row_adam import RowAdam, row_weights

pytestmark = pytest.mark.skipif(library.native() is None, reason="no native library")
LEVELS = [] if library.native() is None else range(library.native().best_level() + 1)
WIDTH, D, K = 320, 19, 3


@pytest.fixture(autouse=True, params=LEVELS)
def level(request):
    native = library.native()
    before = native.level
    native.set_level(request.param)
    with using("native"):
        yield request.param
    native.set_level(before)


once = pytest.mark.parametrize("level", list(LEVELS)[-1:], indirect=True)
"""At the best level only."""


class Pair(Autoencoder):
    """A dictionary and its encoder, whose weights come by rows."""

    def __init__(self, unit):
        torch.manual_seed(3)
        dictionary = Dictionary(WIDTH, (D,), unit=unit)
        super().__init__(
            Signal("vector", (D,)), encoder=DictionaryEncoder(dictionary), bottleneck=Identity(),
            decoder=dictionary, objective=MSE(),
        )  # fmt: skip
        with torch.no_grad():
            self.encoder.bias.normal_(std=0.1)

    def loss(self, step, parts):
        g = torch.Generator().manual_seed(step)
        x = torch.randn(40, D, generator=g)
        values, indices = self.encoder(x, model=self).top(K)
        error = sparse_decode(values, indices, self.decoder.weight) + self.decoder.bias - x
        total = (error**2).mean()
        if parts in ("two products", "everything"):
            other = torch.randint(0, WIDTH, (40, 2), generator=g)
            scores = torch.rand(40, 2, generator=g)
            total = total + (sparse_decode(scores, other, self.decoder.weight) ** 2).mean()
        if parts in ("rows", "everything"):
            some = torch.randperm(WIDTH, generator=g)[:50]
            total = total + (take_rows(self.decoder.weight, some) ** 3).sum() * 0.1
            again = torch.randperm(WIDTH, generator=g)[:20]
            total = total + (take_rows(self.decoder.weight, again) ** 2).mean()
            total = total + (take_rows(self.encoder.weight, some) ** 2).mean()
        return total


def make(unit, by_rows, *, collect=True, **options):
    model = Pair(unit)
    if by_rows:
        rows = row_weights(model, model.parameters())
        assert rows == {id(model.decoder.weight): unit, id(model.encoder.weight): False}
        return model, RowAdam(model.parameters(), rows, collect=collect, **options)
    return model, torch.optim.Adam(model.parameters(), **options)


def train(model, optimiser, steps, parts="one", clip=None):
    for step in steps:
        optimiser.zero_grad()
        model.loss(step, parts).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        model.decoder.before_update()
        optimiser.step()
        model.decoder.after_update()
    return model


def same(mine, wanted, tolerance=2e-5):
    for (name, a), b in zip(mine.named_parameters(), wanted.parameters(), strict=True):
        limit = tolerance * b.detach().abs().max()
        assert (a - b).abs().max() <= limit, f"{name}: off by {(a - b).abs().max():.3g}"


OPTIONS = {"lr": 3e-3, "betas": (0.8, 0.99), "eps": 1e-6}


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("parts", ["one", "two products", "rows", "everything"])
def test_equals_adam_with_the_hooks(unit, parts):
    mine = train(*make(unit, True, **OPTIONS), range(6), parts)
    same(mine, train(*make(unit, False, **OPTIONS), range(6), parts))
    if unit:
        norms = mine.decoder.weight.norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(WIDTH), rtol=0, atol=1e-6)


@pytest.mark.parametrize("unit", [True, False])
def test_weight_decay(unit):
    options = {**OPTIONS, "weight_decay": 0.05}
    mine = train(*make(unit, True, **options), range(6), "everything")
    same(mine, train(*make(unit, False, **options), range(6), "everything"))


@pytest.mark.parametrize("unit", [True, False])
def test_clipping(unit):
    """The norm that is clipped is that of the gradient as it comes, on either side."""
    mine, optimiser = make(unit, True, collect=False, **OPTIONS)
    train(mine, optimiser, range(6), "everything", clip=0.02)
    same(mine, train(*make(unit, False, **OPTIONS), range(6), "everything", clip=0.02))


def test_two_products_are_one_collected_gradient():
    model, optimiser = make(True, True, **OPTIONS)
    model.loss(0, "everything").backward()
    claim = RowGradient.of(model.decoder.weight)
    assert model.decoder.weight.grad is None
    assert (len(claim.factors), len(claim.rows)) == (2, 2)
    optimiser.zero_grad()
    assert not claim


def test_gradients_of_either_form_add_up():
    """Part of the gradient collected, part of it dense."""
    models = []
    for by_rows in (True, False):
        model, optimiser = make(True, by_rows, **OPTIONS)
        for step in range(4):
            optimiser.zero_grad()
            dense = F.linear(torch.ones(2, D), model.decoder.weight)
            (model.loss(step, "everything") + 0.1 * (dense**2).mean()).backward()
            model.decoder.before_update()
            optimiser.step()
            model.decoder.after_update()
        models.append(model)
    same(*models)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_the_state_goes_over_to_the_other_adam(first, fused):
    options = {**OPTIONS, "fused": fused}
    model, optimiser = make(True, first, **options)
    train(model, optimiser, range(3), "everything")
    if first:
        optimiser.release()
    after, other = make(True, not first, **options)
    after.load_state_dict(model.state_dict())
    other.load_state_dict(optimiser.state_dict())
    train(after, other, range(3, 6), "everything")
    whole, plain = make(True, False, **options)
    train(whole, plain, range(6), "everything")
    same(after, whole)
    mine, wanted = other.state_dict(), plain.state_dict()
    assert mine["param_groups"] == wanted["param_groups"]
    assert mine["state"].keys() == wanted["state"].keys()
    for number, state in wanted["state"].items():
        assert mine["state"][number].keys() == state.keys()
        for name, tensor in state.items():
            found = mine["state"][number][name]
            assert (found.shape, found.dtype) == (tensor.shape, tensor.dtype)
            assert (found - tensor).abs().max() <= 5e-5 * tensor.abs().max()


@once
def test_released_weights_have_gradients_again():
    model, optimiser = make(True, True, **OPTIONS)
    assert RowGradient.claims(model.decoder.weight)
    optimiser.release()
    assert not RowGradient.claims(model.decoder.weight)
    model.loss(0, "one").backward()
    assert model.decoder.weight.grad is not None


@once
def test_a_weight_without_a_gradient_stays():
    model, optimiser = make(True, True, **OPTIONS)
    before = model.decoder.weight.detach().clone()
    optimiser.zero_grad()
    optimiser.step()
    assert torch.equal(model.decoder.weight, before)
    assert not optimiser.state


@once
def test_a_step_begun_natively_can_end_on_another_path():
    mine, optimiser = make(True, True, **OPTIONS)
    with using("torch"):
        train(mine, optimiser, range(3), "everything")
    same(mine, train(*make(True, False, **OPTIONS), range(3), "everything"))


@once
def test_only_weights_the_kernels_can_take_are_declared():
    model = Pair(True)
    assert row_weights(model, [model.decoder.bias]) == {}
    with using("torch"):
        assert row_weights(model, model.parameters()) == {}
    assert row_weights(model.double(), model.double().parameters()) == {}


def test_two_threads_give_the_bits_of_one():
    models, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            model, optimiser = make(True, True, **OPTIONS)
            for step in range(3):
                optimiser.zero_grad()
                torch.set_num_threads(1)  # torch's own reductions may depend on the threads
                model.loss(step, "everything").backward()
                torch.set_num_threads(threads)
                optimiser.step()
            models.append(model)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(a, b)


class Stop(Callback):
    """Keeps the folder as it is after a step, as if the run had been killed there."""

    def __init__(self, at, to):
        self.at, self.to = at, to

    def on_save(self, trainer, folder):
        if trainer.step == self.at:
            shutil.copytree(folder, self.to)


@once
def test_a_resumed_native_run_has_the_same_bits(tmp_path):
    X = np.random.default_rng(0).normal(size=(256, 16)).astype(np.float32)
    native, calls = library.native(), []
    plain = native.functions["row_adam"]

    def counted(structure):
        calls.append(1)
        plain(structure)

    options = {"latent_dim": 1024, "k": 4, "steps": 8, "batch_size": 64, "progress": False}
    with mock.patch.dict(native.functions, {"row_adam": counted}):
        whole = isthmus.fit(
            "topk", X, out=tmp_path / "run", callbacks=[Stop(4, tmp_path / "half")], save_every=4,
            **options,
        )  # fmt: skip
        assert len(calls) == 2 * 8, "encoder and decoder, each step"
        again = isthmus.resume(tmp_path / "half", X, progress=False)
        assert len(calls) == 2 * 12
    assert zoo.sha(again) == zoo.sha(whole)
    alone = isthmus.fit("topk", X, **options)
    assert zoo.sha(alone) == zoo.sha(whole)


@pytest.mark.parametrize("clip", [{"clip": 0.02}, {"clip_value": 1e-5}])
def test_a_run_that_cuts_gradients_is_adams(clip):
    X = torch.randn(200, 16, generator=torch.manual_seed(0))
    own = {"latent_dim": 64, "k": 4, "steps": 5, "batch_size": 40, "clip": None, **clip}
    mine, wanted = (
        isthmus.fit("topk", X, progress=False, optimiser_options={"eps": 1e-6, **more}, **own)
        for more in ({}, {"foreach": True})
    )
    same(mine, wanted)
