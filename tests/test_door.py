"""Functions, importable names and autoencoders wherever a recipe's name can stand."""

import copy
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import isthmus
import zoo
from isthmus.anatomy import Autoencoder, Scaler, Signal
from isthmus.bottlenecks import Identity
from isthmus.cli import main
from isthmus.errors import IsthmusError
from isthmus.estimators import AutoencoderTransformer
from isthmus.objectives import MSE
from isthmus.recipes import as_recipe

SRC = str(Path(isthmus.__file__).parents[1])
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(80, 5)) * [1, 10, 100, 1, 1] + 5).astype(np.float32)
UNIT = RNG.random(size=(80, 5)).astype(np.float32)
QUICK = {"steps": 4, "batch_size": 16, "progress": False}

MODULE = '''
"""Own recipes of a module."""

from torch import nn

from isthmus.anatomy import Autoencoder, Signal
from isthmus.bottlenecks import Identity
from isthmus.objectives import MSE
from isthmus.recipes import recipe


def mine(signal: Signal, *, latent_dim: int = 2) -> Autoencoder:
    """Two linear maps.

    And no more.
    """
    (n,) = signal.shape
    return Autoencoder(
        signal, encoder=nn.Linear(n, latent_dim), bottleneck=Identity(),
        decoder=nn.Linear(latent_dim, n), objective=MSE(),
    )


@recipe("decorated", training={"steps": 3, "batch_size": 16})
def decorated(signal, *, latent_dim: int = 3) -> Autoencoder:
    return mine(signal, latent_dim=latent_dim)


def five() -> Autoencoder:
    return mine(Signal("vector", (5,)))


model = five()
number = 3
'''


def linear(latent=2, **parts) -> Autoencoder:
    return Autoencoder(
        Signal("vector", (5,)), encoder=nn.Linear(5, latent), bottleneck=Identity(),
        decoder=nn.Linear(latent, 5), objective=MSE(), **parts,
    )  # fmt: skip


def seeded() -> Autoencoder:
    torch.manual_seed(0)
    return linear()


def local(signal: Signal, *, latent_dim: int = 2) -> Autoencoder:
    return linear(latent_dim)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder on the path with the module ``ownpages``."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "ownpages.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
        sys.modules.pop("ownpages", None)


def one_sentence(problem):
    text = str(problem.value)
    assert "\n" not in text
    return text


# --- a verb and a package do not share a name ------------------------------------------------


@pytest.mark.parametrize("order", ["before", "after", "module first"])
def test_recipes_is_a_package_whose_call_still_works(order):
    touch = {"before": "", "after": "isthmus.fit", "module first": "import isthmus.recipes"}[order]
    code = f"""
        import warnings, isthmus
        {touch}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert "topk" in isthmus.recipes()
            assert "isthmus.list_recipes()" in str(said[0].message)
        isthmus.fit
        assert isthmus.recipes("JumpReLU").keys() == isthmus.list_recipes("JumpReLU").keys()
        assert isthmus.recipes.get_recipe("topk").name == "topk"
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True,
        text=True, env={"PYTHONPATH": SRC, "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- fit and load ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["name", "function", "recipe"])
def test_a_function_is_fitted_and_loaded_in_another_process(own, tmp_path, how):
    import ownpages

    given = {"name": "ownpages:mine", "function": ownpages.mine}
    given["recipe"] = as_recipe("ownpages:mine")
    model = isthmus.fit(given[how], X, latent_dim=3, out=tmp_path / "run", **QUICK)
    assert model.encode(X).shape == (80, 3)
    assert model.config["recipe"] == "ownpages:mine"
    assert model.config["options"] == {"latent_dim": 3, "scaling": "auto"}
    again = isthmus.load(tmp_path / "run")
    np.testing.assert_array_equal(again.encode(X), model.encode(X))
    if how != "name":
        return
    np.save(tmp_path / "x.npy", X)
    code = (
        "import isthmus, numpy as np\n"
        "print(float(isthmus.load('run').encode(np.load('x.npy')).sum()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": f"{own}:{SRC}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(float(model.encode(X).sum()), rel=1e-5)


def test_a_decorated_function_keeps_its_training_options(own, tmp_path):
    model = isthmus.fit("ownpages:decorated", X, out=tmp_path / "run", progress=False)
    assert model.history[-1]["step"] == 3
    by_name = isthmus.fit("decorated", X, progress=False)
    assert zoo.sha(model) == zoo.sha(by_name)
    assert by_name.config["recipe"] == "ownpages:decorated"
    assert as_recipe("decorated").paper == ""
    assert zoo.sha(isthmus.load(tmp_path / "run")) == zoo.sha(model)


@pytest.mark.parametrize("name", ["ownpages:five", "ownpages:model"])
def test_a_builder_without_a_signal_and_a_model_by_name(own, tmp_path, name):
    import ownpages

    before = zoo.sha(ownpages.model)
    model = isthmus.fit(name, X, out=tmp_path / "run", **QUICK)
    assert model.scaler.mode == "columns"
    assert zoo.sha(ownpages.model) == before
    assert zoo.sha(isthmus.load(tmp_path / "run")) == zoo.sha(model)
    with pytest.raises(IsthmusError, match="reads"):
        isthmus.fit(name, X[:, :4], **QUICK)


def test_nothing_is_imported_out_of_a_folder(own, tmp_path, monkeypatch):
    isthmus.fit("ownpages:mine", X, out=tmp_path / "run", **QUICK)
    (tmp_path / "run" / "ownpages.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(own)])
    monkeypatch.delitem(sys.modules, "ownpages")
    with pytest.raises(IsthmusError, match="run was fitted by the recipe ownpages:mine") as problem:
        isthmus.load(tmp_path / "run")
    assert "No module named 'ownpages'" in one_sentence(problem)
    with pytest.raises(IsthmusError, match="cannot be imported"):
        isthmus.resume(tmp_path / "run")


def test_a_local_function_is_loaded_by_what_is_passed(tmp_path):
    def inner(signal, *, latent_dim: int = 2):
        return local(signal, latent_dim=latent_dim)

    model = isthmus.fit(inner, X, latent_dim=3, out=tmp_path / "run", **QUICK)
    with pytest.raises(IsthmusError, match="inner, which is local") as problem:
        isthmus.load(tmp_path / "run")
    assert "recipe=" in one_sentence(problem)
    for again in (
        isthmus.load(tmp_path / "run", recipe=inner),
        isthmus.load(tmp_path / "run", linear(3)),
        isthmus.resume(tmp_path / "run", recipe=inner),
    ):
        assert again.scaler.mode == "columns"
        np.testing.assert_array_equal(again.encode(X), model.encode(X))


def test_a_model_passed_for_a_run_of_our_recipe_is_scaled_as_that_was(tmp_path):
    fitted = isthmus.fit("plain", X, latent_dim=2, hidden=(), out=tmp_path / "run", **QUICK)
    untrained = copy.deepcopy(fitted)
    untrained.scaler = Scaler((5,))
    loaded = isthmus.load(tmp_path / "run", untrained)
    assert loaded is untrained
    np.testing.assert_array_equal(loaded.encode(X), fitted.encode(X))


# --- scaling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "scaler", "asked", "mode"),
    [
        (X, None, "auto", "columns"),
        (UNIT, None, "auto", "none"),
        (UNIT, None, "columns", "columns"),
        (X, None, "none", "none"),
        (X, None, "global", "global"),
        (X, Scaler((5,), "none"), "auto", "none"),
        (X, Scaler((5,), "norm"), "auto", "norm"),
        (X, Scaler((5,), "norm"), "columns", "columns"),
    ],
)
def test_own_models_are_scaled_as_recipes_are(rows, scaler, asked, mode, tmp_path):
    model = linear(scaler=scaler)
    isthmus.fit(model, rows, scaling=asked, out=tmp_path / "run", **QUICK)
    assert model.scaler.mode == mode
    if mode == "columns":
        torch.testing.assert_close(model.scaler.offset, torch.tensor(rows.mean(0)))
    loaded = isthmus.load(tmp_path / "run", linear(scaler=copy.deepcopy(scaler)))
    np.testing.assert_array_equal(loaded.encode(rows), model.encode(rows))


def test_a_run_of_an_own_model_from_before_is_read_as_it_is(tmp_path):
    model = linear()
    isthmus.fit(model, X, scaling="none", out=tmp_path / "run", **QUICK)
    model.config = {**model.config, "options": {}}
    assert model.config.pop("scaling") == "none"
    isthmus.save(model, tmp_path / "older")
    loaded = isthmus.load(tmp_path / "older", linear())
    np.testing.assert_array_equal(loaded.encode(X), model.encode(X))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 3}, "unknown training option 'k'"),
        ({"scaling": "lines"}, "scaling='lines' is not allowed"),
        ({"scalin": "none"}, "did you mean 'scaling'"),
    ],
)
def test_bad_options_of_an_own_model(options, words):
    with pytest.raises(IsthmusError, match=words):
        isthmus.fit(linear(), X, **QUICK, **options)


# --- several at once -------------------------------------------------------------------------


def test_fit_many_takes_them_all_and_ends_with_the_same_bits(own, tmp_path):
    import ownpages

    given = seeded()
    models = isthmus.fit_many(
        [
            "ownpages:mine",
            (ownpages.mine, {"latent_dim": 3}),
            {"recipe": "plain", "latent_dim": 2, "hidden": ()},
            given,
        ],
        X,
        out=tmp_path / "runs",
        **QUICK,
    )
    assert list(models) == ["mine", "mine-latent_dim3", "plain", "Autoencoder"]
    assert models["Autoencoder"] is given
    alone = isthmus.fit(ownpages.mine, X, latent_dim=3, data_seed=0, **QUICK)
    assert zoo.sha(models["mine-latent_dim3"]) == zoo.sha(alone)
    assert zoo.sha(given) == zoo.sha(isthmus.fit(seeded(), X, data_seed=0, **QUICK))
    assert isthmus.load(tmp_path / "runs" / "mine").config["origin"]["name"] == "mine"
    again = isthmus.resume_many(
        tmp_path / "runs", progress=False, modules={"Autoencoder": {"model": seeded()}}
    )
    assert {n: zoo.sha(m) for n, m in again.items()} == {n: zoo.sha(m) for n, m in models.items()}


def test_fit_many_with_names_and_an_unfinished_own_model(tmp_path):
    def stopped(trainer, step):
        if step == 2:
            raise KeyboardInterrupt

    class Stop(isthmus.training.Callback):
        def on_step(self, trainer, step):
            stopped(trainer, step)

    variants = {"a": linear(), "b": local}
    start = copy.deepcopy(variants["a"])
    with pytest.raises(KeyboardInterrupt):
        isthmus.fit_many(variants, X, out=tmp_path / "runs", callbacks=[Stop()], **QUICK)
    own = {"a": {"model": copy.deepcopy(start)}, "b": {"recipe": local}}
    models = isthmus.resume_many(tmp_path / "runs", X, progress=False, modules=own)
    whole = isthmus.fit(copy.deepcopy(start), X, **QUICK)
    assert zoo.sha(models["a"]) == zoo.sha(whole)


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        (lambda m: [m, {"recipe": m, "lr": 0.1}], "share a module|would both be called"),
        (lambda m: {"a": m, "b": m}, "share a module"),
        (lambda m: m, "pass a list"),
        (lambda m: local, "pass a list"),
        (lambda m: [3], "the variant 3 is none"),
        (lambda m: [{"k": 3}], "names no recipe"),
    ],
)
def test_bad_variants(variants, words):
    with pytest.raises(IsthmusError, match=words) as problem:
        isthmus.fit_many(variants(linear()), X, **QUICK)
    one_sentence(problem)


# --- compare ---------------------------------------------------------------------------------

BUDGET = {"seeds": 2, "steps": 4, "batch_size": 16, "latents": 2, "width": 8}


def test_compare_takes_them_all(own):
    import ownpages

    model = linear()
    before = zoo.sha(model)
    found = isthmus.compare(
        X, ["plain", "ownpages:mine", ownpages.decorated, model], "reconstruct", **BUDGET,
        options={"mine": {"lr": 0.01}},
    )  # fmt: skip
    assert set(found.ranking) >= {"plain", "mine", "decorated", "Autoencoder", "pca"}
    assert zoo.sha(model) == before
    assert found.of("mine")[0].parameters == 5 * 2 + 2 + 2 * 5 + 5
    first, second = (run.measures["fvu"] for run in found.of("Autoencoder"))
    assert first != second


def test_a_model_is_refitted_from_its_untrained_state():
    model = seeded()
    both = isthmus.compare(X, {"own": model}, "reconstruct", **BUDGET)
    alone = isthmus.compare(X, {"own": model}, "reconstruct", **{**BUDGET, "seeds": 1})
    assert both.of("own")[0].measures == alone.of("own")[0].measures
    assert "untrained" in both.ranking


def test_a_model_of_another_shape_is_left_out_in_one_sentence():
    found = isthmus.compare(X[:, :4], ["plain", linear()], "reconstruct", **BUDGET)
    assert "pass rows that fit" in found.left_out["Autoencoder"]
    assert "plain" in found.ranking


def test_kept_fits_of_another_own_recipe_are_not_taken_for_its(tmp_path):
    one = isthmus.compare(X, {"own": seeded()}, "reconstruct", out=tmp_path, **BUDGET)
    same = isthmus.compare(X, {"own": seeded()}, "reconstruct", out=tmp_path, **BUDGET)
    assert [run.seconds for run in same.of("own")] == [run.seconds for run in one.of("own")]
    other = isthmus.compare(X, {"own": linear(1)}, "reconstruct", out=tmp_path, **BUDGET)
    assert other.of("own")[0].parameters != one.of("own")[0].parameters
    assert other.of("untrained")[0].parameters == other.of("own")[0].parameters
    assert [run.seconds for run in other.of("pca")] == [run.seconds for run in one.of("pca")]


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        (lambda: [linear(1), linear(2)], "two recipes are called 'Autoencoder'"),
        (lambda: {"pca": linear()}, "a baseline is called 'pca'"),
        (lambda: {"plain": linear()}, "a baseline is called 'plain'"),
        (lambda: [isthmus.fit(linear(), X, **QUICK)], "has been trained"),
        (lambda: [3], "a int is no recipe"),
        (lambda: ["plane"], "did you mean 'plain'"),
        (lambda: [], "no recipes to compare"),
    ],
)
def test_bad_comparisons(recipes, words):
    with pytest.raises(IsthmusError, match=words) as problem:
        isthmus.compare(X, recipes(), "reconstruct", **BUDGET)
    one_sentence(problem)


# --- scikit-learn ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["function", "name", "model"])
def test_the_estimator_takes_them_all(own, kind):
    import ownpages

    recipe = {"function": ownpages.mine, "name": "ownpages:mine", "model": linear()}[kind]
    estimator = AutoencoderTransformer(recipe, steps=4, batch_size=16)
    assert estimator.get_params()["recipe"] is recipe
    pipeline = make_pipeline(StandardScaler(), clone(estimator))
    codes = pipeline.fit_transform(X)
    assert codes.shape == (80, 2)
    np.testing.assert_array_equal(clone(pipeline).fit_transform(X), codes)
    if kind == "model":
        assert recipe.history == []
        again = AutoencoderTransformer(recipe, steps=4, batch_size=16)
        np.testing.assert_array_equal(again.fit_transform(X), again.fit_transform(X))
    name = "Autoencoder" if kind == "model" else "mine"
    assert list(pipeline[-1].get_feature_names_out()) == [f"{name}0", f"{name}1"]


# --- the command line ------------------------------------------------------------------------


def command(*words, cwd):
    """As the installed script does, whose own folder is first on the path."""
    script = cwd / "bin" / "isthmus"
    script.parent.mkdir(exist_ok=True)
    script.write_text("from isthmus.cli import main\nmain()\n")
    return subprocess.run(
        [sys.executable, str(script), *words], cwd=cwd, capture_output=True, text=True,
        env={"PYTHONPATH": SRC, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )  # fmt: skip


def test_the_command_line_finds_a_module_in_the_current_folder(tmp_path):
    (tmp_path / "ownpages.py").write_text(MODULE)
    # Last on the path: a file here hides no package.
    (tmp_path / "statistics.py").write_text("raise SystemExit('hidden')")
    np.save(tmp_path / "x.npy", X)
    options = ("latent_dim=2", "steps=3", "batch_size=16")
    done = command("fit", "ownpages:mine", "x.npy", *options, "-o", "run", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = command("show", "ownpages:mine", cwd=tmp_path)
    assert "Two linear maps." in done.stdout
    assert "no paper" in done.stdout
    (tmp_path / "ownpages.py").unlink()
    done = command("evaluate", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("isthmus: run was fitted by the recipe ownpages:mine, which ca")
    done = command("report", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cannot be imported" in (tmp_path / "run" / "report.html").read_text()


def spoken(*words, monkeypatch, capsys, folder):
    """The command line in this process: exit code, output and complaint."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["isthmus", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, *capsys.readouterr()


def test_every_command_reads_the_run_of_an_own_recipe(own, tmp_path, monkeypatch, capsys):
    isthmus.fit("ownpages:mine", X, out=tmp_path / "run", **QUICK)
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "many.toml").write_text(
        'steps = 3\nbatch_size = 16\n[variants.own]\nrecipe = "ownpages:mine"\nlatent_dim = 4\n'
        '[variants.ours]\nrecipe = "plain"\n'
    )
    tools = {"monkeypatch": monkeypatch, "capsys": capsys, "folder": tmp_path}
    for words, said in (
        (("evaluate", "run", "x.npy"), "mine on x.npy"),
        (("encode", "run", "x.npy", "-o", "codes.npz"), "z (80, 2)"),
        (("resume", "run", "x.npy"), "finished"),
        (("report", "run", "x.npy"), "open it in a browser"),
        (("fit-many", "many.toml", "x.npy", "-o", "runs", "-q"), "own"),
        (
            ("compare", "x.npy", "steps=3", "mine.lr=0.1", "--recipes", "ownpages:mine",
             "--seeds=1", "-q"),
            "mine",
        ),
    ):  # fmt: skip
        code, out, err = spoken(*words, **tools)
        assert (code, said in out) == (0, True), (words, out, err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "nowhere:mine"), "'nowhere:mine' cannot be imported"),
        (("fit", "json:loads", "x.npy", "-o", "run"), "loads: the option"),
        (("show", "plain.mine"), "is written 'plain:mine'"),
        (("fit", "json:nothing", "x.npy", "-o", "run"), "the module 'json' has no 'nothing'"),
        (("compare", "x.npy", "--recipes", "plain,nowhere:mine"), "cannot be imported"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, words, said, monkeypatch, capsys):
    np.save(tmp_path / "x.npy", X)
    code, _, text = spoken(*words, monkeypatch=monkeypatch, capsys=capsys, folder=tmp_path)
    assert said in text
    assert (code, text.count("\n")) == (2, 1)
