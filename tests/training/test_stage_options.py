"""Options of a stage: what they do, what is refused; what is told before the first one trains."""

import pytest
import torch
import toys
from loops import Keep, linear, resumes

import isthmus
import zoo
from isthmus.anatomy import Autoencoder, Stage
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training import Callback, journal, read_checkpoint


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(journal, "synced", lambda path: None)


def two(first=None, second=None, **more) -> Autoencoder:
    return linear(
        stages=[
            Stage("one", MSE(), "encoder", 1.0, first or {}),
            Stage("two", MSE(), ("decoder",), 2.0, second or {}),
        ],
        **more,
    )


def weights(model, of):
    return model.get_submodule(of).weight.detach().clone()


class Validated(Callback):
    def __init__(self):
        self.at = []

    def on_log(self, run, record):
        if "validation/loss" in record:
            self.at.append(record["step"])


# --- what they do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.05}, {"optimiser": "sgd"}, {"warmup": 5, "lr": 0.05}, {"clip": 1e-3},
        {"clip_value": 1e-4},
        {"weight_decay": 0.3}, {"average": 0.5}, {"lr_schedule": "linear"}, {"precision": "bf16"},
        {"groups": ({"match": "decoder.weight", "lr": 0.1},)},
    ],
    ids=str,
)  # fmt: skip
def test_an_option_of_the_second_stage_acts_there_and_there_only(options):
    plain = toys.trainer(two(), steps=30).run()
    changed = toys.trainer(two(second=options), steps=30).run()
    assert torch.equal(weights(plain, "encoder"), weights(changed, "encoder"))
    assert not torch.equal(weights(plain, "decoder"), weights(changed, "decoder"))


def test_accumulate_is_the_stage_s():
    calls = []

    def counted(accumulate):
        model = two(second={"accumulate": accumulate})
        for number, objective in enumerate(model.objectives):
            term = objective.terms[0]
            of, kind = number, type(term)

            def forward(model, out, of=of, kind=kind, term=term):
                calls.append((of, out.rows))
                return kind.forward(term, model, out)

            term.forward = forward
        return toys.trainer(model, steps=3).run()

    whole = counted(1)
    assert calls == [(0, 16), (1, 16), (1, 16)]
    calls.clear()
    parts = counted(4)
    assert calls == [(0, 16)] + [(1, 4)] * 8
    assert torch.allclose(weights(whole, "decoder"), weights(parts, "decoder"), atol=1e-6)


def test_validations_are_counted_from_the_stage_s_first_step():
    seen = Validated()
    toys.trainer(
        two({"validate_every": 2}, {"validate_every": 3}), steps=15, held=True, callbacks=[seen]
    ).run()
    assert seen.at == [2, 4, 5, 8, 11, 14, 15]


@pytest.mark.parametrize("stage", ["first", "second"])
def test_patience_is_the_stage_s(stage):
    """With a rate at which nothing is gained, one stage ends early and the other does not."""
    wild = {"patience": 1, "validate_every": 1, "lr": 50.0, "optimiser": "sgd"}
    calm = {"validate_every": 1, "lr": 1e-4}
    seen = Validated()
    both = (wild, calm) if stage == "first" else (calm, wild)
    run = toys.trainer(two(*both), steps=15, held=True, callbacks=[seen])
    run.run()
    if stage == "first":
        assert len([s for s in seen.at if s <= 5]) < 5
        assert [s for s in seen.at if s > 5] == list(range(6, 16))
        assert not run.stopped
    else:
        assert [s for s in seen.at if s <= 5] == [1, 2, 3, 4, 5]
        assert run.stopped
        assert run.step < 15


SETTINGS = {
    "options of one stage": {"second": {"lr": 0.1, "warmup": 2, "average": 0.5, "accumulate": 2}},
    "an optimiser each": {"first": {"optimiser": "sgd", "average": 0.7}},
    "patience of one": {
        "first": {"patience": 1, "lr": 50.0, "optimiser": "sgd"}, "held": True,
        "validate_every": 1,
    },
    "patience and an average": {
        "second": {"patience": 1, "lr": 50.0, "average": 0.1, "optimiser": "sgd"},
        "first": {"patience": 3}, "held": True, "validate_every": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
def test_they_resume_from_every_checkpoint(tmp_path, setting):
    options = dict(SETTINGS[setting])
    own = {name: options.pop(name, {}) for name in ("first", "second")}
    kept = tmp_path / "kept"
    kept.mkdir()
    settings = {"steps": 9, **options}
    whole = toys.trainer(
        two(**own), tmp_path / "run", save_every=1, callbacks=[Keep(kept)], **settings
    ).run()
    assert zoo.sha(toys.trainer(two(**own), **settings).run()) == zoo.sha(whole)
    stages = set()
    for folder in kept.iterdir():
        checkpoint = read_checkpoint(folder, state=True)
        stages.add((checkpoint.progress["stage"], checkpoint.progress["step"] == 3))
        again = toys.trainer(two(**own), folder, save_every=1000, **settings)
        again.restore(checkpoint)
        assert zoo.sha(again.run()) == zoo.sha(whole), folder.name
    assert {(0, False), (0, True), (1, False)} <= stages  # before, at and after the boundary


def test_stages_of_one_share_resume_with_all_else(tmp_path):
    resumes(tmp_path, two, steps=7, average=0.4, accumulate=4, held=True, validate_every=2)


# --- loading -----------------------------------------------------------------------------------


def test_a_run_loads_in_the_stage_that_it_reached(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    options = {"steps": 9, "batch_size": 16, "device": "cpu", "progress": False, "save_every": 1}
    isthmus.fit(two(), toys.X, out=tmp_path / "run", callbacks=[Keep(kept)], **options)
    found = {p.name: isthmus.load(p, two()).stage for p in kept.iterdir()}
    assert found == {str(n): int(n > 3) for n in range(10)}
    whole = isthmus.load(tmp_path / "run", two())
    isthmus.save(whole, tmp_path / "copy")
    assert isthmus.load(tmp_path / "copy", two()).stage == 1


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"log_every": 5}, "the stage 'two' cannot have an option 'log_every', which a run has"),
        ({"save_every": 5}, "cannot have an option 'save_every', .*: pass save_every to the run"),
        ({"batch_size": 8}, "cannot have an option 'batch_size'"),
        ({"compile": True}, "cannot have an option 'compile'"),
        ({"learning_rate": 1.0}, "unknown option of the stage 'two' 'learning_rate'"),
        ({"optimizer": "sgd"}, "did you mean 'optimiser'"),
        ({"lr": -1.0}, "the option lr=-1.0 of the stage 'two' cannot be: input should be"),
        ({"accumulate": 3}, "accumulate=3 of the stage 'two' does not divide batch_size=16"),
        ({"patience": 2}, "patience=2 of the stage 'two' needs something to watch"),
    ],
)
def test_an_option_that_a_stage_cannot_have_is_one_sentence(options, said):
    with pytest.raises(IsthmusError, match=said) as problem:
        toys.trainer(two(second=options), steps=9)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (Stage("two", MSE(), "decodr"), "'decodr' is to be trained and matches no part"),
        (Stage("two", MSE(), "decoder", options={"optimiser": "adm"}), "did you mean 'adam'"),
        (
            Stage("two", MSE(), "decoder", options={"groups": ({"match": "x"},)}),
            "the parameter group 'x' matches no parameter",
        ),
        (Stage("two", MSE(), "frozen"), "the stage 'two' trains nothing of the model: unfreeze"),
    ],
)
def test_a_mistake_in_a_later_stage_is_told_before_the_first_trains(second, said):
    class Never(Callback):
        def on_step(self, run, step):
            raise AssertionError

    model = linear(stages=[Stage("one", MSE(), "encoder"), second])
    model.frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(IsthmusError, match=said) as problem:
        toys.trainer(model, steps=9, callbacks=[Never()]).run()
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_a_share_is_a_number_above_zero(share):
    with pytest.raises(IsthmusError, match=r"'one' has share=.*: a share of the steps is"):
        Stage("one", MSE(), "encoder", share)


def test_two_stages_of_one_name_are_refused():
    with pytest.raises(IsthmusError, match="two stages are named 'one': give each a name"):
        linear(stages=[Stage("one", MSE(), "encoder"), Stage("one", MSE(), "decoder")])


def test_a_name_is_as_good_as_a_tuple_of_one_and_a_term_as_an_objective():
    assert Stage("one", MSE(), "encoder").trains == ("encoder",)
    assert zoo.sha(toys.trainer(two(), steps=6).run()) == zoo.sha(
        toys.trainer(
            linear(
                stages=[
                    Stage("one", 1.0 * MSE(), ("encoder",)),
                    Stage("two", 1.0 * MSE(), ("decoder",), 2.0),
                ]
            ),
            steps=6,
        ).run()
    )
