"""``isthmus fit`` and what goes on with its run: evaluate, encode, resume."""

import json

import numpy as np
import pytest

from commands import run


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a small table and a fitted model of it."""
    place = tmp_path_factory.mktemp("cli")
    x = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    np.savetxt(place / "x.csv", x, delimiter=",", header="a,b,c,d", comments="")
    np.save(place / "x.npy", x)
    run("fit", "topk", "x.csv", "latent_dim=8", "k=2", "steps=20", "-o", "run", cwd=place)
    return place


def test_fit_evaluate_encode(workplace):
    text = run("evaluate", "run", "--json", "results.json", cwd=workplace)
    assert "fvu" in text
    assert "x.csv" in text
    assert json.loads((workplace / "results.json").read_text())["l0"]["value"] <= 2
    run("encode", "run", "x.npy", "-o", "codes.npz", cwd=workplace)
    with np.load(workplace / "codes.npz") as codes:
        assert codes["values"].shape == codes["indices"].shape == (80, 2)
    run("resume", "run", cwd=workplace)


def test_a_toml_file_says_the_same(workplace):
    (workplace / "run.toml").write_text(
        'recipe = "topk"\ndata = "x.csv"\noutput = "toml-run"\n'
        "[options]\nlatent_dim = 8\nk = 2\nsteps = 20\n"
    )
    run("fit", "run.toml", cwd=workplace)
    weights = [(workplace / d / "model.safetensors").read_bytes() for d in ("run", "toml-run")]
    assert weights[0] == weights[1]
    run("fit", "run.toml", "k=3", "-o", "other", cwd=workplace)
    config = json.loads((workplace / "other" / "config.json").read_text())
    assert config["options"]["k"] == 3


def test_mistakes_are_one_sentence_with_exit_code_2(workplace):
    (workplace / "stray.csv").write_text("a,b\n" + "1,2\n" * 7 + "1,n.a.\n" + "3,4\n" * 40)
    (workplace / "words.csv").write_text("a\n" + "".join(f"word {i}\n" for i in range(80)))
    (workplace / "cut.npy").write_bytes((workplace / "x.npy").read_bytes()[:200])
    (workplace / "three.toml").write_text("recipe = 'vae'\noptions = 3\n")
    (workplace / "bad.toml").write_text("recipe = \n")
    cases = [
        (["fit", "tpok", "x.csv", "-o", "o"], "did you mean 'topk'"),
        (["fit", "topk", "x.csv", "latentdim=3", "-o", "o"], "did you mean 'latent_dim'"),
        (["fit", "topk", "x.csv", "k", "-o", "o"], "NAME=VALUE"),
        (["fit", "topk", "x.csv", "k=many", "-o", "o"], "k='many' is not allowed"),
        (["fit", "topk", "x.csv"], "add -o DIR"),
        (["fit", "topk", "missing.csv", "-o", "o"], "missing.csv"),
        (["fit", "topk", "stray.csv", "-o", "o"], "row 7 of 'stray.csv' holds 'n.a.'"),
        (["fit", "topk", "words.csv", "-o", "o"], "no usable column"),
        (["fit", "topk", "cut.npy", "-o", "o"], "cut.npy"),
        (["fit", "bad.toml"], "TOML"),
        (["fit", "three.toml"], "options of three.toml are no table"),
        (["fit", "topk", "x.csv", "-o", "run"], "already holds a run"),
        (["evaluate", "nowhere"], "there is no run"),
        (["encode", "run", "x.npy", "-o", "codes.txt"], ".npz"),
        (["fit", "topk", "x.csv", "start=", "-o", "o"], "start is empty: name the run's folder"),
        (["decode", "run", "x.npy", "-o", "back.csv"], "'x.npy' holds no codes that can be read"),
        (["show", "topkk"], "did you mean 'topk'"),
        (["recipes", "zzzz"], "zzzz"),
    ]
    for words, expected in cases:
        error = run(*words, cwd=workplace, code=2).strip()
        assert expected in error, error
        assert len(error.splitlines()) == 1, error
    assert not (workplace / "o").exists()
