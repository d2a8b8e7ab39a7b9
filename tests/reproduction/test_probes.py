"""What puts results out of date, and what does not."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from claims_made import a_claim, figures

from isthmus.reproduction import probes
from isthmus.reproduction.probes import page_hash, probe, status
from isthmus.studies import Primary, get_claim, less, value
from isthmus.studies.benches import planted
from isthmus.training.lars import LARS

PAGE = '@experiment("a", statement="{}", seeds={})\ndef f(trial):\n    {}return 1\n'


def hashes(tmp_path, *texts):
    found = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        found.append(page_hash(path))
    return found


def test_texts_comments_and_docstrings_of_a_page_do_not_count_but_its_rules_do(tmp_path):
    first, text, comment, rule = hashes(
        tmp_path, PAGE.format("P", 5, ""), PAGE.format("Q", 5, ""),
        PAGE.format("P", 5, '"""D."""\n    # why\n    '), PAGE.format("P", 6, ""),
    )  # fmt: skip
    assert first == text == comment
    assert first != rule


@pytest.fixture
def correlated_rows():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((128, 3)) @ rng.standard_normal((3, 8))
    return (rows + 0.1 * rng.standard_normal((128, 8))).astype(np.float32)


def test_a_page_counts_with_the_bench_that_it_imports(monkeypatch, tmp_path):
    page = get_claim("abstopk").file
    before = page_hash(page)
    assert before == page_hash(page)
    bench = Path(planted.__file__)
    own = {bench: (bench.read_text().replace("ROWS, HELD = 1 << 17", "ROWS, HELD = 1 << 16"))}
    assert own[bench] != bench.read_text()
    changed = tmp_path / "planted.py"
    changed.write_text(own[bench])
    real = probes._room
    monkeypatch.setattr(
        probes, "_room", lambda name: [changed if p == bench else p for p in real(name)]
    )
    probes._syntax.cache_clear()
    assert page_hash(page) != before
    probes._syntax.cache_clear()


def test_a_probe_runs_on_one_thread_whoever_asks():
    seen = []
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        probe(a_claim(lambda trial: (seen.append(torch.get_num_threads()), figures())[1]))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def fits(correlated_rows):
    """A claim of two arms, one trained by Adam and one by LARS."""

    def experiment(trial):
        found = {}
        for arm in ("adam", "lars"):
            model = trial.fit(
                "plain", correlated_rows, latent_dim=2, hidden=8, steps=500, batch_size=32,
                optimiser=arm, lr=1e-2,
            )  # fmt: skip
            z = model.encode(correlated_rows)
            found[arm] = {"size": float((z**2).mean()), "seconds": float(probe_count())}
        return found

    counted = []

    def probe_count():
        counted.append(0)
        return len(counted)

    size = [value("size", arm) for arm in ("adam", "lars")]
    main = Primary(size[0], above=0.0, positive=size[1], negative=less("size", "adam", "lars"))
    arms = {"adam": "Adam", "lars": "LARS"}
    return a_claim(experiment, arms=arms, primary=main, timed=("seconds",))


def test_the_same_code_gives_the_same_probe(fits):
    first = probe(fits)
    assert first == probe(fits)
    assert probes.Probe.from_dict(first.to_dict()) == first
    assert status(first, probe(fits)) == "current"


def test_a_changed_constant_puts_the_arms_that_use_it_out_of_date(fits, monkeypatch):
    before = probe(fits)
    lr, decay, _, eta = LARS.__init__.__defaults__
    monkeypatch.setattr(LARS.__init__, "__defaults__", (lr, decay, 0.5, eta))
    after = probe(fits)
    assert status(before, after) == "out of date"
    changed = {arm for arm in before.arms if before.arms[arm] != after.arms[arm]}
    assert changed == {"lars"}


def test_other_machines_are_not_compared(fits, monkeypatch):
    before = probe(fits)
    monkeypatch.setattr(probes, "machine", lambda: "another")
    assert status(before, probe(fits)) == "other machine"


def test_the_progress_bar_changes_nothing(fits, monkeypatch):
    before = probe(fits)
    bar = sys.modules["isthmus.training.progress"]
    monkeypatch.setattr(bar, "__doc__", "Another text.")
    assert status(before, probe(fits)) == "current"
