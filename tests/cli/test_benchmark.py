"""The command: what is printed and written, and what is refused in one sentence."""

import csv
import io

import numpy as np
import pytest
from rich.console import Console

import isthmus
from dictionary_benchmark.planted_host import LETTERS, POINT, host, letters_of
from isthmus.cli.benchmark import run
from isthmus.errors import IsthmusError

HOST = "dictionary_benchmark.planted_host:host"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run of a dictionary, a table of texts and running text."""
    folder = tmp_path_factory.mktemp("benchmark")
    rng = np.random.default_rng(0)
    X = host().module.embed.weight[rng.integers(1, 28, 400)].numpy()
    isthmus.fit(
        "topk", X, latent_dim=40, k=2, steps=20, batch_size=64, out=folder / "run", progress=False
    )
    texts, labels = letters_of({"a": "a", "b": "b"}, each=20)
    rows = "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
    (folder / "own.csv").write_text("words,kind\n" + rows)
    (folder / "running.txt").write_text("".join(rng.choice(list(LETTERS), 200)))
    return folder


def asked(place, tasks="core,sparse-probing", **more):
    options = {
        "host": HOST, "at": POINT, "tasks": tasks, "seeds": 1, "data": place / "own.csv",
        "text_column": "words", "labels": "kind", "text": str(place / "running.txt"),
        "tokens": 150, "progress": False,
    }  # fmt: skip
    return run([str(place / "run")], place / "out", **{**options, **more})


def test_it_prints_a_table_and_writes_page_picture_and_figures(place):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(asked(place))
    text = console.export_text()
    assert "Sparse probing: accuracy 1 ↑" in text
    for name in ("run", "random", "pca", "neurons"):
        assert name in text
    page = (place / "out" / "index.html").read_text()
    assert "Content-Security-Policy" in page
    assert "(control)" in page
    assert (place / "out" / "picture.svg").read_text().startswith("<svg")
    rows = list(csv.DictReader(io.StringIO((place / "out" / "results.csv").read_text())))
    assert {row["dictionary"] for row in rows} == {"run", "random", "pca", "neurons"}
    assert {row["task"] for row in rows} == {"core", "sparse_probing"}


def test_what_the_host_does_not_know_is_said(place):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(asked(place, "core,absorption", controls=False))
    text = console.export_text()
    assert "not measurable on this host" in text
    assert "absorption" in text
    with pytest.raises(IsthmusError, match="nothing could be measured: not measurable on this"):
        asked(place, "absorption", controls=False)


@pytest.mark.parametrize("name", ["config.json", "index.html"])
def test_what_is_no_folder_of_results_is_left_alone(place, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(IsthmusError, match="holds something else than results"):
        run([str(place / "run")], tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tasks": "cores"}, "did you mean 'core'"),
        ({"at": None}, "--at"),
        ({"labels": "kinds"}, "did you mean 'kind'"),
        ({"at": "layers.9"}, "layers.9"),
        ({"data": "nowhere.csv"}, "there is no file"),
        ({"text": "nowhere.txt", "tasks": "core"}, "there is no file"),
    ],
)
def test_bad_input_is_one_sentence(place, wrong, sentence):
    with pytest.raises(IsthmusError, match=sentence):
        asked(place, **wrong)
    with pytest.raises(IsthmusError, match="is a file"):
        run(["x"], place / "own.csv")
    with pytest.raises(IsthmusError):
        run([str(place / "nothing")], place / "out")
