"""A run is made longer, to the bits of a run of that length, or a sentence says why it is not."""

import json

import numpy as np
import pytest
import torch
import toys
from typer.testing import CliRunner

import isthmus
from isthmus.anatomy import Linear
from isthmus.cli import app, main
from isthmus.errors import IsthmusError
from isthmus.objectives import KL, NegativeLogLikelihood
from isthmus.training import Callback

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(160, 3)) @ RNG.normal(size=(3, 6))).astype(np.float32)
BASE = {"batch_size": 32, "progress": False, "lr_schedule": "constant"}
RECIPES = {
    "plain": {"latent_dim": 2, "hidden": (8,)},
    "vae": {"latent_dim": 2, "hidden": (8,)},
    "denoising": {"latent_dim": 2, "average": 0.9},
    "bigan": {"latent_dim": 2},
}


def fit(recipe, steps, out, **options):
    chosen = {**RECIPES.get(recipe, {}), **BASE, "steps": steps, **options}
    return isthmus.fit(recipe, X, out=out, **chosen)


def same(a, b):
    return all(torch.equal(x, b.state_dict()[n]) for n, x in a.state_dict().items())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_finished_run_made_longer_is_the_longer_run(recipe, tmp_path):
    fit(recipe, 7, tmp_path / "short")
    longer = isthmus.resume(tmp_path / "short", X, steps=23, progress=False)
    assert same(longer, fit(recipe, 23, tmp_path / "whole"))
    config = json.loads((tmp_path / "short" / "config.json").read_text())
    assert config["training"]["steps"] == config["progress"]["step"] == 23
    assert same(isthmus.load(tmp_path / "short"), longer)


def test_epochs_count_and_it_can_be_done_again(tmp_path):
    fit("plain", 5, tmp_path / "a")
    isthmus.resume(tmp_path / "a", X, epochs=2, progress=False)
    longer = isthmus.resume(tmp_path / "a", X, epochs=4, progress=False)
    assert longer.history[-1]["step"] == 4 * 5
    assert same(longer, fit("plain", 20, None))


def test_an_interrupted_run_is_made_longer_in_the_middle_of_its_way(tmp_path):
    class Stop(Callback):
        def on_step(self, run, step):
            if step == 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("vae", 10, tmp_path / "a", callbacks=[Stop()], save_every=4)
    longer = isthmus.resume(tmp_path / "a", X, steps=17, progress=False)
    assert same(longer, fit("vae", 17, None))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_rate_that_fell_over_the_run_is_refused_and_the_way_on_is_named(schedule, tmp_path):
    fit("plain", 7, tmp_path / "a", lr_schedule=schedule)
    before = (tmp_path / "a" / "model.safetensors").read_bytes()
    with pytest.raises(IsthmusError, match=rf"lr_schedule={schedule}.*start=") as problem:
        isthmus.resume(tmp_path / "a", X, steps=20, progress=False)
    assert "\n" not in str(problem.value)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == before
    isthmus.resume(tmp_path / "a")
    isthmus.fit("plain", X, start=tmp_path / "a", steps=3, progress=False)


def test_a_warm_up_that_was_cut_to_the_run_is_refused(tmp_path):
    fit("plain", 20, tmp_path / "a", warmup=50)
    with pytest.raises(IsthmusError, match="warmup=50"):
        isthmus.resume(tmp_path / "a", X, steps=400)
    fit("plain", 20, tmp_path / "b", warmup=2)
    longer = isthmus.resume(tmp_path / "b", X, steps=40, progress=False)
    assert same(longer, fit("plain", 40, None, warmup=2))


def test_a_weight_that_follows_the_length_is_refused(tmp_path):
    def untrained():
        model = toys.sampled()
        model.objective = NegativeLogLikelihood() + Linear(0.0, 1.0, 40) * KL()
        return model

    fit(untrained(), 20, tmp_path / "a")
    with pytest.raises(IsthmusError, match="the weight of kl follows the length"):
        isthmus.resume(tmp_path / "a", X, model=untrained(), steps=60)
    # From 50 steps on the ramp is as long as it was written.
    fit(untrained(), 50, tmp_path / "b")
    assert isthmus.resume(tmp_path / "b", X, model=untrained(), steps=60, progress=False)


def test_parts_that_read_the_length_go_on_and_that_is_said(tmp_path):
    fit("topk", 10, tmp_path / "a", latent_dim=16, k=2, warmup=0)
    longer = isthmus.resume(tmp_path / "a", X, steps=30, progress=False)
    assert longer.history[-1]["step"] == 30
    notes = json.loads((tmp_path / "a" / "config.json").read_text())["notes"]
    assert any("goes on as a run of 30 steps" in note for note in notes)
    fit("plain", 5, tmp_path / "b")
    quiet = isthmus.resume(tmp_path / "b", X, steps=9, progress=False)
    assert not any("goes on as" in note for note in quiet.config["notes"])


def test_a_run_that_ended_by_itself_says_so(tmp_path):
    options = {"validation": 0.2, "patience": 1, "validate_every": 2, "lr": 1.0}
    model = fit("plain", 400, tmp_path / "a", **options)
    assert model.history[-1]["step"] < 400
    with pytest.raises(IsthmusError, match=r"ended by itself at step .*start="):
        isthmus.resume(tmp_path / "a", X, steps=800)


def test_early_stopping_stays_exact_in_a_longer_run(tmp_path):
    options = {"validation": 0.2, "patience": 3, "validate_every": 2}
    fit("plain", 8, tmp_path / "a", **options)
    longer = isthmus.resume(tmp_path / "a", X, steps=60, progress=False)
    assert same(longer, fit("plain", 60, None, **options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 10}, "no more"),
        ({"steps": 3}, "no more"),
        ({"steps": 0}, "steps"),
        ({"steps": 30, "epochs": 3}, "two lengths"),
        ({"lr": 0.1}, "takes no lr=0.1"),
        ({"stepz": 30}, "takes no stepz=30"),
        ({"encoder": torch.nn.Linear(2, 2)}, "not fitted with a encoder"),
    ],
)
def test_what_resume_cannot_change_is_one_sentence(options, said, tmp_path):
    fit("plain", 10, tmp_path / "a", latent_dim=2)
    if "encoder" in options:
        said = "of your own"
    with pytest.raises(IsthmusError, match=said) as problem:
        isthmus.resume(tmp_path / "a", X, **options)
    assert "\n" not in str(problem.value)


def test_the_command_line_extends_and_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    isthmus.fit("plain", "x.npy", out="a", steps=5, **RECIPES["plain"], **BASE)
    told = CliRunner().invoke(app, ["resume", "a", "steps=12", "-q"])
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "a/metrics.jsonl").read_text().split("\n")[-2])["step"] == 12
    monkeypatch.setattr("sys.argv", ["isthmus", "resume", "a", "lr=1"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "takes no lr" in capsys.readouterr().err
