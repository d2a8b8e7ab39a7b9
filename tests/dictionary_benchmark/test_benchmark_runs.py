"""The whole: what is kept, what is the same for all, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.dictionary_benchmark import (
    BenchmarkSettings,
    UserData,
    benchmark,
    benchmark_runs,
    label_scores,
)
from isthmus.dictionary_benchmark.control_dictionaries import components, random_dictionary
from isthmus.errors import IsthmusError, MissingExtra
from isthmus.recipes import get_recipe

from .planted_host import (
    LETTERS,
    POINT,
    WIDTH,
    dictionary,
    host,
    letters_of,
    random_atoms,
    true_atoms,
)


@pytest.fixture
def files(tmp_path):
    texts, labels = letters_of({"a": "a", "b": "b", "c": "c"})
    rows = "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
    (tmp_path / "own.csv").write_text("text,label\n" + rows)
    rng = np.random.default_rng(5)
    (tmp_path / "running.txt").write_text("".join(rng.choice(list(LETTERS), 400)))
    return tmp_path


def measured(files, tasks=("core", "sparse_probing"), **more):
    model = host()
    named = {"true": dictionary(true_atoms(model)), "chance": dictionary(random_atoms())}
    options = {
        "host": model, "at": POINT, "seeds": 2, "out": files / "out", "progress": False,
        "data": UserData(files / "own.csv"),
        "settings": BenchmarkSettings(tokens=300, text=str(files / "running.txt")),
    }  # fmt: skip
    return benchmark(named, tasks, **{**options, **more})


def test_dictionaries_stand_before_controls_and_the_true_one_wins(files):
    found = measured(files, seeds=1)
    assert [row.name for row in found.rows] == ["true", "chance", "random", "pca", "neurons"]
    assert [bool(row.control) for row in found.rows] == [False, False, True, True, True]
    probing = found.tasks[1]
    scores = {row.name: found.figure(probing, "accuracy_1", row.name).value for row in found.rows}
    assert scores["true"] == 1.0 == max(scores.values())
    assert scores["chance"] < 0.95
    core = {row.name: found.figure(found.tasks[0], "fvu", row.name).value for row in found.rows}
    assert core["pca"] == pytest.approx(0.0, abs=1e-6)
    assert core["neurons"] == pytest.approx(0.0, abs=1e-6)
    assert not (files / "out" / "activations").exists()


def test_what_is_kept_is_not_measured_again_and_a_damaged_file_is(files, monkeypatch):
    first = measured(files, ["core"])
    asked = []
    whole = benchmark_runs.tasks_named(["core"])[0].run

    class Counted(type(benchmark_runs.tasks_named(["core"])[0])):
        def run(self, *arguments):
            asked.append(arguments[0].name)
            return whole(*arguments)

    monkeypatch.setattr(benchmark_runs, "tasks_named", lambda names: [Counted()])
    second = measured(files, ["core"])
    assert not asked
    assert [run.figures for run in second.runs] == [run.figures for run in first.runs]
    broken = next(Path(files / "out" / "results" / "core").glob("true-*-1.json"))
    broken.write_text(broken.read_text()[:40])
    third = measured(files, ["core"])
    assert asked == ["true"]
    assert [run.figures for run in third.runs] == [run.figures for run in first.runs]


def test_other_weights_are_measured_anew(files):
    first = measured(files, ["core"], with_controls=False)
    model = host()
    second = benchmark(
        {"true": dictionary(random_atoms(seed=9))}, ["core"], host=model, at=POINT, seeds=2,
        out=files / "out", progress=False, data=UserData(files / "own.csv"),
        settings=BenchmarkSettings(tokens=300, text=str(files / "running.txt")),
        with_controls=False,
    )  # fmt: skip
    a, b = (x.figure(x.tasks[0], "fvu", "true").value for x in (first, second))
    assert a < 1e-6 < b
    kept = list((files / "out" / "results" / "core").glob("true-*-0.json"))
    assert len(kept) == 2
    assert "key" in json.loads(kept[0].read_text())


def test_another_running_text_is_measured_anew(files):
    first = measured(files, ["core"], seeds=1, with_controls=False)
    (files / "running.txt").write_text("abc" * 100)
    second = measured(files, ["core"], seeds=1, with_controls=False)
    a, b = (x.figure(x.tasks[0], "dead_share", "true").value for x in (first, second))
    assert a < b


def test_what_needs_a_package_is_said_and_not_kept(files, monkeypatch):
    def lacking(*arguments, **options):
        raise MissingExtra("pyarrow", "features", "writing features")

    monkeypatch.setattr(label_scores, "text_features", lacking)
    found = measured(files, ["autointerp"], seeds=1, with_controls=False)
    assert found.reason("autointerp", "true").startswith("not measured: writing features needs")
    assert not list((files / "out").rglob("*.json"))


def test_the_result_does_not_depend_on_the_company(files):
    together = measured(files, ["sparse_probing"], seeds=1, with_controls=False)
    alone = measured(files, ["sparse_probing"], seeds=1, out=files / "other")
    for one in together.runs:
        (same,) = [run for run in alone.of(one.task, one.dictionary) if run.seed == one.seed]
        assert same.figures == one.figures


def test_components_and_the_random_dictionary_are_what_they_are_called():
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32) @ np.diag(
        np.arange(1.0, 7.0, dtype=np.float32)
    )
    pca = components(x)
    codes = np.asarray(pca.encode(x))
    np.testing.assert_allclose(np.asarray(pca.reconstruct(x)), x, atol=1e-4)
    assert (np.diff(codes.var(0)) <= 0).all()
    np.testing.assert_allclose(np.corrcoef(codes.T), np.eye(6), atol=1e-4)
    one = random_dictionary(x, 20, 3)
    assert one.atoms().shape == (20, 6)
    assert ((np.asarray(one.encode(x)) != 0).sum(1) <= 3).all()


def test_a_run_knows_its_host_and_point(tmp_path):
    isthmus.fit(
        "topk", "lm:resident@layers.1?text=samples:4&tokens=200", latent_dim=16, k=2, steps=2,
        batch_size=32, out=tmp_path / "run", progress=False,
    )  # fmt: skip
    settings = BenchmarkSettings(tokens=60, text="samples:4", texts=12)
    found = benchmark([tmp_path / "run"], ["core"], seeds=1, settings=settings, progress=False)
    assert (found.host, found.rows[0].point) == ("resident", "layers.1")
    assert found.figure(found.tasks[0], "l0", "run").value == pytest.approx(2.0, abs=0.5)


def test_what_cannot_be_compared_is_one_sentence(files, tmp_path):
    with pytest.raises(IsthmusError, match="unknown task of the benchmark 'cor': did you mean"):
        measured(files, ["cor"])
    with pytest.raises(IsthmusError, match="pass a whole number from 1"):
        measured(files, seeds=0)
    with pytest.raises(IsthmusError, match="name them with --host and --at"):
        measured(files, host=None, at=None)
    with pytest.raises(IsthmusError, match="unknown column"):
        measured(files, data=UserData(files / "own.csv", "txt"))
    with pytest.raises(IsthmusError, match="no dictionary was named"):
        benchmark([], ["core"], host=host(), at=POINT)
    wide = dictionary(np.eye(WIDTH + 1))
    with pytest.raises(IsthmusError, match="33"):
        benchmark({"wide": wide}, ["core"], host=host(), at=POINT, progress=False)
    page = get_recipe("vae")
    signal = isthmus.Signal("vector", (WIDTH,))
    vae = page.build(signal, page.parse({"latent_dim": 4})[0])
    with pytest.raises(IsthmusError, match="no dictionary"):
        benchmark({"vae": vae}, ["core"], host=host(), at=POINT, progress=False)
