"""fit_many: the models are those of fit, and the data are read once."""

import json
import signal

import pytest
import torch
import toys
from torch import nn

import isthmus
import zoo
from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.errors import IsthmusError
from isthmus.objectives import MSE
from isthmus.training import Interrupted, Trainer, VariantsFailed, journal
from isthmus.training.checkpoint import read_config
from isthmus.training.many import read_manifest
from variants import (
    SHARED,
    SMALL,
    VARIANTS,
    At,
    Counted,
    Killed,
    assert_same,
    ctrl_c,
    fail,
    kill,
    without_rate,
)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """No power is cut here, and waiting for the disk is most of the time."""
    monkeypatch.setattr(journal, "synced", lambda path: None)


def alone(name, X=toys.X, **more):
    """The variant as fit trains it by itself."""
    variant = VARIANTS[name]
    if isinstance(variant, tuple):
        variant = {"recipe": variant[0], **variant[1]}
    options = {**SHARED, "data_seed": 0, **variant, **more}
    return isthmus.fit(options.pop("recipe"), X, **options)


@pytest.fixture(scope="module")
def expected():
    return {name: alone(name) for name in VARIANTS}


def test_each_is_what_fit_makes_of_it_alone(tmp_path, expected):
    models = isthmus.fit_many(VARIANTS, toys.X, out=tmp_path / "runs", **SHARED)
    assert_same(models, expected)
    for name, model in models.items():
        assert without_rate(model.history) == without_rate(expected[name].history), name
        assert model.config == expected[name].config, name
        assert zoo.sha(isthmus.load(tmp_path / "runs" / name)) == zoo.sha(model)
        log = (tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()
        assert without_rate(map(json.loads, log)) == without_rate(model.history)
    steps = {name: model.history[-1]["step"] for name, model in models.items()}
    assert steps["short"] == 8
    assert steps["stopping"] < 14
    assert steps["sparse"] == 14
    assert read_manifest(tmp_path / "runs") == list(VARIANTS)
    # The seeds are the variants' own: they start from other weights.
    assert zoo.sha(models["sparse"]) != zoo.sha(models["again"])


def test_a_variant_knows_nothing_of_the_others(expected):
    some = {name: VARIANTS[name] for name in ("noisy", "sampled")}
    assert_same(isthmus.fit_many(some, toys.X, **SHARED), {n: expected[n] for n in some})


def test_the_rows_are_read_as_often_as_for_one():
    options = {**SHARED, "validate_every": 5}
    one, many = Counted(toys.X), Counted(toys.X)
    isthmus.fit("topk", one, **SMALL, **options, data_seed=0)
    isthmus.fit_many([("topk", {**SMALL, "seed": s}) for s in range(4)], many, **options)
    assert many.calls == one.calls


def test_when_all_have_stopped_nothing_more_is_read(expected, monkeypatch):
    # Thresholds for anomalies are each model's own, by a look at the rows of its own.
    monkeypatch.setattr("isthmus.training.run.keep_training_scores", lambda *_: None)
    source = Counted(toys.X)
    alike = dict.fromkeys(("a", "b"), VARIANTS["stopping"])
    models = isthmus.fit_many(alike, source, **SHARED)
    single = Counted(toys.X)
    alone("stopping", single)
    assert source.calls == single.calls
    assert_same(models, dict.fromkeys(("a", "b"), expected["stopping"]))


def test_validation_data_of_ones_own(tmp_path):
    options = {**SHARED, "validation": 0.0, "validation_data": toys.HELD}
    asked = ["plain", ("topk", {"k": 2})]
    models = isthmus.fit_many(asked, toys.X, latent_dim=8, **options)
    whole = isthmus.fit("plain", toys.X, latent_dim=8, data_seed=0, **options)
    assert zoo.sha(models["plain"]) == zoo.sha(whole)
    assert without_rate(models["plain"].history) == without_rate(whole.history)
    assert models["plain"].config["own_validation"]


# --- stopped and gone on with -----------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 8, 11])
def test_interrupted_and_resumed(tmp_path, expected, step):
    folder = tmp_path / "runs"
    pressed = [At("sparse", step, ctrl_c)]
    before = signal.getsignal(signal.SIGINT), torch.get_rng_state()
    with pytest.raises(Interrupted) as told:
        isthmus.fit_many(VARIANTS, toys.X, out=folder, callbacks=pressed, **SHARED)
    assert signal.getsignal(signal.SIGINT) is before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    text = str(told.value)
    assert text.startswith(f"stopped at step {step} of 14 with ")
    assert text.endswith(f" of 6 running, and saved; go on with: isthmus resume {folder}")
    for name in VARIANTS:
        assert read_config(folder / name)["progress"]["step"] <= step
    assert_same(isthmus.resume_many(folder, toys.X, progress=False), expected)
    assert_same(isthmus.resume_many(folder), expected)  # finished ones are only loaded


def test_resumed_the_rows_are_read_as_often_as_for_one(tmp_path):
    one, many = Counted(toys.X), Counted(toys.X)
    for folder, seeds in (("one", [0]), ("many", [0, 1, 2])):
        asked = {f"seed{seed}": ("topk", {**SMALL, "seed": seed}) for seed in seeds}
        stop = [At(f"seed{seeds[-1]}", 5, ctrl_c)]
        with pytest.raises(Interrupted):
            isthmus.fit_many(asked, toys.X, out=tmp_path / folder, callbacks=stop, **SHARED)
    isthmus.resume(tmp_path / "one" / "seed0", one, progress=False)
    isthmus.resume_many(tmp_path / "many", many, progress=False)
    assert many.calls == one.calls


@pytest.mark.parametrize("step", [1, 4, 11])
def test_killed_with_checkpoints_of_different_steps(tmp_path, expected, step):
    folder = tmp_path / "runs"
    some = {
        name: (VARIANTS[name][0], {**VARIANTS[name][1], "save_every": every})
        for name, every in {"sparse": 3, "noisy": 5, "sampled": 100}.items()
    }
    with pytest.raises(Killed):
        isthmus.fit_many(some, toys.X, out=folder, callbacks=[At("noisy", step, kill)], **SHARED)
    at = {name: read_config(folder / name)["progress"]["step"] for name in some}
    assert at == {"sparse": (step - 1) // 3 * 3, "noisy": (step - 1) // 5 * 5, "sampled": 0}
    models = isthmus.resume_many(folder, toys.X, progress=False)
    assert_same(models, {name: expected[name] for name in some})


def test_one_run_can_be_resumed_by_itself(tmp_path, expected):
    folder = tmp_path / "runs"
    some = {name: VARIANTS[name] for name in ("sparse", "noisy")}
    with pytest.raises(Interrupted):
        isthmus.fit_many(some, toys.X, out=folder, callbacks=[At("noisy", 4, ctrl_c)], **SHARED)
    with pytest.raises(IsthmusError, match="several runs of one pass: go on with them by resume_m"):
        isthmus.resume(folder, toys.X)
    single = isthmus.resume(folder / "noisy", toys.X, progress=False)
    assert zoo.sha(single) == zoo.sha(expected["noisy"])
    models = isthmus.resume_many(folder, toys.X, progress=False)
    assert_same(models, {name: expected[name] for name in some})


def test_ctrl_c_without_a_folder():
    with pytest.raises(Interrupted, match="1 of 2 running; nothing was saved"):
        isthmus.fit_many(
            {"a": ("plain", {"steps": 3}), "b": "plain"}, toys.X, latent_dim=2,
            callbacks=[At("b", 3, ctrl_c)], **SHARED,
        )  # fmt: skip


def test_other_data_and_folders_without_runs_are_refused(tmp_path):
    folder = tmp_path / "runs"
    stop = [At("topk", 4, ctrl_c)]
    with pytest.raises(Interrupted):
        isthmus.fit_many([("topk", SMALL)], toys.X, out=folder, callbacks=stop, **SHARED)
    for data, message in ((toys.X + 1, "not the data"), (None, "pass them again as X")):
        with pytest.raises(IsthmusError, match=message):
            isthmus.resume_many(folder, data)
    with pytest.raises(IsthmusError, match="no runs of fit_many"):
        isthmus.resume_many(folder / "topk", toys.X)
    (folder / "many.json").write_text("{}")
    with pytest.raises(IsthmusError, match=r"many\.json is damaged"):
        isthmus.resume_many(folder, toys.X)


def test_own_modules_are_each_ones_own(tmp_path):
    def variants():
        torch.manual_seed(0)
        return {
            name: ("plain", {"encoder": nn.Linear(6, 3), "latent_dim": 3}) for name in ("a", "b")
        }

    whole = isthmus.fit_many(variants(), toys.X, **SHARED)
    folder = tmp_path / "runs"
    with pytest.raises(Interrupted):
        isthmus.fit_many(variants(), toys.X, out=folder, callbacks=[At("b", 5, ctrl_c)], **SHARED)
    with pytest.raises(IsthmusError, match="encoder of your own"):
        isthmus.resume_many(folder, toys.X)
    modules = {name: {"encoder": nn.Linear(6, 3)} for name in ("a", "b")}
    assert_same(isthmus.resume_many(folder, toys.X, modules=modules, progress=False), whole)
    with pytest.raises(IsthmusError, match="'a' and 'b' share a module"):
        isthmus.fit_many(
            {"a": "plain", "b": "plain"}, toys.X, encoder=nn.Linear(6, 3), latent_dim=3, **SHARED
        )


# --- one fails --------------------------------------------------------------------------------


def test_the_others_go_on_when_one_fails(tmp_path, expected):
    folder = tmp_path / "runs"
    wild = {"recipe": "topk", **SMALL, "optimiser": "sgd", "optimiser_options": {}, "lr": 1e18}
    asked = {"sparse": VARIANTS["sparse"], "wild": wild, "noisy": VARIANTS["noisy"]}
    with pytest.raises(VariantsFailed) as found:
        isthmus.fit_many(asked, toys.X, out=folder, **SHARED)
    text = str(found.value)
    assert text.startswith("the variant 'wild' failed (the loss term mse")
    assert text.endswith(f"; the other 2 finished and are saved in {folder}")
    assert list(found.value.failed) == ["wild"]
    assert found.value.failed["wild"].terms
    assert (folder / "wild" / "nonfinite.safetensors").exists()
    rest = {name: expected[name] for name in ("sparse", "noisy")}
    assert_same(found.value.models, rest)
    # It fails again where it is resumed, and the finished ones are there again.
    with pytest.raises(VariantsFailed, match="'wild' failed") as again:
        isthmus.resume_many(folder, toys.X, progress=False)
    assert_same(again.value.models, rest)


def test_whatever_goes_wrong_and_with_all():
    stops = [At("a", 2, fail), At("b", 5, fail)]
    with pytest.raises(VariantsFailed) as found:
        isthmus.fit_many(
            {"a": "plain", "b": "plain"}, toys.X, latent_dim=2, callbacks=stops, **SHARED
        )
    assert str(found.value) == "the variants 'a' and 'b' failed (RuntimeError: broken)"
    assert isinstance(found.value.__cause__, RuntimeError)
    assert found.value.models == {}


def test_failing_on_the_held_out_rows_or_in_saving_costs_the_others_nothing(
    tmp_path, monkeypatch, expected
):
    from isthmus.training import validation

    see, save = validation.Validation.see, Trainer.save

    def broken_see(self, number, batch):
        if self.run.title == "held" and self.run.step == 6:
            raise RuntimeError("broken")
        see(self, number, batch)

    def broken_save(self):
        if self.title == "saved" and self.step == 4:
            raise IsthmusError("the disk is full")
        save(self)

    monkeypatch.setattr(validation.Validation, "see", broken_see)
    monkeypatch.setattr(Trainer, "save", broken_save)
    with pytest.raises(VariantsFailed) as found:
        isthmus.fit_many(
            {"held": "plain", "saved": ("plain", {"save_every": 2}), "short": VARIANTS["short"]},
            toys.X, out=tmp_path / "runs", latent_dim=8, **{**SHARED, "data_seed": 0},
        )  # fmt: skip
    assert {n: str(p) for n, p in found.value.failed.items()} == {
        "saved": "the disk is full",
        "held": "broken",
    }
    assert_same(found.value.models, {"short": expected["short"]})


def test_state_without_weights_cannot_be_shared_either():
    norm = nn.BatchNorm1d(toys.X.shape[1], affine=False)

    def model():
        signal = Signal.infer(toys.X)
        return Autoencoder(
            signal, encoder=nn.Sequential(norm, nn.Linear(signal.numel, 2)), bottleneck=Identity(),
            decoder=nn.Linear(2, signal.numel), objective=MSE(),
        )  # fmt: skip

    with pytest.raises(IsthmusError, match="'a' and 'b' share a module"):
        isthmus.fit_many({"a": model(), "b": model()}, toys.X, steps=1, progress=False)
