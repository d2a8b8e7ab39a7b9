"""A run that was stopped anywhere ends with the same bits as one that never was."""

import json
import shutil

import pytest
import torch
import toys

import isthmus
import zoo
from isthmus.errors import IsthmusError
from isthmus.training import Callback, journal, read_checkpoint

SETTINGS = {
    "as it is": {},
    "average": {"average": 0.8},
    "clip": {"clip": 0.05},
    "accumulate": {"accumulate": 4},
    "schedule": {"lr_schedule": "cosine", "warmup": 3},
    "patience": {"held": True, "validate_every": 2, "patience": 2, "average": 0.5},
    "validation": {"held": True},
    "groups": {"groups": [{"match": "decoder.*", "lr": 0.1, "weight_decay": 0.2}]},
    "everything": {
        "average": 0.8,
        "clip": 0.5,
        "accumulate": 2,
        "lr_schedule": "linear",
        "held": True,
        "validate_every": 3,
        "patience": 20,
        "optimiser": "adamw",
        "weight_decay": 0.1,
    },
}
OPTIMISERS = ["sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam", "radam", "adamax", "adadelta",
              "rprop", "asgd", "adafactor", "lars"]  # fmt: skip


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """No power is cut here, and waiting for the disk is most of the time."""
    monkeypatch.setattr(journal, "synced", lambda path: None)


class Keep(Callback):
    """Copies the folder of the run after every save, by step."""

    def __init__(self, to):
        self.to = to

    def on_save(self, trainer, folder):
        shutil.copytree(folder, self.to / str(trainer.step))


def whole_run(tmp_path, kind, options):
    kept = tmp_path / "kept"
    kept.mkdir()
    run = toys.trainer(
        toys.fresh(kind), tmp_path / "run", save_every=1, callbacks=[Keep(kept)], **options
    )
    return run.run(), run, kept


def continued(kind, folder, options, **more):
    model = toys.fresh(kind)
    with torch.no_grad():  # whatever the rebuilt model starts from must not matter
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    run = toys.trainer(model, folder, save_every=1000, **options, **more)
    run.restore(read_checkpoint(folder, state=True))
    return run.run(), run


def without_rate(history):
    return [{k: v for k, v in record.items() if k != "rows_per_second"} for record in history]


# The kinds meet all settings at once; each setting by itself is seen with one kind.
PAIRS = [(kind, "everything") for kind in toys.MODELS]
PAIRS += [(kind, setting) for setting, kind in zip(SETTINGS, toys.MODELS, strict=False)]
PAIRS += [("sampled", setting) for setting in list(SETTINGS)[5:-1]]


@pytest.mark.parametrize(("kind", "setting"), PAIRS)
def test_stopped_after_any_step(tmp_path, kind, setting):
    options = {**SETTINGS[setting], "log_every": 1}
    model, run, kept = whole_run(tmp_path, kind, options)
    steps = sorted(int(p.name) for p in kept.iterdir())
    assert steps == list(range(run.step + 1))
    for step in steps:
        again, other = continued(kind, kept / str(step), options)
        assert zoo.sha(again) == zoo.sha(model), f"{kind}, {setting}: differs from step {step} on"
        assert other.step == run.step
        assert without_rate(again.history) == without_rate(model.history)
        log = (kept / str(step) / "metrics.jsonl").read_text().splitlines()
        assert without_rate(map(json.loads, log)) == without_rate(model.history)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_resumes(tmp_path, optimiser):
    options = {"optimiser": optimiser, "steps": 6}
    if optimiser == "sgd":
        options["optimiser_options"] = {"momentum": 0.9, "nesterov": True}
    model, _, kept = whole_run(tmp_path, "deterministic", options)
    assert zoo.sha(continued("deterministic", kept / "4", options)[0]) == zoo.sha(model)


def test_saving_and_looking_change_nothing(tmp_path):
    class Look(Callback):
        def on_step(self, trainer, step):
            trainer.model.encode(toys.X)
            torch.rand(3)

    for kind in toys.MODELS:
        options = {"average": 0.8, "held": True}
        bare = toys.trainer(toys.fresh(kind), **options).run()
        seen = toys.trainer(
            toys.fresh(kind), tmp_path / kind, save_every=1, callbacks=[Look()], **options
        )
        assert zoo.sha(bare) == zoo.sha(seen.run()), kind


def test_the_saved_weights_are_those_returned(tmp_path):
    for name in ("average", "patience", "everything", "as it is"):
        model = toys.trainer(toys.fresh("sparse"), tmp_path / name, **SETTINGS[name]).run()
        saved = read_checkpoint(tmp_path / name).weights
        assert set(saved) == set(model.state_dict())
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, saved[key]), (name, key)


# --- through the public functions -------------------------------------------------------------


class Stop(Callback):
    """Ends the process's run, as a kill would, after a step."""

    def __init__(self, after):
        self.after = after

    def on_step(self, trainer, step):
        if step == self.after:
            raise RuntimeError("killed")


FIT = {
    "latent_dim": 3,
    "log_every": 1,
    "steps": 20,
    "batch_size": 16,
    "save_every": 4,
    "progress": False,
}


@pytest.mark.parametrize("after", [1, 4, 7, 20])
def test_fit_and_resume(tmp_path, after):
    whole = isthmus.fit("denoising", toys.X, **FIT)
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit("denoising", toys.X, out=folder, callbacks=[Stop(after)], **FIT)
    again = isthmus.resume(folder, toys.X, progress=False)
    assert zoo.sha(again) == zoo.sha(whole)
    assert again.config["recipe"] == "denoising"
    # A finished run is only loaded.
    assert zoo.sha(isthmus.resume(folder)) == zoo.sha(whole)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_every_recipe_resumes(tmp_path, name):
    options, rows = zoo.small(name)
    if zoo.build(name)[0].solver is not None:
        pytest.skip("a solver has no steps to resume from")
    options = {**options, "steps": 8, "batch_size": 16, "progress": False, "save_every": 3}
    whole = isthmus.fit(name, rows, **options)
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit(name, rows, out=folder, callbacks=[Stop(5)], **options)
    assert zoo.sha(isthmus.resume(folder, rows, progress=False)) == zoo.sha(whole)


def test_resume_reads_named_files_itself_and_own_modules_are_asked_for(tmp_path):
    import numpy as np

    np.save(tmp_path / "x.npy", toys.X)
    folder = tmp_path / "run"
    torch.manual_seed(0)
    own = torch.nn.Linear(6, 3)
    start = {n: p.detach().clone() for n, p in own.named_parameters()}
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit(
            "plain", tmp_path / "x.npy", out=folder, encoder=own, callbacks=[Stop(6)], **FIT
        )
    with pytest.raises(IsthmusError, match=r"encoder of your own .*pass it again as encoder="):
        isthmus.resume(folder)
    again = isthmus.resume(folder, encoder=torch.nn.Linear(6, 3), progress=False)
    own.load_state_dict(start)
    whole = isthmus.fit("plain", toys.X, encoder=own, **FIT)
    assert zoo.sha(again) == zoo.sha(whole)


def test_a_model_of_own_parts_resumes(tmp_path):
    whole = isthmus.fit(toys.fresh(), toys.X, steps=9, batch_size=16, progress=False)
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit(
            toys.fresh(), toys.X, steps=9, batch_size=16, out=tmp_path / "run", save_every=2,
            callbacks=[Stop(5)], progress=False,
        )  # fmt: skip
    with pytest.raises(IsthmusError, match="pass the untrained autoencoder as model"):
        isthmus.resume(tmp_path / "run", toys.X)
    again = isthmus.resume(tmp_path / "run", toys.X, model=toys.fresh("deterministic"))
    assert zoo.sha(again) == zoo.sha(whole)


@pytest.fixture
def stopped(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit("plain", toys.X, out=folder, callbacks=[Stop(6)], **FIT)
    return folder


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "pass them again as X"),
        (toys.X[:-1], "not the data"),
        (toys.X + 1, "not the data"),
        (toys.X[:, :4], "not the data"),
    ],
)
def test_other_data_are_refused(stopped, data, message):
    with pytest.raises(IsthmusError, match=message):
        isthmus.resume(stopped, data)


def test_own_validation_data_are_asked_for_again(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit(
            "plain", toys.X, validation_data=toys.X[:20], out=folder, callbacks=[Stop(6)], **FIT
        )
    with pytest.raises(IsthmusError, match="pass them as validation_data"):
        isthmus.resume(folder, toys.X)
    isthmus.resume(folder, toys.X, validation_data=toys.X[:20], progress=False)


def test_a_log_that_lost_its_tail_is_not_filled_with_zeros(stopped):
    """The log is appended to, and not synced: after a power cut it may be too short."""
    (stopped / "metrics.jsonl").write_text("")
    isthmus.resume(stopped, toys.X, progress=False)
    for line in (stopped / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_taken_folder_is_refused_and_kept_when_the_new_run_fails(stopped):
    with pytest.raises(IsthmusError, match="already holds a run"):
        isthmus.fit("plain", toys.X, out=stopped, **FIT)
    before = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()}
    with pytest.raises(IsthmusError, match="is more than latent_dim"):
        isthmus.fit("topk", toys.X, out=stopped, overwrite=True, **{**FIT, "k": 30})
    assert {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()} == before


def test_overwriting_replaces_the_run_from_its_first_step(stopped):
    """Killed at once, the folder holds the new run and nothing of the old one."""
    with pytest.raises(RuntimeError, match="killed"):
        isthmus.fit("denoising", toys.X, out=stopped, overwrite=True, callbacks=[Stop(1)], **FIT)
    again = isthmus.resume(stopped, toys.X, progress=False)
    assert again.config["recipe"] == "denoising"
    assert zoo.sha(again) == zoo.sha(isthmus.fit("denoising", toys.X, **FIT))


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(IsthmusError, match="is a file"):
        isthmus.fit("plain", toys.X, out=tmp_path / "run", **FIT)
    assert (tmp_path / "run").read_text() == "mine"
