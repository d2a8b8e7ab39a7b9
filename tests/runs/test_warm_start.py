"""Going on with a fitted model keeps its weights: in place, as a copy, from a folder."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import isthmus
from isthmus.cli import app
from isthmus.errors import IsthmusError

RNG = np.random.default_rng(0)
ATOMS = RNG.normal(size=(24, 8))
CODES = (RNG.random((600, 24)) < 0.1) * RNG.random((600, 24))
X, X2 = np.split((CODES @ ATOMS).astype(np.float32), 2)
STILL = {"steps": 1, "lr": 1e-12, "progress": False}
RECIPES = {
    "gated": {"latent_dim": 24, "l0": 3},
    "jumprelu": {"latent_dim": 24, "l0": 3},
    "topk": {"latent_dim": 24, "k": 3},
    "vae": {"latent_dim": 3, "hidden": (8,)},
    "plain": {"latent_dim": 3, "hidden": (8,)},
}


def fit(recipe="topk", data=X, **options):
    own = {**RECIPES[recipe], "steps": 40, "batch_size": 64, "lr": 1e-2, "progress": False}
    return isthmus.fit(recipe, data, **{**own, **options})


def fvu(model, data=X2):
    return isthmus.evaluate(model, data)["fvu"].value


@pytest.mark.parametrize("way", ["fitted", "loaded", "pickled", "copied", "folder", "start"])
@pytest.mark.parametrize("recipe", ["gated", "jumprelu", "topk", "vae", "plain"])
def test_a_step_of_no_length_changes_nothing(recipe, way, tmp_path):
    model = fit(recipe, out=tmp_path / "m")
    before = fvu(model)
    if way == "folder":
        after = isthmus.fit(recipe, X2, start=tmp_path / "m", **STILL)
    elif way == "start":
        after = isthmus.fit(recipe, X2, start=model, **STILL)
        assert after is not model
    else:
        ways = {
            "fitted": lambda m: m,
            "loaded": lambda m: isthmus.load(tmp_path / "m"),
            "pickled": lambda m: pickle.loads(pickle.dumps(m)),
            "copied": copy.deepcopy,
        }
        begun = ways[way](model)
        after = isthmus.fit(begun, X2, **STILL)
        assert after is begun
    # What holds L0 at its target moves thresholds at every step, whatever the learning rate.
    controlled = "l0" in RECIPES[recipe]
    assert fvu(after) == pytest.approx(before, rel=5e-2 if controlled else 1e-6)
    for name, weight in isthmus.load(tmp_path / "m").state_dict().items():
        if name.startswith(("encoder.", "decoder.", "scaler.")) and not name.endswith("bias"):
            assert torch.allclose(after.state_dict()[name], weight, atol=1e-6), name
    assert after.config["training"]["batch_size"] == 64


def test_an_untrained_model_is_set_up_and_so_is_its_copy():
    model = isthmus.recipes.get_recipe("plain")
    model = model.build(isthmus.Signal.infer(X), model.parse({"latent_dim": 3})[0])
    other = copy.deepcopy(model)
    for one in (model, other):
        isthmus.fit(one, X * 50 + 7, steps=3, batch_size=32, progress=False)
        assert float(one.scaler.offset.mean()) == pytest.approx(7, abs=5)


def test_the_started_model_is_left_alone_and_learns_on_in_its_copy():
    model = fit(steps=30)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    after = isthmus.fit("topk", X, start=model, steps=200, progress=False)
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert fvu(after) < fvu(model)


def test_a_run_started_from_a_folder_is_a_run_of_its_own(tmp_path):
    fit(out=tmp_path / "a")
    after = isthmus.fit("topk", X2, start=tmp_path / "a", out=tmp_path / "b", progress=False)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["recipe"] == "topk"
    assert config["start"] == str(tmp_path / "a")
    assert config["training"]["steps"] == 40
    assert config["training"]["lr"] == 1e-2
    assert np.array_equal(isthmus.load(tmp_path / "b").encode(X), after.encode(X))


def test_a_model_fitted_on_in_place_is_still_of_its_recipe(tmp_path):
    fit(out=tmp_path / "a")
    model = isthmus.fit(isthmus.load(tmp_path / "a"), X2, out=tmp_path / "b", progress=False)
    assert np.array_equal(isthmus.load(tmp_path / "b").encode(X), model.encode(X))


def test_options_are_the_runs_unless_given(tmp_path):
    model = fit("topk", weight_decay=0.25)
    same = isthmus.fit("topk", X, start=model, latent_dim=24, epochs=2, progress=False)
    assert same.config["training"]["weight_decay"] == 0.25
    assert same.config["training"]["steps"] is None
    assert same.history[-1]["step"] == 2 * (len(X) // 64)
    sparser = isthmus.fit("topk", X, start=model, k=2, **STILL)
    assert sparser.config["options"]["k"] == 2
    assert np.diff(sparser.encode(X2, code=True).matrix().indptr).max() == 2
    assert torch.allclose(sparser.decoder.weight, model.decoder.weight)


def test_less_data_than_a_batch_are_one_batch():
    model = isthmus.fit(fit(), X2[:20], **STILL)
    assert model.config["training"]["batch_size"] == 20


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: isthmus.fit("topk", X, start=m, latent_dim=48), "do not fit a model with laten"),
        (lambda m: isthmus.fit("vae", X, start=m), "holds topk, and vae was asked for"),
        (lambda m: isthmus.fit(m, X, start=m), "two models"),
        (lambda m: isthmus.fit(m, X, k=1), "k cannot be changed in a model that is fitted"),
        (lambda m: isthmus.fit(m, X, scaling="columns"), "scaling cannot be changed"),
        (lambda m: isthmus.fit(m, X, kk=1), "unknown option"),
        (lambda m: isthmus.fit("topk", X, start=m, stepz=1), "did you mean 'steps'"),
        (lambda m: isthmus.fit(m, X[:, :5]), "rows of shape"),
        (lambda m: isthmus.fit("topk", X, start="nowhere"), "nowhere"),
        (lambda m: isthmus.fit("topk", X, start=3), "start=3 is none"),
    ],
)
def test_what_cannot_be_is_one_sentence(call, said, tmp_path):
    model = fit(steps=2)
    with pytest.raises(IsthmusError, match=said) as problem:
        call(model)
    assert "\n" not in str(problem.value)


def test_the_command_line_starts_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    fit(out="a")
    told = CliRunner().invoke(
        app, ["fit", "topk", "x.npy", "start=a", "steps=1", "lr=1e-12", "-o", "b", "-q"]
    )
    assert told.exit_code == 0, told.output
    assert fvu(isthmus.load("b")) == pytest.approx(fvu(isthmus.load("a")), rel=1e-4)


def test_an_estimator_with_a_warm_start_learns_on():
    from isthmus.estimators import AutoencoderTransformer

    short = {"latent_dim": 3, "steps": 30, "batch_size": 64, "options": {"hidden": (8,)}}
    warm = AutoencoderTransformer("plain", warm_start=True, **short).fit(X)
    first = warm.score(X)
    model = warm.model_
    assert warm.fit(X).model_ is model
    assert warm.score(X) > first
    cold = AutoencoderTransformer("plain", **short).fit(X)
    assert cold.fit(X).score(X) == pytest.approx(first)
