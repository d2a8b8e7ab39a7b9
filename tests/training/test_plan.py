"""Plans: what bounds a run, what it watches, from when on its losses can be compared."""

import math
from types import SimpleNamespace

import pytest
import torch

from isthmus.anatomy import Cosine, Linear, Schedule, Stairs, Term
from isthmus.data import ArraySource
from isthmus.recipes import get_recipe
from isthmus.training import Callback, TrainingOptions
from isthmus.training import plan as plans
from isthmus.training.plan import (
    falls,
    is_auto,
    planned,
    settled,
    settles,
    silent,
    steady,
    watching,
)
from isthmus.training.stages import legs_of
from training import toys
from training.test_trainer import Drift, linear

ROWS = ArraySource(torch.randn(400, 6, generator=torch.Generator().manual_seed(0)).numpy())


def plan_for(model, held=40, asked=(), source=ROWS, **options):
    chosen = TrainingOptions(batch_size=40, **options)
    return planned(model, source, chosen, {*options, *asked}, held)


def page_plan(model, held=40, **options):
    return planned(model, ROWS, TrainingOptions(batch_size=40, **options), set(), held)


# --- how long ------------------------------------------------------------------------------------


def test_the_published_length_is_the_ceiling():
    options, plan = page_plan(toys.fresh(), epochs=20)
    assert (plan.steps, plan.bound, plan.published) == (200, "the published length", 200)
    assert (options.steps, options.epochs) == (200, None)
    assert plan.stops
    assert (options.patience, options.min_gain) == (plans.PATIENCE, plans.MIN_GAIN)


def test_passes_are_bounded():
    _, plan = page_plan(toys.fresh(), steps=100_000)
    assert (plan.steps, plan.bound) == (3000, "bound on passes")
    _, plan = planned(toys.fresh(), ROWS, TrainingOptions(batch_size=10, steps=100_000), set(), 40)
    assert (plan.steps, plan.passes) == (300 * 40, 300.0)


def test_work_is_bounded(monkeypatch):
    monkeypatch.setattr(plans, "counted", lambda *about: 0.5)
    _, plan = page_plan(toys.fresh(), steps=100_000)
    assert (plan.steps, plan.bound) == (150, "what two cores do in a minute or two")


def test_without_a_published_length_work_and_passes_bound_it():
    _, plan = page_plan(toys.fresh())
    assert (plan.steps, plan.published) == (3000, None)


def test_the_plan_is_the_same_every_time():
    first, second = (page_plan(toys.fresh(), steps=100_000) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("options", [{"steps": 700}, {"epochs": 3}])
def test_what_was_asked_for_is_what_it_says(options):
    found, plan = plan_for(toys.fresh(), held=0, **options)
    assert plan.length == "stated"
    assert plan.steps == options.get("steps", 30)
    assert found == TrainingOptions(batch_size=40, **options)


def test_published_is_what_it_says():
    options = TrainingOptions(batch_size=40, steps=100_000, warmup=1000, length="published")
    found, plan = planned(toys.fresh(), ROWS, options, {"length"}, 0)
    assert found == options
    assert (plan.length, plan.steps, plan.stops) == ("published", 100_000, False)


def test_steps_beside_auto_are_the_ceiling():
    found, plan = plan_for(toys.fresh(), steps=700, asked={"length"})
    assert (plan.length, plan.steps, found.patience) == ("auto", 700, plans.PATIENCE)


def test_warm_ups_shrink_with_the_length():
    found, plan = page_plan(toys.fresh(), steps=100_000, warmup=1000)
    assert found.warmup == round(1000 * plan.steps / 100_000) == 30
    own, _ = planned(
        toys.fresh(), ROWS, TrainingOptions(batch_size=40, steps=100_000, warmup=1000), {"warmup"},
        40,
    )  # fmt: skip
    assert own.warmup == 1000


def test_minutes_are_measured_and_recorded_as_steps(monkeypatch):
    clock = iter(float(second) for second in range(100))  # a second to measure a step
    monkeypatch.setattr(plans, "timed", lambda *about: 0.25)
    monkeypatch.setattr(plans, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(plans, "expected_seconds", lambda *about: 2.0)  # what ends a run
    options = TrainingOptions(batch_size=40, steps=100_000, warmup=1000, minutes=2)
    found, plan = planned(toys.fresh(), ROWS, options, {"minutes"}, 0)
    assert (found.steps, found.minutes, plan.seconds_per_step) == (
        468,
        None,
        0.25,
    )  # (120 s - 1 s - 2 s) / 0.25 s
    assert found.warmup == 5
    half, _ = planned(toys.fresh(), ROWS, options, {"minutes"}, 0, parallel=2)
    assert half.steps == 230  # (120 s - 1 s - 2 * 2 s) / 0.5 s
    few, _ = planned(
        toys.fresh(), ROWS, options.model_copy(update={"steps": 50}), {"minutes", "steps"}, 0
    )
    assert few.steps == 50


# --- what is watched -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "held"),
    [(30, 0), (39, 0), (40, 8), (100, 20), (200, 32), (1000, 100), (20_480, 2048), (10**6, 2048)],
)
def test_the_share_that_is_held_out(rows, held):
    options = watching(TrainingOptions(), set(), rows, False)
    assert math.ceil(options.validation * rows) == held


@pytest.mark.parametrize(
    ("asked", "own"), [({"steps"}, False), ({"validation"}, False), (set(), True)]
)
def test_nothing_is_held_out_unasked(asked, own):
    options = TrainingOptions(steps=5) if "steps" in asked else TrainingOptions()
    assert watching(options, asked, 1000, own).validation == 0.0


def test_validations_take_a_small_part_of_the_run():
    options, _ = page_plan(toys.fresh(), held=400, epochs=20)
    assert options.validate_every == 20  # ten batches: a look costs three steps
    options, _ = page_plan(toys.fresh(), held=40, epochs=200)
    assert options.validate_every == 50


def test_a_falling_rate_is_not_cut_short():
    for shape in ("linear", "cosine", "half-exponential", "last-fifth", "cool-down"):
        assert falls(TrainingOptions(lr_schedule=shape), 1000), shape
    for shape in ("constant", "burda", "two-halvings"):
        assert not falls(TrainingOptions(lr_schedule=shape), 1000), shape
    options, plan = page_plan(toys.fresh(), steps=400, lr_schedule="cosine")
    assert not plan.stops
    assert options.patience > 400 / options.validate_every


@pytest.mark.parametrize(
    ("shape", "from_"), [("constant", 0), ("burda", 0.333), ("two-halvings", 0.75)]
)
def test_patience_is_not_lost_while_the_rate_falls(shape, from_):
    model = toys.fresh()
    options = TrainingOptions(steps=1000, lr_schedule=shape, min_gain=0.01)
    assert steady(legs_of(model, options, 1000)[0]) == pytest.approx(1000 * from_, abs=4)
    own = options.model_copy(update={"min_gain": 0.0})
    assert steady(legs_of(model, own, 1000)[0]) == 0


@pytest.mark.parametrize("kind", ["adversarial"])
def test_players_do_not_stop(kind):
    options, plan = page_plan(toys.fresh(kind), steps=400, held=40)
    assert options.patience is None
    assert not plan.stops
    assert "players" in plan.why


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("barlow-twins", {}, "joint embedding"),
        ("byol", {"latent_dim": 4}, "teacher"),
        ("bigan", {"latent_dim": 2, "hidden": (8, 8)}, "players"),
        ("jumprelu", {"latent_dim": 16, "l0": 3.0}, "adapted"),
        ("daef", {"latent_dim": 2}, "closed form"),
    ],
)
def test_losses_that_say_nothing(name, options, why):
    assert why in silent(toys.recipe(name, **options))


@pytest.mark.parametrize("name", ["plain", "vae", "beta-vae", "jumprelu", "gated", "topk", "iwae"])
def test_losses_that_say_how_good_a_model_is(name):
    assert silent(toys.recipe(name)) == ""


def test_auto_is_what_nobody_said_otherwise():
    auto = TrainingOptions()
    assert is_auto(auto, set())
    assert is_auto(auto, {"seed", "lr"})
    assert not is_auto(auto, {"steps"})
    assert not is_auto(auto, {"epochs"})
    assert is_auto(auto, {"epochs", "length"})
    assert not is_auto(TrainingOptions(length="published"), {"length"})


# --- from when on losses can be compared ---------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "least", "most"),
    [
        (Linear(0.0, 1.0, 300), 300, 303),
        (Linear(0.0, 1.0, 10_000), 800, 803),
        (Stairs((0.0, 1.0), (0.4,)), 400, 403),
        (Cosine(1.0, 0.0), 990, 1000),
        (3.0 * Linear(0.0, 1.0, 300), 300, 303),
    ],
)
def test_when_a_schedule_has_settled(schedule, least, most):
    model = toys.fresh()
    model.objective = model.objective * 1.0 + Small() * schedule
    assert least <= settles(model, 1000) <= most


class Small(Term):
    name, unit = "small", "squared error"

    def forward(self, model, out):
        return out.code.z.square().flatten(1).mean(1)


@pytest.mark.parametrize(
    ("name", "options", "share"),
    [
        ("beta-vae", {"capacity_steps": 300}, 0.3),
        ("jumprelu", {"sparsity_steps": 300}, 0.3),
        ("gated", {"sparsity_steps": 300}, 0.3),
        ("topk", {"latent_dim": 32, "k": 2, "k_start": 16}, 0.1),
        ("plain", {}, 0.0),
    ],
)
def test_recipes_settle_with_their_ramps(name, options, share):
    assert settles(toys.recipe(name, **options), 1000) == pytest.approx(1000 * share, abs=4)


class Rising(Schedule):
    def __call__(self, clock):
        return 1.0 if clock.step < 5 else 10.0


class Own(Term):
    name, unit = "own", "squared error"

    def forward(self, model, out):
        pull = (model.encoder.weight - 1.0).square().mean()
        return (pull if model.training else pull.detach() * 0 + 1.0).expand(len(out.x))


class Track(Callback):
    def __init__(self):
        self.weights = {}

    def on_step(self, trainer, step):
        self.weights[step] = trainer.model.encoder.weight.detach().clone()


def test_weights_of_a_warm_up_are_not_preferred():
    """Before the sixth step the loss is a tenth of what it is later: those weights would win."""
    model, track = linear(), Track()
    model.objective = Own() * Rising()
    run = toys.trainer(
        model, held=True, validate_every=1, patience=2, callbacks=[track], lr=0.1, steps=20
    )
    assert settled(model, run.legs[0]) == 5
    run.run()
    assert (run.best["step"], run.step) == (6, 8)
    assert torch.equal(model.encoder.weight, track.weights[6])


def test_what_never_settles_is_compared_from_the_start():
    model = linear()
    model.objective = Own() * Cosine(1.0, 0.0)
    leg = legs_of(model, TrainingOptions(steps=50), 50)[0]
    assert settled(model, leg) == 0


@pytest.mark.parametrize(
    ("losses", "stops", "best"),
    [
        # A tenth of what was gained counts: 10 to 5 are 5, of which 0.4 is less.
        ([10.0, 5.0, 4.6, 4.58, 4.57, 4.56, 4.55], 4, 4),
        # Small steps that add up to enough count together.
        ([10.0, 5.0, 4.7, 4.4, 4.1, 3.8, 3.5], 7, 7),
        # Of a loss that began enormous, the loss itself is the measure.
        ([1e6, 5.0, 4.4, 3.9, 3.5, 3.1, 2.7], 7, 7),
    ],
)
def test_gains_below_the_least_do_not_count(losses, stops, best):
    model = linear()
    model.objective = Drift(losses) * 1.0
    run = toys.trainer(
        model, held=True, validate_every=1, patience=2, min_gain=0.1, steps=len(losses)
    )
    run.run()
    assert (run.step, run.best["step"]) == (stops, best)


def test_ramps_of_every_page_say_what_they_are():
    for name in ("beta-vae", "jumprelu", "gated", "mvae", "text-vae"):
        fields = get_recipe(name).model_options.model_fields
        ramps = [n for n in fields if n.endswith("_steps")]
        for ramp in ramps:
            assert any(getattr(m, "role", "") == "ramp" for m in fields[ramp].metadata), ramp
