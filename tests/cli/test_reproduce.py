"""The commands `reproduce` and `compare` as a user meets them."""

import json

import numpy as np
import pytest
from claims_made import a_claim, seeds

from commands import run
from isthmus.cli.reproduce import listed, out
from isthmus.reproduction import results
from isthmus.reproduction.probes import Probe, page_hash
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.studies import claims


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


def test_the_list_has_a_line_a_claim(place):
    head, *lines = run("reproduce", cwd=place).splitlines()
    assert head.split() == ["claim", "word", "family:", "statement"]
    assert [line.split()[0] for line in lines] == [*claims()]
    for line, claim in zip(lines, claims().values(), strict=True):
        assert f"not run  {claim.family}: {claim.statement[:5]}" in line
        assert len(line.rstrip()) <= 80


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A folder with results of two of three claims, of which one is out of date."""
    made = [a_claim(name=name, statement="It is large. " * 20) for name in ("new", "old", "none")]
    for claim in made[:2]:
        page = page_hash(claim.file) if claim.name == "new" else "another"
        trials = [TrialResult(11 + i, 1.0, 75.0, f) for i, f in enumerate(seeds([1.0, 1.1]))]
        probe = Probe(page, "here", "weights", {})
        results.write(Outcome(claim, 1.0, probe, trials=trials), tmp_path)
    monkeypatch.setattr("isthmus.studies.claims", lambda: {one.name: one for one in made})
    return tmp_path


@pytest.mark.parametrize("width", [60, 100])
def test_the_list_has_words_seeds_and_minutes_and_ends_with_the_terminal(ran, monkeypatch, width):
    monkeypatch.setattr(out, "width", width)
    with out.capture() as captured:
        out.print(listed(ran))
    head, *lines = captured.get().splitlines()
    lines, below = lines[:3], " ".join(lines[3:])
    assert head.split() == ["claim", "word", "seeds", "min", "family:", "statement"]
    starts = "made: It is large. It is"
    assert " ".join(lines[0].split()).startswith(f"new not resolved 2 2.5 {starts[:18]}")
    assert " ".join(lines[1].split()).startswith(f"old not resolved* 2 2.5 {starts[:18]}")
    assert " ".join(lines[2].split()).startswith(f"none not run {starts}")
    assert all(line.endswith("…") and len(line) == width for line in map(str.rstrip, lines))
    assert below.startswith("* out of date")


def test_results_that_cannot_be_read_are_said_in_their_line(ran):
    (ran / "new.json").write_text("{")
    with out.capture() as captured:
        out.print(listed(ran))
    assert captured.get().splitlines()[1].startswith("new    unreadable")
