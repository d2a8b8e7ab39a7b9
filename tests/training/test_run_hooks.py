"""Hooks of a run: every epoch and at the end, also after a resume; averages and players resume."""

import numpy as np
import pytest
import torch
import toys
from loops import Keep, linear, resumes
from torch import nn
from torch.nn import functional as F

import isthmus
import zoo
from isthmus.anatomy import EMA, Autoencoder, Part, Player, Signal, Term, View
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training import journal, read_checkpoint
from isthmus.training.seeding import mix


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(journal, "synced", lambda path: None)


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
    assert float(read_checkpoint(tmp_path / "run").weights["encoder.last"]) == float(
        model.encoder.last
    )


def test_what_finishes_does_not_enter_a_checkpoint_of_a_run_that_goes_on(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    toys.trainer(cycling([]), tmp_path / "run", steps=3, save_every=1, callbacks=[Keep(kept)]).run()
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
        bottleneck=Identity(), decoder=nn.Linear(3, 6),
        objective=MSE() + 0.1 * toys.Fool() + Pushes(),
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
    assert [(c.step, c.total, c.rows_per_step, c.rows) for c in seen] == [
        (0, 2, 10, 40),
        (1, 2, 10, 40),
    ]


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"average": 0.5}, {"save_every": 1}])
def test_finish_is_called_once_with_a_folder_and_without(tmp_path, options):
    models = []
    for folder in (None, tmp_path / "run"):
        calls = []
        models.append(toys.trainer(cycling(calls), folder, steps=5, **options).run())
        assert [call[0] for call in calls] == ["finish"]
    assert zoo.sha(models[0]) == zoo.sha(models[1])


def test_the_training_state_of_a_finished_run_is_from_before_its_end(tmp_path):
    toys.trainer(cycling([]), tmp_path / "run", steps=5, average=0.5).run()
    checkpoint = read_checkpoint(tmp_path / "run", state=True)
    assert float(checkpoint.state["model.encoder.last"]) == 0.0
    assert float(checkpoint.weights["encoder.last"]) != 0.0
    assert not torch.equal(
        checkpoint.state["model.encoder.weight"], checkpoint.weights["encoder.weight"]
    )


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda part: part.register_buffer("table", torch.zeros(7)),
         r"finish\(\) changed bottleneck.table from shape \(1,\) to shape \(7,\), which no model"),
        (lambda part: part.register_buffer("late", torch.zeros(2)),
         r"changed bottleneck.late from nothing to shape \(2,\)"),
    ],
)  # fmt: skip
def test_a_buffer_that_finish_gives_another_shape_is_one_sentence(tmp_path, folder, change, said):
    class Grows(Identity, Part):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.zeros(1))

        def finish(self, model, source):
            change(self)

    model = linear(MSE())
    model.bottleneck = Grows()
    with pytest.raises(IsthmusError, match=said) as problem:
        toys.trainer(model, tmp_path / "run" if folder else None, steps=3).run()
    assert "\n" not in str(problem.value)


def test_finish_sees_a_model_that_evaluates():
    modes = []

    class Sees(Identity, Part):
        def finish(self, model, source):
            modes.append(model.encoder.training)

    model = linear(MSE())
    model.bottleneck = Sees()
    toys.trainer(model, steps=3).run()
    assert modes == [False]
