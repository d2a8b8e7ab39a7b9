"""A part for each name, against doing it by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.anatomy import (
    Autoencoder,
    Batch,
    Bernoulli,
    Clock,
    Code,
    Each,
    Gaussian,
    Likelihood,
    Only,
    Scaler,
    Signal,
    Step,
    added,
    side_by_side,
)  # fmt: skip
from isthmus.anatomy.each import EachLikelihood, EachScaler
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary
from isthmus.objectives import MSE, NegativeLogLikelihood

ROWS = 7
G = torch.Generator().manual_seed(0)
X = {"a": torch.randn(ROWS, 4, generator=G) * 3 + 5, "b": torch.rand(ROWS, 2, 3, generator=G)}
SIGNAL = Signal("collection", parts={"a": Signal("vector", (4,)), "b": Signal("series", (2, 3))})


def parts(seed=0):
    torch.manual_seed(seed)
    encoder = {"a": nn.Linear(4, 3), "b": nn.Sequential(nn.Flatten(), nn.Linear(6, 3))}
    decoder = {"a": nn.Linear(3, 4), "b": nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3)))}
    return encoder, decoder


def model_of(**more):
    encoder, decoder = parts()
    chosen = {
        "encoder": Each(encoder, added), "bottleneck": Identity(), "decoder": Each(decoder),
        "objective": MSE(), **more,
    }  # fmt: skip
    return Autoencoder(SIGNAL, **chosen)


# --- encoder and decoder -------------------------------------------------------------------------


@pytest.mark.parametrize("merge", [None, added, side_by_side, lambda found: found["a"]])
def test_an_encoder_for_each(merge):
    encoder, _ = parts()
    h = {name: encoder[name](X[name]) for name in X}
    found = Each(encoder, merge)(X)
    if merge is None:
        assert list(found) == ["a", "b"]
        assert all(torch.equal(found[n], h[n]) for n in h)
    elif merge is added:
        assert torch.equal(found, h["a"] + h["b"])
    elif merge is side_by_side:
        assert torch.equal(found, torch.cat([h["a"], h["b"]], 1))
    else:
        assert torch.equal(found, h["a"])


def test_a_decoder_for_each_gets_the_code_whole():
    model = model_of()
    out = model(Batch(X), Step(Clock(0, 3)))
    encoder, decoder = parts()
    z = encoder["a"](X["a"]) + encoder["b"](X["b"])
    assert torch.equal(out.code.z, z)
    for name in X:
        assert torch.equal(out.recon[name], decoder[name](z))
    expected = sum((out.recon[n] - X[n]).square().flatten(1).sum(1) for n in X) / 10
    torch.testing.assert_close(MSE()(model, out), expected)
    arrays = {n: t.numpy() for n, t in X.items()}
    rebuilt = model.reconstruct(arrays)
    for name in X:
        np.testing.assert_allclose(rebuilt[name], out.recon[name].detach(), atol=1e-6)
    np.testing.assert_allclose(model.score(arrays), -expected.detach(), rtol=1e-5)
    np.testing.assert_allclose(model.encode(arrays), z.detach(), atol=1e-6)


def test_each_part_asks_as_it_would_alone():
    seen = {}

    class Asks(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.called = name

        def forward(self, x, *, mask, given, view, model, step):
            seen[self.called] = (x, mask, given, view, model, step)
            return x.flatten(1)[:, :3]

    mask = {"a": torch.tensor([True] * 6 + [False])}
    model = model_of(encoder=Each({"a": Asks("a"), "b": Asks("b")}, added))
    batch = Batch(X, mask=mask, given={"label": torch.arange(ROWS)})
    step = Step(Clock(1, 3))
    out = model(batch, step)
    assert seen["a"][1] is mask["a"]
    assert seen["b"][1] is None
    assert out.x["b"] is X["b"]
    assert torch.equal(out.x["a"][:6], X["a"][:6])
    assert not out.x["a"][6].any()  # what was not observed says nothing, whatever stands there
    for name in X:
        x, _, given, view, whole, at = seen[name]
        assert x is out.x[name]
        assert torch.equal(given["label"], torch.arange(ROWS))
        assert view is out.views[0]
        assert whole is model
        assert at is step


def test_decoders_of_z_and_of_the_code_side_by_side():
    dictionary, line = Dictionary(3, (4,)), nn.Linear(3, 5)
    each = Each({"a": dictionary, "b": line})
    code = Code(torch.randn(ROWS, 3))
    model = model_of(decoder=each)
    found = model.decode_code(code)
    assert torch.equal(found["a"], dictionary.decode(code))
    assert torch.equal(found["b"], line(code.z))


def test_branches_without_a_part_are_left_out():
    encoder, _ = parts()
    assert torch.equal(Each({"a": encoder["a"]}, added)(X), encoder["a"](X["a"]))


def test_names_that_are_missing_are_one_sentence():
    encoder, _ = parts()
    with pytest.raises(
        IsthmusError, match=r"has a part for 'b', and the data have 'a': give both t"
    ):
        Each(encoder)({"a": X["a"]})
    with pytest.raises(IsthmusError, match="Each needs one part or more"):
        Each({})
    with pytest.raises(
        IsthmusError, match=r"X lacks 'b': give it the names of the model, 'a', 'b'"
    ):
        model_of().encode({"a": X["a"]})
    with pytest.raises(IsthmusError, match="this model reads 'a', 'b': pass a mapping of these n"):
        model_of().encode(X["a"])


def test_a_part_that_a_row_lacks_counts_for_nothing():
    """The mean is over what is there, in the loss and in the score."""
    model = model_of()
    there = torch.arange(ROWS) % 2 == 0
    steps = torch.tensor([[True, False]] * ROWS)
    for seen in (there, steps, X["b"] > 0.5):
        batch = Batch(X, mask={"a": None, "b": seen})
        out = model(batch)
        wide = seen.reshape(*seen.shape, *[1] * (3 - seen.ndim)).expand(ROWS, 2, 3)
        squares = (out.recon["a"] - X["a"]).square().sum(1)
        squares = squares + torch.where(wide, (out.recon["b"] - X["b"]).square(), 0.0).sum((1, 2))
        expected = squares / (4 + wide.sum((1, 2)))
        torch.testing.assert_close(MSE()(model, out), expected)
        torch.testing.assert_close(model.score(batch), -expected.detach())
    nothing = {"a": torch.tensor([False] + [True] * 6), "b": torch.tensor([False] + [True] * 6)}
    found = MSE()(model, model(Batch(X, mask=nothing)))
    assert found[0] == 0.0
    assert found.isfinite().all()


def test_what_was_not_observed_is_not_scored():
    model = model_of(
        likelihood=Each({"a": Gaussian(0.5), "b": Bernoulli()}), objective=NegativeLogLikelihood()
    )
    there = torch.arange(ROWS) % 2 == 0
    out = model(Batch(X, mask={"a": None, "b": there}))
    expected = -Gaussian(0.5).log_prob(out.params["a"], X["a"])
    expected = expected - torch.where(there, Bernoulli().log_prob(out.params["b"], X["b"]), 0.0)
    torch.testing.assert_close(NegativeLogLikelihood()(model, out), expected)


# --- names, copies, state ------------------------------------------------------------------------


def test_dotted_names():
    """Points of networks are called by dotted paths, which modules may not be."""
    encoder, _ = parts()
    each = Each({"blocks.0.mlp": encoder["a"], "blocks.1": encoder["b"]})
    found = each({"blocks.0.mlp": X["a"], "blocks.1": X["b"]})
    assert list(found) == ["blocks.0.mlp", "blocks.1"]
    assert each["blocks.0.mlp"] is encoder["a"]
    assert [n for n, _ in each.items()] == ["blocks.0.mlp", "blocks.1"]


@pytest.mark.parametrize("names", [("a", "b"), ("x.y", "b")])
def test_copies_and_state(names):
    encoder, _ = parts()
    each = Each(dict(zip(names, encoder.values(), strict=True)), added)
    x = dict(zip(names, X.values(), strict=True))
    copied = copy.deepcopy(each)
    assert type(copied) is Each
    assert torch.equal(copied(x), each(x))
    with torch.no_grad():
        copied[names[0]].weight.add_(1.0)
    assert not torch.equal(copied(x), each(x))
    fresh = Each(dict(zip(names, parts(seed=3)[0].values(), strict=True)), added)
    fresh.load_state_dict(each.state_dict())
    assert torch.equal(fresh(x), each(x))


def test_copies_of_likelihoods_and_scalers_are_of_their_class():
    likelihood = Each({"a": Gaussian(0.5), "b": Bernoulli()})
    scaler = Each({"a": Scaler((4,), "columns")})
    assert isinstance(likelihood, EachLikelihood)
    assert isinstance(likelihood, Likelihood)
    assert isinstance(scaler, EachScaler)
    assert isinstance(scaler, Scaler)
    assert type(copy.deepcopy(likelihood)) is EachLikelihood
    scaler.fit({"a": X["a"]})
    copied = copy.deepcopy(scaler)
    assert type(copied) is EachScaler
    assert torch.equal(copied(X)["a"], scaler(X)["a"])


# --- likelihoods ----------------------------------------------------------------------------------


def test_a_likelihood_for_each():
    likelihood = Each({"a": Gaussian(0.5), "b": Bernoulli()})
    params = {"a": torch.randn(ROWS, 4), "b": torch.randn(ROWS, 2, 3)}
    own = {"a": Gaussian(0.5), "b": Bernoulli()}
    mean = likelihood.mean(params)
    for name in X:
        assert torch.equal(mean[name], own[name].mean(params[name]))
    total = sum(own[n].log_prob(params[n], X[n]) for n in X)
    torch.testing.assert_close(likelihood.log_prob(params, X), total)
    assert not likelihood.discrete
    assert Each({"b": Bernoulli()}).discrete == Bernoulli.discrete


def test_a_name_that_a_row_lacks_adds_nothing():
    likelihood = Each({"a": Gaussian(0.5), "b": Bernoulli()})
    params = {"a": torch.randn(ROWS, 4), "b": torch.randn(ROWS, 2, 3)}
    there = torch.arange(ROWS) % 2 == 0
    found = likelihood.log_prob(params, X, {"b": there})
    of_a = Gaussian(0.5).log_prob(params["a"], X["a"])
    of_b = Bernoulli().log_prob(params["b"], X["b"])
    torch.testing.assert_close(found, of_a + torch.where(there, of_b, 0.0))


def test_draws_are_of_each_from_one_generator():
    likelihood = Each({"a": Gaussian(0.5), "b": Bernoulli()})
    params = {"a": torch.randn(ROWS, 4), "b": torch.randn(ROWS, 2, 3)}
    g = torch.Generator().manual_seed(3)
    found = likelihood.sample(params, generator=g)
    g = torch.Generator().manual_seed(3)
    assert torch.equal(found["a"], Gaussian(0.5).sample(params["a"], generator=g))
    assert torch.equal(found["b"], Bernoulli().sample(params["b"], generator=g))


def test_values_that_a_likelihood_cannot_score_are_refused():
    likelihood = Each({"a": Gaussian(), "b": Bernoulli()})
    likelihood.check(X)
    with pytest.raises(IsthmusError):
        likelihood.check({"a": X["a"], "b": X["b"] + 3.0})


def test_a_model_of_several_likelihoods():
    model = model_of(
        likelihood=Each({"a": Gaussian(0.5), "b": Bernoulli()}), objective=NegativeLogLikelihood()
    )
    out = model(Batch(X))
    expected = -Gaussian(0.5).log_prob(out.params["a"], X["a"])
    expected = expected - Bernoulli().log_prob(out.params["b"], X["b"])
    torch.testing.assert_close(NegativeLogLikelihood()(model, out), expected)


# --- scalers --------------------------------------------------------------------------------------


def test_a_scaler_for_each_is_fitted_to_its_own_and_others_stay():
    scaler = Each({"a": Scaler((4,), "columns"), "b": Scaler((2, 3), "none")})
    scaler.fit(X)
    alone = Scaler((4,), "columns")
    alone.fit(X["a"])
    found = scaler(X)
    assert torch.equal(found["a"], alone(X["a"]))
    assert torch.equal(found["b"], X["b"])
    back = scaler.inverse(found)
    torch.testing.assert_close(back["a"], X["a"])
    assert list(scaler.inverse({"a": found["a"]})) == ["a"]
    some = Each({"a": Scaler((4,), "columns")})
    some.fit(X)
    assert torch.equal(some(X)["a"], alone(X["a"]))
    assert some(X)["b"] is X["b"]
    with pytest.raises(
        IsthmusError, match="has a part for 'a', and the data have 'b': give both t"
    ):
        some.fit({"b": X["b"]})


def test_a_scaler_is_fitted_to_what_is_observed():
    seen = torch.arange(ROWS) < 4
    scaler = Each({"a": Scaler((4,), "columns"), "b": Scaler((2, 3), "none")})
    scaler.fit(X, {"a": seen})
    alone = Scaler((4,), "columns")
    alone.fit(X["a"][:4])
    torch.testing.assert_close(scaler(X)["a"], alone(X["a"]))


# --- targets --------------------------------------------------------------------------------------


def test_a_target_of_one_branch_or_several():
    assert torch.equal(Only("a")(X), X["a"])
    assert list(Only("b", "a")(X)) == ["b", "a"]
    assert repr(Only("a", "b")) == "Only('a', 'b')"
    with pytest.raises(IsthmusError, match="has a part for 'c', and the data have 'a', 'b'"):
        Only("a", "c")(X)
    _, decoder = parts()
    model = model_of(decoder=decoder["a"], target=Only("a"))
    seen = torch.tensor([True] * 5 + [False] * 2)
    out = model(Batch(X, mask={"a": seen, "b": None}))
    assert torch.equal(out.target[:5], X["a"][:5])
    assert out.mask is seen
    assert out.error()[5:].abs().sum() == 0
    several = model_of(decoder=Each({"a": decoder["a"]}), target=Each({"a": nn.Identity()}))
    out = several(Batch(X, mask={"a": seen, "b": None}))
    assert list(out.target) == ["a"]
    assert out.mask == {"a": seen}


@pytest.mark.parametrize("name", ["values", "items", "keys", "type", "train", "float", "", "a.b"])
def test_parts_may_bear_any_name(name):
    found = Each({name: nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    x = torch.ones(3, 2)
    assert torch.equal(found({name: x, "other": x})[name], found[name](x))
    assert [n for n, _ in found.items()] == [name, "other"]
    again = Each({name: nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    again.load_state_dict(found.state_dict())
    assert torch.equal(again({name: x, "other": x})[name], found[name](x))
