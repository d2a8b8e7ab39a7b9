"""Stages: shares of the steps, what rests, options, resume, early stopping."""

import pytest
import torch
import toys
from loops import Keep, late, linear, resumes
from torch import nn

import zoo
from isthmus.anatomy import EMA, Autoencoder, Part, Signal, Stage, Term
from isthmus.bottlenecks import BatchTopK, Identity
from isthmus.errors import IsthmusError
from isthmus.networks import Dictionary, DictionaryEncoder
from isthmus.objectives import MSE
from isthmus.training import Callback, journal, read_checkpoint
from isthmus.training.non_finite_loss import NonFiniteLoss


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(journal, "synced", lambda path: None)


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
    assert [r["stage"] for r in run.history] == ["spread"] * ends[0] + ["rebuild"] * (
        steps - ends[0]
    )
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


@pytest.mark.parametrize("setting", SETTINGS)
def test_stages_resume_at_every_step(tmp_path, setting):
    resumes(tmp_path, staged, **SETTINGS[setting])


class Known(Term):
    """A validation loss that is known, by the step."""

    unit = "units"

    def __init__(self, name, losses):
        self.name, self.losses = name, losses

    def forward(self, model, out):
        pull = (model.encoder.weight - 1.0).square().mean() + (
            model.decoder.weight - 1.0
        ).square().mean()
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
    run = toys.trainer(model, steps=12, held=True, validate_every=1, patience=2, callbacks=[track])
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
        (("encodr",), "'encodr' is to be trained and matches no part: the names begin with "),
        ((), "the stage 'one' trains nothing: name parts in trains="),
        (("bottleneck",), "the stage 'one' trains nothing of the model"),
    ],
)
def test_a_stage_that_trains_nothing_is_one_sentence(trains, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        toys.trainer(linear(stages=[Stage("one", one(MSE()), trains)]), steps=3).run()
    assert "\n" not in str(problem.value)


def test_stages_and_an_objective_are_one_of_two():
    with pytest.raises(IsthmusError, match="an objective or stages: pass one of the two"):
        linear(MSE(), stages=[Stage("one", one(MSE()), ("encoder",))])
    with pytest.raises(IsthmusError, match="an objective or stages: pass one of the two"):
        linear()
    with pytest.raises(IsthmusError, match="steps=1 are fewer than the 2 stages"):
        toys.trainer(staged(), steps=1)


def test_a_bottleneck_without_weights_works_where_the_encoder_is_trained():
    """In evaluation mode it would cut at a threshold that nobody found."""
    dictionary = Dictionary(12, (6,))
    model = Autoencoder(
        Signal("vector", (6,)), encoder=DictionaryEncoder(dictionary),
        bottleneck=BatchTopK(12, 2, 100), decoder=dictionary,
        stages=[Stage("all", one(MSE()), ("encoder", "decoder")),
                Stage("decoder", one(MSE()), ("decoder",))],
    )  # fmt: skip
    toys.trainer(model, steps=8).run()
    assert int(model.bottleneck.batches) == 4
    assert float(model.bottleneck.threshold) > 0


def test_an_average_follows_where_what_it_follows_is_trained():
    model = linear(
        stages=[Stage("one", one(MSE()), ("encoder",)), Stage("two", one(MSE()), ("decoder",))],
        parts={"teacher": EMA("encoder", 0.5)},
    )
    track = Track()
    toys.trainer(model, steps=6, callbacks=[track]).run()
    copies = [state["parts.teacher.copies.0.weight"] for state in track.states]
    assert not torch.equal(copies[0], copies[1])
    assert torch.equal(copies[2], copies[5])
    assert not torch.equal(copies[2], model.encoder.weight)


def test_a_part_that_rests_has_no_new_epochs():
    class Restless(nn.Linear, Part):
        def every_epoch(self, model, source, step):
            with torch.no_grad():
                self.weight.add_(1.0)

    model = linear(stages=[Stage("one", one(MSE()), ("decoder",))])
    model.encoder = Restless(6, 3)
    before = model.encoder.weight.detach().clone()
    toys.trainer(model, steps=25).run()
    assert torch.equal(model.encoder.weight, before)
