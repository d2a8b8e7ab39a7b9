"""What may be asked of fit_many: names, options, folders, mistakes; and the command line."""

import numpy as np
import pytest
import toys
from typer.testing import CliRunner

import isthmus
import zoo
from isthmus.cli import app
from isthmus.errors import IsthmusError
from isthmus.training import Callback, Interrupted
from isthmus.training.checkpoint import read_config
from isthmus.training.many import read_manifest
from variants import SHARED, SMALL, VARIANTS, At, Counted, Killed, assert_same, ctrl_c

# --- what is asked for ------------------------------------------------------------------------


def test_names_say_in_what_variants_differ():
    asked = [
        ("topk", {"k": 2, "seed": 0}),
        ("topk", {"k": 2, "seed": 1}),
        {"recipe": "topk", "k": 4, "lr": 1e-3, "scaling": "norm"},
        "plain",
        ("denoising", {"hidden": [4, 3]}),
        ("denoising", {"hidden": (4,)}),
    ]
    models = isthmus.fit_many(asked, toys.X, latent_dim=8, **{**SHARED, "steps": 1})
    assert list(models) == [
        "topk-k2-seed0", "topk-k2-seed1", "topk-k4-lr0.001-scaling-norm", "plain",
        "denoising-hidden-4x3", "denoising-hidden-4",
    ]  # fmt: skip


def test_shared_options_yield_to_a_variants_own():
    models = isthmus.fit_many(
        [{"k": 2}, {"k": 3, "epochs": 1}, {"k": 4, "recipe": "topk", "steps": 2}],
        toys.X, recipe="topk", latent_dim=8, **{**SHARED, "seed": 7},
    )  # fmt: skip
    assert [model.history[-1]["step"] for model in models.values()] == [14, 8, 2]
    for model in models.values():
        assert model.config["training"]["seed"] == model.config["training"]["data_seed"] == 7


def test_data_seed_alone_decides_the_order_and_the_held_out_rows():
    sources = {}
    for name, seeds in {
        "base": {"seed": 3},
        "other start": {"seed": 4, "data_seed": 3},
        "other order": {"seed": 3, "data_seed": 4},
    }.items():
        sources[name] = Counted(toys.X)
        model = isthmus.fit("topk", sources[name], **SMALL, **SHARED, **seeds)
        sources[name].model = model
    assert sources["base"].calls == sources["other start"].calls
    assert sources["base"].calls != sources["other order"].calls
    assert zoo.sha(sources["base"].model) != zoo.sha(sources["other start"].model)


MISTAKES = [
    ([], {}, "needs several variants"),
    ("topk", {}, "needs several variants"),
    ([3], {}, "the variant 3 is none"),
    ([{"k": 2}], {}, "names no recipe"),
    (["tpok"], {}, "did you mean 'topk'"),
    ([("topk", {"kk": 2})], {}, "did you mean 'k'"),
    (["plain", "plain"], {}, "both be called 'plain'"),
    ({"a": "plain", "A": "plain"}, {}, "both be called 'A'"),
    ({"../a": "plain"}, {}, "cannot be that of a folder"),
    ({".hidden": "plain"}, {}, "cannot be that of a folder"),
    ([("plain", {"batch_size": 8}), "topk"], {}, r"differ in batch_size .*: pass batch_size=8"),
    ([("plain", {"data_seed": 8}), "topk"], {}, "differ in data_seed"),
    ([("plain", {"validation": 0.5}), "topk"], {}, "differ in validation"),
    (["plain", ("topk", {"patience": 2})], {"validation": 0.0}, "set validation=0.1"),
    (["plain", "daef"], {}, "'daef' is fitted in closed form"),
]


@pytest.mark.parametrize(("variants", "more", "message"), MISTAKES)
def test_mistakes_are_one_sentence_and_nothing_is_written(tmp_path, variants, more, message):
    with pytest.raises(IsthmusError, match=message) as problem:
        isthmus.fit_many(variants, toys.X, out=tmp_path / "runs", **{**SHARED, **more})
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "runs").exists()


def test_fewer_rows_than_the_default_batches_make_one_batch():
    few = toys.X[:60]
    asked = {"steps": 1, "progress": False}
    models = isthmus.fit_many(["plain", ("topk", SMALL)], few, length="published", **asked)
    assert [m.config["training"]["batch_size"] for m in models.values()] == [60, 60]


def test_a_batch_that_nobody_stated_suits_all():
    small = {name: value for name, value in SMALL.items() if name != "steps"}
    models = isthmus.fit_many(
        [("plain", {"latent_dim": 2}), ("topk", small)], toys.X, progress=False, minutes=0.001
    )
    assert [m.config["training"]["batch_size"] for m in models.values()] == [16, 16]


def test_taken_folders(tmp_path):
    folder, quick = tmp_path / "runs", {**SHARED, "steps": 1, "latent_dim": 2}
    isthmus.fit_many({"a": "plain", "b": "plain"}, toys.X, out=folder, **quick)
    with pytest.raises(IsthmusError, match="already holds runs"):
        isthmus.fit_many({"c": "plain"}, toys.X, out=folder, **quick)
    models = isthmus.fit_many({"b": "denoising"}, toys.X, out=folder, overwrite=True, **quick)
    assert read_manifest(folder) == ["b"]
    assert zoo.sha(isthmus.resume_many(folder)["b"]) == zoo.sha(models["b"])
    isthmus.load(folder / "a")  # an earlier run of another name is left alone
    (tmp_path / "file").write_text("mine")
    with pytest.raises(IsthmusError, match="is a file"):
        isthmus.fit_many(["plain"], toys.X, out=tmp_path / "file", **quick)
    (folder / "many.json").unlink()
    with pytest.raises(IsthmusError, match="already holds a run"):
        isthmus.fit_many({"a": "plain"}, toys.X, out=folder, **quick)


def test_killed_while_the_new_runs_replace_the_old_ones(tmp_path):
    """The list of the earlier call does not vouch for a mixture of old and new runs."""
    folder, quick = tmp_path / "runs", {**SHARED, "steps": 1, "latent_dim": 2}
    isthmus.fit_many({"a": "plain", "b": "plain"}, toys.X, out=folder, **quick)

    class KillB(Callback):
        def on_start(self, trainer):
            if trainer.title == "b":
                raise Killed

    with pytest.raises(Killed):
        isthmus.fit_many(
            {"a": "plain", "b": "plain"}, toys.X, out=folder, overwrite=True,
            callbacks=[KillB()], **quick,
        )  # fmt: skip
    with pytest.raises(IsthmusError, match="no runs of fit_many that began"):
        isthmus.resume_many(folder, toys.X)


def test_one_line_shows_them_all(capsys):
    shown = {**SHARED, "progress": True}
    isthmus.fit_many({"a": ("plain", {"steps": 3}), "b": "plain"}, toys.X, latent_dim=2, **shown)
    line = capsys.readouterr().err.strip()
    assert line.startswith("fit-many  14/14  in ")
    assert "rows/s" in line
    assert line.endswith("0 of 2 running · epoch 2")
    assert len(line.splitlines()) == 1
    stopped = isthmus.fit_many({"a": VARIANTS["stopping"]}, toys.X, **shown)["a"]
    step = stopped.history[-1]["step"]
    assert step < 14
    assert f"  {step}/{step}  in " in capsys.readouterr().err  # nothing is left to wait for


def test_default_names_and_arrays(tmp_path):
    np.save(tmp_path / "x.npy", toys.X)
    models = isthmus.fit_many(
        [("topk", {**SMALL, "k": k}) for k in (2, 3)], tmp_path / "x.npy",
        out=tmp_path / "runs", callbacks=[], **SHARED,
    )  # fmt: skip
    assert list(models) == ["topk-k2", "topk-k3"]
    assert_same(isthmus.resume_many(tmp_path / "runs"), models)
    assert (models["topk-k2"].encode(toys.X) != 0).sum(1).max() <= 2


# --- on the command line ----------------------------------------------------------------------

SWEEP = """
data = "x.npy"
output = "runs"
recipe = "topk"
latent_dim = 12
steps = 6
batch_size = 16

[variants.two]
k = 2
[variants.three]
k = 3
clip = "none"
"""


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def test_a_sweep_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", toys.X)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    done = run("fit-many", "sweep.toml", "steps=4", "-q")
    assert done.exit_code == 0, done.exception
    words = [line.split()[0] for line in done.output.splitlines()]
    assert [word for word in words if word in ("two", "three", "saved")] == [
        "two",
        "three",
        "saved",
    ]
    assert isthmus.load("runs/three").config["options"]["k"] == 3
    assert read_config(tmp_path / "runs" / "two")["progress"]["step"] == 4
    done = run("fit-many", "sweep.toml", "-q")
    assert "already holds runs" in str(done.exception)
    assert run("resume", "runs").exit_code == 0
    listed = SWEEP.replace("variants.two", "[variants]").replace("variants.three", "[variants]")
    (tmp_path / "sweep.toml").write_text(listed)
    assert run("fit-many", "sweep.toml", "x.npy", "-o", "others", "-q").exit_code == 0
    assert read_manifest(tmp_path / "others") == ["topk-k2", "topk-k3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('data = "x.npy"\noutput = "o"', "has no variants"),
        ('data = "x.npy"\noutput = "o"\nvariants = ["topk"]', "is no table"),
        ('output = "o"', "does not say data"),
        ('data = "x.npy"', "does not say output"),
    ],
)
def test_mistakes_in_a_sweep_file(tmp_path, text, message):
    (tmp_path / "sweep.toml").write_text(text)
    assert message in str(run("fit-many", tmp_path / "sweep.toml").exception)


def test_resume_on_the_command_line_goes_on_with_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", toys.X)
    some = {name: VARIANTS[name] for name in ("sparse", "noisy")}
    expected = isthmus.fit_many(some, "x.npy", **SHARED)
    with pytest.raises(Interrupted):
        isthmus.fit_many(some, "x.npy", out="runs", callbacks=[At("noisy", 4, ctrl_c)], **SHARED)
    assert run("resume", "runs").exit_code == 0
    assert_same({name: isthmus.load(f"runs/{name}") for name in some}, expected)
