"""The stepper by hand and in a run; the late look at losses; stages; hooks of a run; resume."""

import shutil

import numpy as np
import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

import isthmus
import zoo
from isthmus.anatomy import EMA, Autoencoder, Part, Player, Signal, Stage, Term, View
from isthmus.bottlenecks import Identity
from isthmus.data import ArraySource
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training import Callback, Run, Stepper, TrainingOptions, journal, read_checkpoint
from isthmus.training.forensics import NonFiniteLoss
from isthmus.training.seeds import mix


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(journal, "_sync", lambda path: None)


# --- by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae", "topk", "bigan"])
@pytest.mark.parametrize("average", [None, 0.9])
def test_a_stepper_by_hand_is_a_run(name, average):
    """Bit for bit, from the same start and the same batches."""
    options, rows = zoo.small(name)
    recipe, source = isthmus.recipes.get_recipe(name), ArraySource(rows)

    def built():
        torch.manual_seed(3)
        return recipe.build(source.signal, recipe.parse(options)[0])

    chosen = recipe.parse({**options, "steps": 9, "batch_size": 16, "average": average})[1]
    chosen = chosen.model_copy(update={"device": "cpu"})
    whole, other = built(), built()
    run = Run(whole, source, chosen, progress=False)
    run.run()

    again = Run(other, source, chosen, progress=False)
    with torch.random.fork_rng(devices=[]):
        again.build()  # sets the model up from the data
        by_hand = again.stepper
        by_hand.release()
        stepper = Stepper(other, chosen, total=9, rows=len(source))
        stepper.train()
        for step in range(9):
            losses = stepper.step(again.batches[step], step)
            assert list(losses) == [player.name for player in other.players()]
        if average is not None:
            stepper.use_average()
        for part in other.modules():
            if isinstance(part, Part):
                part.finish(other, source)
        stepper.release()
    assert zoo.sha(other) == zoo.sha(whole)


def test_release_leaves_the_model_as_it_was():
    model = toys.fresh("adversarial")
    model.decoder.bias.requires_grad_(False)
    stepper = Stepper(model, TrainingOptions(steps=2, batch_size=16), total=2)
    stepper.train()
    stepper.step(toys.SOURCE.batch(torch.arange(16)), 0)
    assert not all(p.requires_grad for p in model.encoder.parameters())  # the critic's turn is last
    stepper.release()
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"decoder.bias"}
    assert all(not m._forward_hooks for m in model.modules())


def test_nothing_to_report_to():
    """Alone, a stepper says itself that a loss is not finite."""
    stepper = Stepper(poisoned(at=0), TrainingOptions(steps=2, batch_size=16), total=2)
    with pytest.raises(FloatingPointError, match="loss of the model is not finite at step 0"):
        stepper.step(toys.SOURCE.batch(torch.arange(16)), 0)


# --- the late look -----------------------------------------------------------------------------


class Poison(Term):
    """NaN from a step on."""

    name, unit = "poison", "units"

    def __init__(self, at):
        self.at = at

    def forward(self, model, out):
        return out.code.z.sum(1) * (torch.nan if out.clock.step >= self.at else 0.0)


def poisoned(at):
    return linear(MSE() + Poison(at))


def linear(objective=None, **parts):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)), encoder=nn.Linear(6, 3), bottleneck=Identity(),
        decoder=nn.Linear(3, 6), objective=objective, **parts,
    )  # fmt: skip


def late(run, every=4):
    """As on an accelerator, where a look would make every step wait."""
    equip = run._equip

    def equipped():
        equip()
        run.stepper.finite.every = every

    run._equip = equipped
    return run


@pytest.mark.parametrize("at", [0, 2, 3, 4, 6, 8])
def test_a_late_look_names_the_right_step_and_term(at, tmp_path):
    run = late(toys.trainer(poisoned(at), tmp_path / "run", log_every=1000))
    with pytest.raises(NonFiniteLoss) as found:
        run.run()
    assert (found.value.step, found.value.terms) == (at, ["poison"])
    batch = run.batches.index(at)
    from safetensors.torch import load_file

    assert torch.equal(load_file(tmp_path / "run" / "nonfinite.safetensors")["row"], batch)


def test_a_late_look_comes_before_the_log_and_a_checkpoint(tmp_path):
    class Fails(Callback):
        def on_save(self, run, folder):
            state = read_checkpoint(folder).weights
            assert all(bool(t.isfinite().all()) for t in state.values())

    run = late(
        toys.trainer(poisoned(2), tmp_path / "run", save_every=1, callbacks=[Fails()], log_every=99),
        every=100,
    )
    with pytest.raises(NonFiniteLoss) as found:
        run.run()
    assert found.value.step == 2
    logged = late(toys.trainer(poisoned(2), log_every=4), every=100)
    with pytest.raises(NonFiniteLoss):
        logged.run()
    assert logged.step == 4
    assert logged.history == []


def test_a_late_look_changes_nothing_where_all_is_well():
    early, run = toys.trainer(toys.fresh("adversarial")), late(toys.trainer(toys.fresh("adversarial")))
    assert zoo.sha(early.run()) == zoo.sha(run.run())


# --- stages ------------------------------------------------------------------------------------


class Spread(Term):
    """Of the second stage: the codes shall be of size one."""

    name, unit, rebuilds = "spread", "units", False

    def forward(self, model, out):
        return (out.code.z.square().sum(1) - 1.0).square()


class Rebuild(Term):
    name, unit = "rebuild", "squared"

    def forward(self, model, out):
        return out.squared_error()


class Memory(nn.Linear, Part):
    """Counts what it is told."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("prepared", torch.zeros(()))

    def prepare(self, model, look):
        self.prepared += torch.rand(())
        with torch.no_grad():
            self.bias.copy_(torch.randn_like(self.bias) + look.tensor.mean())

    def observe(self, out, step):
        self.seen += len(out.x)

    def after_update(self):
        self.updates += 1


def staged(first=1.0, second=2.0, *, options=(), **parts):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)),
        encoder=nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.2), Memory(5, 3)),
        bottleneck=Identity(),
        decoder=nn.Sequential(Memory(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 6)),
        stages=[
            Stage("spread", one(Spread()), ("encoder",), first),
            Stage("rebuild", one(Rebuild()), ("decoder.*",), second, dict(options)),
        ],
        **parts,
    )  # fmt: skip


def one(term):
    from isthmus.anatomy import as_objective

    return as_objective(term)


class Track(Callback):
    """State, stage and modes after each step."""

    def __init__(self):
        self.states, self.stages, self.modes = [], [], []

    def on_step(self, run, step):
        self.states.append({n: t.clone() for n, t in run.model.state_dict().items()})
        self.stages.append(run.model.stage)
        self.modes.append((run.model.encoder.training, run.model.decoder.training))


@pytest.mark.parametrize(
    ("shares", "steps", "ends"),
    [((1, 2), 9, [3, 9]), ((1, 1), 9, [4, 9]), ((1000, 1), 9, [8, 9]), ((1, 1000), 9, [1, 9]),
     ((0.5, 0.5), 2, [1, 2])],
)  # fmt: skip
def test_stages_share_the_steps(shares, steps, ends):
    track = Track()
    run = toys.trainer(staged(*shares), steps=steps, callbacks=[track], log_every=1)
    assert [leg.stop for leg in run.legs] == ends
    run.run()
    assert track.stages == [0] * ends[0] + [1] * (ends[1] - ends[0])
    assert [r["stage"] for r in run.history] == ["spread"] * ends[0] + ["rebuild"] * (steps - ends[0])
    assert set(run.history[0]) >= {"spread"}
    assert set(run.history[-1]) >= {"rebuild"}


def test_what_rests_does_not_move_and_is_in_evaluation_mode():
    track = Track()
    model = staged()
    run = toys.trainer(model, steps=9, callbacks=[track], lr=0.1, weight_decay=0.1)
    run.build()
    start = {n: t.clone() for n, t in model.state_dict().items()}
    run.run()
    assert track.modes == [(True, False)] * 3 + [(False, True)] * 6

    def same(a, b, prefix):
        return all(torch.equal(a[n], b[n]) for n in a if n.startswith(prefix))

    assert all(same(start, state, "decoder.") for state in track.states[:3])
    assert all(same(track.states[2], state, "encoder.") for state in track.states[3:])
    for n, t in model.state_dict().items():
        if n.endswith(("weight", "bias", "running_mean")):
            assert not torch.equal(t, start[n]), n
    assert (int(model.encoder[3].seen), int(model.encoder[3].updates)) == (48, 3)
    assert (int(model.decoder[0].seen), int(model.decoder[0].updates)) == (96, 6)
    assert int(model.encoder[1].num_batches_tracked) == 3
    assert int(model.decoder[1].num_batches_tracked) == 6
    assert all(p.requires_grad for p in model.parameters())


def test_a_part_is_set_up_once_in_the_stage_that_trains_it():
    model = staged()
    run = toys.trainer(model, steps=9)
    run.build()
    assert float(model.encoder[3].prepared) > 0
    assert float(model.decoder[0].prepared) == 0
    run.run()
    assert 0 < float(model.encoder[3].prepared) < 1
    assert 0 < float(model.decoder[0].prepared) < 1


def test_a_stage_has_options_and_a_schedule_of_its_own():
    options = {"lr": 0.02, "lr_schedule": "linear", "optimiser": "sgd"}
    run = toys.trainer(staged(options=options), steps=9, lr=0.01, log_every=1)
    run.run()
    rates = [r["lr"] for r in run.history]
    assert rates[:3] == [0.01] * 3
    assert rates[3:] == pytest.approx([0.02 * (1 - t / 6) for t in range(6)])
    with pytest.raises(IsthmusError, match="the stage 'rebuild' cannot have an option 'steps'"):
        toys.trainer(staged(options={"steps": 3}), steps=9)


def test_a_loss_that_is_not_finite_is_named_by_the_step_of_the_run():
    for make in (lambda run: run, late):
        model = staged()
        model.objectives[1].terms[0].forward = lambda m, out: (
            out.squared_error() * (torch.nan if out.clock.step >= 2 else 1.0)
        )
        with pytest.raises(NonFiniteLoss) as found:
            make(toys.trainer(model, steps=9)).run()
        assert found.value.step == 5
        assert found.value.terms == ["rebuild"]


def test_the_end_of_a_stage_looks_at_its_losses():
    model = staged()
    model.objectives[0].terms[0].forward = lambda m, out: out.code.z.sum(1) * torch.nan
    run = late(toys.trainer(model, steps=9, log_every=99), every=100)
    with pytest.raises(NonFiniteLoss) as found:
        run.run()
    assert (found.value.step, found.value.terms) == (0, ["spread"])


SETTINGS = {
    "as it is": {}, "average": {"average": 0.5},
    "patience": {"held": True, "validate_every": 1, "patience": 50},
    "accumulate": {"accumulate": 2, "lr_schedule": "cosine"},
}  # fmt: skip


class Keep(Callback):
    def __init__(self, to):
        self.to = to

    def on_save(self, run, folder):
        shutil.copytree(folder, self.to / str(run.step))


def resumes(tmp_path, make, steps=9, **options):
    """Stopped after any step, the run ends on the bits of the whole one."""
    kept = tmp_path / "kept"
    kept.mkdir()
    run = toys.trainer(
        make(), tmp_path / "run", steps=steps, save_every=1, callbacks=[Keep(kept)], **options
    )
    whole = run.run()
    bare = toys.trainer(make(), steps=steps, **options).run()
    assert zoo.sha(bare) == zoo.sha(whole)
    found = sorted(int(p.name) for p in kept.iterdir())
    assert found == list(range(run.step + 1))
    for step in found:
        model = make()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        again = toys.trainer(model, kept / str(step), steps=steps, save_every=1000, **options)
        again.restore(read_checkpoint(kept / str(step), state=True))
        assert zoo.sha(again.run()) == zoo.sha(whole), f"differs from step {step} on"
    return whole


@pytest.mark.parametrize("setting", SETTINGS)
def test_stages_resume_at_every_step(tmp_path, setting):
    resumes(tmp_path, staged, **SETTINGS[setting])


class Known(Term):
    """A validation loss that is known, by the step."""

    unit = "units"

    def __init__(self, name, losses):
        self.name, self.losses = name, losses

    def forward(self, model, out):
        pull = (model.encoder.weight - 1.0).square().mean() + (model.decoder.weight - 1.0).square().mean()
        known = pull.detach() * 0 + self.losses[out.clock.step]
        return (pull if model.training else known).expand(len(out.x))


def known(first, second):
    return linear(
        stages=[
            Stage("one", one(Known("one", first)), ("encoder",)),
            Stage("two", one(Known("two", second)), ("decoder",)),
        ]
    )


def test_early_stopping_ends_a_stage_and_not_the_run():
    track = Track()
    model = known([5, 4, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4])
    run = toys.trainer(
        model, steps=12, held=True, validate_every=1, patience=2, callbacks=[track]
    )
    run.run()
    # after step 4 nothing was gained for two steps: the second stage has its own half of the run
    assert track.stages == [0] * 4 + [1] * 6
    assert torch.equal(model.encoder.weight, track.states[1]["encoder.weight"])  # the best
    assert not torch.equal(model.encoder.weight, track.states[3]["encoder.weight"])
    assert torch.equal(model.decoder.weight, track.states[-1]["decoder.weight"])
    assert run.step == 12


def test_early_stopping_of_the_last_stage_ends_the_run():
    track = Track()
    run = toys.trainer(
        known([9, 8, 7, 6, 5, 4], [3, 5, 5, 5, 5, 5]), steps=12, held=True, validate_every=1,
        patience=2, callbacks=[track],
    )  # fmt: skip
    model = run.run()
    assert track.stages == [0] * 6 + [1] * 3
    assert run.stopped
    assert torch.equal(model.decoder.weight, track.states[6]["decoder.weight"])


def test_a_stage_that_stopped_early_resumes(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    options = {"steps": 12, "held": True, "validate_every": 1, "patience": 2}

    def make():
        return known([5, 4, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4])

    whole = toys.trainer(
        make(), tmp_path / "run", save_every=1, callbacks=[Keep(kept)], **options
    ).run()
    for folder in kept.iterdir():
        again = toys.trainer(make(), folder, save_every=1000, **options)
        again.restore(read_checkpoint(folder, state=True))
        assert zoo.sha(again.run()) == zoo.sha(whole), folder.name


@pytest.mark.parametrize(
    ("trains", "said"),
    [
        (("encodr",), "'encodr' is to be trained and matches no parameter: the names begin with "),
        ((), "the model has no weights to train"),
        (("bottleneck",), "'bottleneck' is to be trained and matches no parameter"),
    ],
)
def test_a_stage_that_trains_nothing_is_one_sentence(trains, said):
    model = linear(stages=[Stage("one", one(MSE()), trains)])
    with pytest.raises(IsthmusError, match=said) as problem:
        toys.trainer(model, steps=3).run()
    assert "\n" not in str(problem.value)


def test_stages_and_an_objective_are_one_of_two():
    with pytest.raises(IsthmusError, match="an objective or stages: pass one of the two"):
        linear(MSE(), stages=[Stage("one", one(MSE()), ("encoder",))])
    with pytest.raises(IsthmusError, match="an objective or stages: pass one of the two"):
        linear()
    with pytest.raises(IsthmusError, match="steps=1 are fewer than the 2 stages"):
        toys.trainer(staged(), steps=1)


# --- every epoch, and at the end ---------------------------------------------------------------


class Cycle(nn.Linear, Part):
    """Draws at the start of each epoch and at the end, and says what it drew."""

    def __init__(self, calls, *sizes):
        super().__init__(*sizes)
        self.calls = calls
        self.register_buffer("drawn", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def every_epoch(self, model, source, step):
        self.drawn.copy_(torch.rand(()))
        self.calls.append((step.clock.step, float(self.drawn), len(source)))
        return {"drawn": float(self.drawn)}

    def finish(self, model, source):
        self.last.copy_(torch.rand(()))
        self.calls.append(("finish", float(self.last), len(source)))


def cycling(calls):
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)), encoder=Cycle(calls, 6, 3), bottleneck=Identity(),
        decoder=nn.Linear(3, 6), objective=MSE(),
    )  # fmt: skip


def draw(*parts):
    return float(torch.rand((), generator=torch.Generator().manual_seed(mix(*parts))))


def test_every_epoch_but_the_first_and_the_end_with_seeds_of_the_step(tmp_path):
    calls = []
    model = cycling(calls)
    run = toys.trainer(model, steps=25, seed=5, log_every=1000)  # ten steps an epoch
    run.run()
    assert calls == [
        (10, draw(5, 6, 10), 160), (20, draw(5, 6, 20), 160), ("finish", draw(5, 7), 160)
    ]  # fmt: skip
    assert [r for r in run.history if "drawn" in r] == [
        {"step": 11, "drawn": draw(5, 6, 10)}, {"step": 21, "drawn": draw(5, 6, 20)}
    ]  # fmt: skip


@pytest.mark.parametrize("at", [9, 10, 11, 20, 25])
def test_the_same_after_a_resume(tmp_path, at):
    kept, calls = tmp_path / "kept", []
    kept.mkdir()
    options = {"steps": 25, "seed": 5}
    whole = toys.trainer(
        cycling(calls), tmp_path / "run", save_every=1, callbacks=[Keep(kept)], **options
    ).run()
    again = []
    run = toys.trainer(cycling(again), kept / str(at), save_every=1000, **options)
    run.restore(read_checkpoint(kept / str(at), state=True))
    model = run.run()
    assert zoo.sha(model) == zoo.sha(whole)
    expected = [call for call in calls if call[0] != "finish" and call[0] >= at]
    assert [call for call in again if call[0] != "finish"] == expected
    assert {call[1] for call in again if call[0] == "finish"} == {draw(5, 7)}
    assert float(read_checkpoint(tmp_path / "run").weights["encoder.last"]) == draw(5, 7)
    assert float(read_checkpoint(tmp_path / "run").weights["encoder.last"]) == float(model.encoder.last)


def test_what_finishes_does_not_enter_a_checkpoint_of_a_run_that_goes_on(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    toys.trainer(
        cycling([]), tmp_path / "run", steps=3, save_every=1, callbacks=[Keep(kept)]
    ).run()
    assert float(read_checkpoint(kept / "2").weights["encoder.last"]) == 0.0


def test_finish_sees_the_weights_that_the_run_ends_on():
    seen = []

    class Sees(Identity, Part):
        def finish(self, model, source):
            seen.append(model.encoder.weight.detach().clone())

    torch.manual_seed(0)
    model = Autoencoder(
        Signal("vector", (6,)), encoder=nn.Linear(6, 3), bottleneck=Sees(),
        decoder=nn.Linear(3, 6), objective=MSE(),
    )  # fmt: skip
    toys.trainer(model, steps=5, average=0.5).run()
    assert torch.equal(seen[-1], model.encoder.weight)


# --- resume of what is new ---------------------------------------------------------------------


class Views(nn.Module):
    def forward(self, x):
        return [View(x + 0.1 * torch.randn_like(x)), View(x, by="teacher")]


class Agree(Term):
    name, unit, rebuilds = "agree", "squared", False

    def forward(self, model, out):
        return (out.codes[0].z - out.codes[1].z - 1.0).square().sum(1)


class Pushes(Term):
    name, unit, player = "pushes", "nats", "critic"

    def forward(self, model, out):
        return F.softplus(model.critics["critic"](out.codes[0].z)[:, 0])


def taught():
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)), encoder=nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)),
        bottleneck=Identity(), decoder=None, objective=Agree(), corruption=Views(),
        parts={"teacher": EMA("encoder", 0.9)},
    )  # fmt: skip


def played():
    torch.manual_seed(0)
    return Autoencoder(
        Signal("vector", (6,)), encoder=nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)),
        bottleneck=Identity(), decoder=nn.Linear(3, 6), objective=MSE() + 0.1 * toys.Fool() + Pushes(),
        critics={"critic": nn.Linear(3, 1)},
        players=[Player("critic", optimiser="rmsprop", every=2, steps=3), Player("model", lr=0.03)],
    )  # fmt: skip


@pytest.mark.parametrize("make", [taught, played])
@pytest.mark.parametrize("options", [{}, {"average": 0.5, "accumulate": 2, "clip": 0.5}])
def test_averages_and_players_resume_bit_for_bit(tmp_path, make, options):
    whole = resumes(tmp_path, make, **options)
    if make is taught:
        copy = whole.parts["teacher"].copies[0]
        assert not torch.equal(copy[0].weight, whole.encoder[0].weight)


def test_rows_trained_on_are_told_by_the_clock():
    seen = []

    class Sees(Identity, Part):
        def observe(self, out, step):
            seen.append(out.clock)

    model = linear(MSE())
    model.bottleneck = Sees()
    rows = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    isthmus.fit(model, rows, steps=2, batch_size=10, validation=0.2, progress=False)
    assert [(c.step, c.total, c.rows_per_step, c.rows) for c in seen] == [(0, 2, 10, 40), (1, 2, 10, 40)]
