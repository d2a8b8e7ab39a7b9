"""The stepper by hand and in a run; the late look at losses."""

import pytest
import torch
import toys
from loops import late, linear

import isthmus
import zoo
from isthmus.anatomy import Part, Term
from isthmus.data import ArraySource
from isthmus.objectives import MSE
from isthmus.training import Callback, Run, Stepper, TrainingOptions, journal, read_checkpoint
from isthmus.training.non_finite_loss import NonFiniteLoss


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(journal, "synced", lambda path: None)


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
    later = Stepper(poisoned(at=1), TrainingOptions(steps=2, batch_size=16), total=2, first=40)
    later.step(toys.SOURCE.batch(torch.arange(16)), 40)
    with pytest.raises(FloatingPointError, match="is not finite at step 41"):
        later.step(toys.SOURCE.batch(torch.arange(16)), 41)


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
        toys.trainer(
            poisoned(2), tmp_path / "run", save_every=1, callbacks=[Fails()], log_every=99
        ),
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


class Spoilt(Term):
    """NaN from a step on, for rows whose first value is above a limit."""

    name, unit = "spoilt", "units"

    def forward(self, model, out):
        bad = (out.x[:, 0] > 0.5) & (out.clock.step >= 3)
        return torch.where(bad, torch.nan, 0.0) * out.code.z.sum(1)


@pytest.mark.parametrize("recipe", ["dense", "sparse"])
def test_a_late_look_finds_what_an_early_one_does(recipe):
    """Nothing moves after the loss that is not finite: rows, cause and weights are the same."""
    found = []
    for hold in (lambda run: run, lambda run: late(run, every=100)):
        model = linear(MSE() + Spoilt()) if recipe == "dense" else toys.fresh("sparse")
        if recipe == "sparse":
            model.objective = model.objective + Spoilt()
        run = hold(toys.trainer(model, log_every=7))
        with pytest.raises(NonFiniteLoss) as problem:
            run.run()
        found.append((problem.value, [p.detach().clone() for p in model.parameters()]))
    (early, before), (other, after) = found
    assert early.rows
    assert (other.step, other.terms, other.rows) == (early.step, early.terms, early.rows)
    assert str(other) == str(early)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_late_look_changes_nothing_where_all_is_well():
    early, run = (
        toys.trainer(toys.fresh("adversarial")),
        late(toys.trainer(toys.fresh("adversarial"))),
    )
    assert zoo.sha(early.run()) == zoo.sha(run.run())
