"""The commands `reproduce` and `compare` as a user meets them."""

import json

import numpy as np
import pytest

from commands import run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table of two clusters."""
    folder = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(0)
    lines = ["a,b,c,kind"]
    for i in range(60):
        a, b, c = rng.normal(4.0 * (i % 2), 1.0, 3)
        lines.append(f"{a:.4f},{b:.4f},{c:.4f},{'xy'[i % 2]}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_compare_writes_a_page_and_tables(place):
    words = ("compare", "t.csv", "steps=5", "plain.hidden=8", "--recipes", "plain", "--task",
             "cluster", "--labels", "kind", "--seeds", "2", "-o", "out")  # fmt: skip
    text = run(*words, cwd=place)
    assert "plain-gmm" in text
    assert "out/index.html" in text
    assert (place / "out" / "index.html").read_text().startswith("<!doctype html>")
    assert (place / "out" / "results.csv").read_text().startswith("method,baseline,seed,measure")
    assert run(*words, cwd=place) == text


def test_compare_answers_mistakes_in_one_sentence(place):
    base = ("compare", "t.csv", "--recipes", "plain")
    assert "did you mean 'steps'" in run(*base, "stps=3", cwd=place, code=2)
    assert "unknown task" in run(*base, "--task", "sing", cwd=place, code=2)
    assert "needs labels" in run(*base, "--task", "anomaly", cwd=place, code=2)
    assert "did you mean 'kind'" in run(
        *base, "--task", "probe", "--labels", "knd", cwd=place, code=2
    )
    assert not (place / "comparison").exists()


def test_reproduce_lists_runs_and_keeps(place):
    assert "not run" in run("reproduce", cwd=place)
    text = run("reproduce", "topk", "--budget", "0.004", "--seeds", "1", "-o", "kept", cwd=place)
    assert "Positive control" in text
    kept = json.loads((place / "kept" / "topk@0.004.json").read_text())
    assert kept["word"] == "not resolved"
    assert kept["reasons"][0] == "1 of 5 seeds"
    assert "did you mean 'topk'" in run("reproduce", "topkk", cwd=place, code=2)
    assert "unknown family" in run("reproduce", "--family", "spars", cwd=place, code=2)
