"""Runs of which nothing was said: sizes, plans, notes; the same again from what they recorded."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import isthmus
import zoo
from isthmus import notices
from isthmus.data import as_source
from isthmus.errors import IsthmusError
from isthmus.recipes import as_recipe
from isthmus.runs import planning
from isthmus.runs.record import config_of
from isthmus.training import Callback
from isthmus.training import plan as plans

RNG = np.random.default_rng(0)


def of_rank(rank, rows, columns, noise):
    """Rows of a low rank, and noise."""
    made = RNG.normal(size=(rows, rank)) @ RNG.normal(size=(rank, columns))
    return (made + noise * RNG.normal(size=made.shape)).astype(np.float32)


X = of_rank(4, 400, 12, 0.3)
QUICK = {"hidden": (16,), "progress": False, "device": "cpu"}


@pytest.fixture(autouse=True)
def fresh():
    notices.forget()


@pytest.fixture
def short(monkeypatch):
    """Little work, so that a run ends soon."""
    monkeypatch.setattr(plans, "LEAST_STEPS", 60)
    monkeypatch.setattr(plans, "MOST_PASSES", 6)


def ready(name, rows, **asked):
    recipe, source = as_recipe(name), as_source(rows)
    return planning.fit_planned(recipe, asked, source)


# --- what is planned -----------------------------------------------------------------------------


def test_a_dictionary_on_a_table_is_not_planned_for_thousands_of_passes():
    found = ready("jumprelu", of_rank(8, 20_000, 16, 0.1), l0=10.0)
    assert found.plan.published == 100_000
    assert found.plan.steps <= 50_000
    assert found.plan.passes <= plans.MOST_PASSES
    assert found.training.steps == found.plan.steps


@pytest.mark.parametrize("name", ["beta-vae", "mvae", "text-vae", "gated", "jumprelu"])
def test_ramps_shrink_with_the_length(name):
    recipe = as_recipe(name)
    kinds = {"mvae": {"a": X[:, :6], "b": X[:, 6:]}, "text-vae": ["some text", "more"] * 60}
    found = ready(name, kinds.get(name, X))
    (ramp,) = [n for n in recipe.model_options.model_fields if n.endswith("_steps")]
    page = recipe.model_options.model_fields[ramp].default
    share = found.plan.steps / found.plan.published
    assert found.options[ramp] == (max(1, round(page * share)) if share < 1 else page)
    own = ready(name, kinds.get(name, X), **{ramp: 77})
    assert own.options[ramp] == 77


def test_the_plan_is_the_same_on_the_same_data():
    first, second = ready("vae", X), ready("vae", X)
    assert first.plan == second.plan
    assert first.training == second.training


@pytest.mark.parametrize("rows", [2, 3, 9, 25, 39, 40, 41])
def test_few_rows(rows, short):
    model = isthmus.fit("plain", X[:rows], **QUICK)
    plan = model.config["plan"]
    assert plan["held"] == (8 if rows >= 40 else 0)
    assert plan["stops"] == (rows >= 40)
    assert np.isfinite(model.reconstruct(X)).all()


def test_a_model_of_ones_own_ends_too(short):
    from training import toys

    model = isthmus.fit(toys.fresh(), toys.X, progress=False)
    assert model.config["plan"]["length"] == "auto"
    assert model.config["plan"]["steps"] == 60


def test_a_solver_keeps_all_rows():
    model = isthmus.fit("daef", X, latent_dim=2, progress=False)
    assert "plan" not in model.config
    assert model.config["training"]["validation"] == 0.0


def test_own_validation_rows_are_watched(short):
    model = isthmus.fit("plain", X[:300], validation_data=X[300:], **QUICK)
    assert model.config["plan"]["held"] == 100
    assert model.config["plan"]["rows"] == 300


# --- what was said is kept -----------------------------------------------------------------------


def test_published_is_the_page():
    published = isthmus.fit("plain", X, length="published", **QUICK)
    said = isthmus.fit(
        "plain", X, epochs=20, batch_size=128, lr=1e-3, latent_dim=32, length="published", **QUICK
    )
    older = isthmus.fit("plain", X, epochs=20, batch_size=128, lr=1e-3, latent_dim=32, **QUICK)
    assert zoo.sha(published) == zoo.sha(said) == zoo.sha(older)
    assert published.history[-1]["step"] == 60
    assert not any("validation/loss" in record for record in published.history)


def test_steps_are_exact_and_watch_nothing():
    model = isthmus.fit("plain", X, steps=33, **QUICK)
    assert model.history[-1]["step"] == 33
    assert model.config["training"]["validation"] == 0.0
    assert model.config["plan"]["length"] == "stated"


def test_the_record_repeats_the_run(short):
    first = isthmus.fit("vae", X, seed=3, **QUICK)
    config = first.config
    again = isthmus.fit("vae", X, progress=False, **config["options"], **config["training"])
    assert zoo.sha(again) == zoo.sha(first)
    assert again.history == first.history or again.history[-1]["step"] == first.history[-1]["step"]
    assert again.config["options"] == config["options"]
    assert again.config["training"] == config["training"]


class Stop(Callback):
    def __init__(self, at):
        self.at = at

    def on_step(self, trainer, step):
        if step == self.at:
            raise KeyError("killed")


@pytest.mark.parametrize("name", ["vae", "beta-vae"])
def test_a_run_that_was_killed_ends_on_the_same_bits(name, short, tmp_path):
    whole = isthmus.fit(name, X, out=tmp_path / "whole", save_every=7, **QUICK)
    with pytest.raises(KeyError):
        isthmus.fit(name, X, out=tmp_path / "cut", save_every=7, callbacks=[Stop(40)], **QUICK)
    resumed = isthmus.resume(tmp_path / "cut", X, progress=False)
    assert zoo.sha(resumed) == zoo.sha(whole)
    configs = [json.loads((tmp_path / f / "config.json").read_text()) for f in ("whole", "cut")]
    assert configs[0]["plan"] == configs[1]["plan"]


def timed_as(monkeypatch, seconds, *, begins=0.0, ends=0.0):
    """Steps that take so long; ``begins`` and ``ends`` are what the plan and the scores take."""
    clock = iter([i * begins for i in range(1000)])
    monkeypatch.setattr(plans, "timed", lambda *about: seconds)
    monkeypatch.setattr(plans, "expected_seconds", lambda *about: ends)
    monkeypatch.setattr(plans, "time", SimpleNamespace(perf_counter=lambda: next(clock)))


@pytest.mark.parametrize(
    ("begins", "ends", "left"), [(0.0, 0.0, 1.2), (0.3, 0.1, 0.8), (5.0, 1.0, 0.25 * 1.2)]
)
def test_minutes_count_what_begins_and_ends_a_run(begins, ends, left, monkeypatch):
    timed_as(monkeypatch, 0.01, begins=begins, ends=ends)
    model = isthmus.fit("plain", X, minutes=0.02, **QUICK)
    assert model.config["plan"]["steps"] == int(left / 0.01 / plans.VALIDATED + 1e-9)


def test_minutes_are_recorded_as_steps_and_repeat(monkeypatch):
    timed_as(monkeypatch, 0.02)
    first = isthmus.fit("plain", X, minutes=0.02, **QUICK)
    plan, training = first.config["plan"], first.config["training"]
    assert plan["steps"] == training["steps"] == int(1.2 / 0.02 / plans.VALIDATED)
    assert (plan["seconds_per_step"], plan["minutes"]) == (0.02, 0.02)
    assert training["minutes"] is None
    assert plan["threads"] == torch.get_num_threads()
    monkeypatch.setattr(plans, "timed", lambda *about: 9.0)
    again = isthmus.fit("plain", X, progress=False, **first.config["options"], **training)
    assert zoo.sha(again) == zoo.sha(first)


def test_minutes_are_measured():
    model = isthmus.fit("plain", X, minutes=0.005, length="published", **QUICK)
    plan = model.config["plan"]
    assert plan["seconds_per_step"] > 0
    assert plan["steps"] <= max(1, 0.3 / plan["seconds_per_step"])


# --- what is said --------------------------------------------------------------------------------


def test_every_choice_is_said_with_what_overrides_it(short):
    with notices.collected(quiet=True) as said:
        isthmus.fit("vae", X[:, :12], **QUICK)
    sizes, plan = said[:2]  # what was found at the end of the run comes after
    assert sizes.startswith("vae on 400 rows of 12 elements: latent_dim=4 (the page has 20), ")
    assert sizes.endswith("give latent_dim, batch_size or lr yourself, or length=published")
    assert plan.startswith("vae trains at most 66 steps (6 passes; bound on passes), ending sooner")
    assert "length=published" in plan
    assert "steps=N" in plan


def test_nothing_is_said_of_what_the_user_said():
    with notices.collected(quiet=True) as said:
        isthmus.fit("vae", X, latent_dim=3, batch_size=50, steps=5, **QUICK)
        isthmus.fit("vae", X, length="published", epochs=1, **QUICK)
    assert not any("the page" in one or "length=" in one for one in said)


# --- several at once -----------------------------------------------------------------------------


def test_many_end_by_themselves_as_each_would(short):
    many = isthmus.fit_many(["plain", "vae"], X, **QUICK)
    batch = {m.config["training"]["batch_size"] for m in many.values()}
    assert len(batch) == 1
    for name, model in many.items():
        alone = isthmus.fit(
            name, X, progress=False, **model.config["options"], **model.config["training"]
        )
        assert zoo.sha(alone) == zoo.sha(model), name


def test_many_share_the_minutes(monkeypatch):
    timed_as(monkeypatch, 0.02)
    models = isthmus.fit_many(["plain", "denoising"], X, minutes=0.02, **QUICK)
    steps = {m.config["plan"]["steps"] for m in models.values()}
    assert steps == {int(0.6 / 0.02 / plans.VALIDATED)}


def test_many_with_a_loss_that_says_nothing_watch_the_same_rows(short):
    models = isthmus.fit_many(
        ["plain", ("barlow-twins", {"projector": 16})], X, latent_dim=3, **QUICK
    )
    held = [m.config["plan"]["held"] for m in models.values()]
    assert held == [40, 40]
    assert [m.config["plan"]["stops"] for m in models.values()] == [True, False]


# --- what it is for ------------------------------------------------------------------------------


def test_few_rows_are_not_overfitted():
    """A long run goes on past the best held-out loss; under that ceiling, auto keeps the best."""
    rows = of_rank(3, 120, 20, 1.0)
    fitted, test = rows[40:], as_source(rows[:40])
    options = {"latent_dim": 6, "batch_size": 16, "lr": 1e-2, "epochs": 120, **QUICK}
    long, ours = (
        isthmus.fit("plain", fitted, **{**options, "hidden": (64,), **more})
        for more in ({}, {"length": "auto"})
    )
    assert ours.history[-1]["step"] < long.history[-1]["step"]
    assert ours.score(test).mean() > 1.2 * long.score(test).mean()  # minus the squared error


def test_runs_knows_the_plan():
    found = ready("plain", X)
    config = config_of(
        as_recipe("plain"), found.model, found.options, found.training, {}, own_validation=False,
        plan=found.plan,
    )  # fmt: skip
    assert json.loads(json.dumps(config["plan"])) == found.plan.to_dict()


def test_what_an_attempt_said_is_not_said_twice():
    pandas = pytest.importorskip("pandas")
    g = np.random.default_rng(0)
    frame = pandas.DataFrame(g.normal(size=(300, 3)), columns=["a", "b", "c"])
    frame["name"] = [f"row {i}" for i in range(len(frame))]
    frame.loc[::5, "a"] = np.nan
    with notices.collected(quiet=True) as said:
        isthmus.fit("trimmed-linear-vae", frame, progress=False)
    for about in ("the column 'name' of", "missing values become"):
        assert sum(about in one for one in said) == 1, said
    assert not any("batch_size" in one for one in said)  # of a model that is solved for


def test_minutes_leave_a_loss_that_is_not_finite_to_the_run():
    X = np.random.default_rng(0).normal(size=(64, 4))
    with pytest.raises(IsthmusError, match=r"not finite|NaN|infinite"):
        isthmus.fit("plain", X, latent_dim=2, lr=1e38, minutes=0.002, progress=False)
