"""Three workers, one killed by SIGKILL: each task once but for the one that was taken over."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from claims_made import a_claim, figures

from commands import run
from isthmus import notices
from isthmus.cli.work import opened
from isthmus.comparison import compare, shared_fits
from isthmus.errors import IsthmusError
from isthmus.reproduction import reproduce, runner, shared_trials
from isthmus.reproduction.probes import Probe, machine
from isthmus.training.lock import myself
from isthmus.workers import (
    Results,
    read_assignment,
    run_through,
    start_here,
    take,
    worker_processes,
)
from isthmus.workers.assignment import Assignment, assigned
from isthmus.workers.worker_processes import submit

BUDGET = {"seeds": 1, "steps": 2, "batch_size": 16, "latents": 2, "width": 8}
SHARE = Path(__file__).parent / "share.py"
EDITS: list[dict] = [{"settings": 7}, {"settings": {}}, {"threads": 0}, {"threads": "two"}]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize(("kind", "tasks"), [("compare", 12), ("reproduce", 10)])
def test_three_workers_one_killed(tmp_path, kind, tasks):
    done = subprocess.run(
        [sys.executable, str(SHARE), str(tmp_path), kind], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["killed"]
    assert found["tasks"] == tasks  # fits by seed and method; 3 rates, 2 budgets, 5 seeds
    assert found["twice"] == 1
    assert found["taken over"]
    assert found["workers"] == 3
    assert found["same"]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5))).astype("f4")
    np.save(tmp_path / "x.npy", rows)
    return str(tmp_path / "x.npy")


def asked(**changes):
    nothing = ("minutes", "clusters", "kind", "axis", "size", "mode", "prepare", "labels",
               "options")  # fmt: skip
    return {**dict.fromkeys(nothing), **BUDGET, **changes}


def untimed(folder):
    plain = json.loads((folder / "results.json").read_text())
    return {**plain, "runs": [{**run, "seconds": 0} for run in plain["runs"]]}


def test_a_worker_finds_what_one_process_finds(data, tmp_path):
    compare(data, ["plain"], "reconstruct", out=tmp_path / "one", **BUDGET)
    folder = tmp_path / "many"
    shared_fits.prepare(folder, data, ["plain"], "reconstruct", asked())
    job = shared_fits.SharedFits(folder, read_assignment(folder))
    # One fit is with a process that died, one with a process that is at it elsewhere.
    held = take(folder / "leases", "seed-0_pca")
    (folder / "leases" / "seed-0_plain.json").write_text(json.dumps({**myself(), "pid": 2**22}))
    assert "seed-0_pca" in job.ready()
    done = []

    def report(task, number, total):
        done.append(task)
        if number == total - 1 and held.path.exists():  # whoever is at it elsewhere ends
            held.release()

    assert run_through(folder, job, poll=0.01, report=report) == 4
    assert sorted(done) == ["page", "seed-0_pca", "seed-0_plain", "seed-0_untrained"]
    assert untimed(folder) == untimed(tmp_path / "one")
    assert (folder / "index.html").exists()
    assert not list((folder / "leases").glob("*.json"))
    shared_fits.prepare(folder, data, ["plain"], "reconstruct", asked())  # nothing is left to do
    again = shared_fits.SharedFits(folder, read_assignment(folder))
    assert again.ready() == ["page"]


def test_claims_by_a_worker_are_those_of_one_process(tmp_path, monkeypatch):
    ran = []

    def experiment(trial):
        ran.append((trial.seed, trial.budget))
        return figures(method=2.0 + 0.01 * trial.seed)

    claim = a_claim(experiment, file=runner.ROOM / "made.py")
    probes = [Probe("page", machine(), "weights", {"method": "a"})]
    for module in (runner, shared_trials):
        monkeypatch.setattr(module, "get_claim", lambda name: claim)
    monkeypatch.setattr(runner, "probe", lambda claim: probes[-1])
    reproduce("made", folder=tmp_path / "one", seeds=2, jobs=1)
    first, folder = sorted(ran), tmp_path / "many"

    def worked():
        ran.clear()
        shared_trials.prepare(folder, ["made"], 2, 1.0, False, False)
        job = shared_trials.SharedTrials(folder, read_assignment(folder).settings)
        run_through(folder, job, poll=0.01)
        return sorted(ran)

    assert worked() == first

    def plain(name):
        stored = json.loads((tmp_path / name / "made.json").read_text())
        for kind in ("trials", "tuning_trials", "curve_trials"):
            stored[kind] = [{**one, "seconds": 0} for one in stored[kind]]
        return {**stored, "minutes": 0}

    assert plain("many") == plain("one")
    assert worked() == []  # all is there, and current
    probes.append(Probe("page", machine(), "others", {"method": "b"}))
    assert worked() == first  # the code is another


def test_a_trial_that_ends_early_is_kept_as_a_sentence_and_tried_again(tmp_path, monkeypatch):
    fails = [True]

    def experiment(trial):
        if fails[0] and trial.seed == 11:
            raise IsthmusError("no rows")
        return figures()

    claim = a_claim(experiment, file=runner.ROOM / "made.py")
    for module in (runner, shared_trials):
        monkeypatch.setattr(module, "get_claim", lambda name: claim)
    probe = Probe("page", machine(), "weights", {"method": "a"})
    monkeypatch.setattr(runner, "probe", lambda claim: probe)
    for expected in (["no rows"], []):
        shared_trials.prepare(tmp_path, ["made"], 2, 1.0, False, False)
        work = read_assignment(tmp_path)
        run_through(tmp_path, shared_trials.SharedTrials(tmp_path, work.settings), poll=0.01)
        stored = Results(tmp_path)
        results = [stored.get(name) for name in stored.names()]
        assert [one["problem"] for one in results if "problem" in one] == expected
        fails[0] = False
    assert len(json.loads((tmp_path / "made.json").read_text())["trials"]) == 2


class Held:
    """Work of two tasks, of which one is held by another process until it is let go."""

    def __init__(self, folder):
        self.results = Results(folder)

    def ready(self):
        return [name for name in ("a", "b") if not self.has(name)]

    @property
    def ended(self):
        return not self.ready()

    @property
    def progress(self):
        return 0, 2

    def has(self, task):
        return self.results.get(task) is not None

    def run(self, task):
        return {}


def test_who_is_waited_for_is_said_once(tmp_path):
    lease = take(tmp_path / "leases", "a")
    let_go = threading.Timer(0.5, lease.release)
    let_go.start()
    with notices.collected(quiet=True) as said:
        assert run_through(tmp_path, Held(tmp_path), poll=0.01) == 2
    let_go.join()
    (sentence,) = said
    assert f"waits for others at work in {tmp_path} (process {os.getpid()} on " in sentence
    assert "silent for 600 seconds" in sentence


def test_what_cannot_be_shared_is_one_sentence(data, tmp_path, monkeypatch):
    with pytest.raises(IsthmusError, match="holds no work"):
        read_assignment(tmp_path)
    with pytest.raises(IsthmusError, match="the data are of type ndarray"):
        shared_fits.prepare(tmp_path / "a", np.load(data), ["plain"], "reconstruct", asked())
    shared_fits.prepare(tmp_path / "a", data, ["plain"], "reconstruct", asked())
    with take(tmp_path / "a" / "leases", "other"), pytest.raises(IsthmusError, match="at other"):
        assigned(tmp_path / "a", Assignment("compare"))
    np.save(data, np.load(data) + 1)
    with pytest.raises(IsthmusError, match="is not here what it was"):
        shared_fits.SharedFits(tmp_path / "a", read_assignment(tmp_path / "a"))
    plain = json.loads((tmp_path / "a" / "work.json").read_text())
    for content in ("{", "[]", *(json.dumps({**plain, **edit}) for edit in EDITS)):
        (tmp_path / "a" / "work.json").write_text(content)
        with pytest.raises(IsthmusError, match=r"is damaged .*: delete it and prepare the work"):
            opened(tmp_path / "a", read_assignment(tmp_path / "a"))
    (tmp_path / "a" / "work.json").write_text('{"format": 99}')
    with pytest.raises(IsthmusError, match="written by a newer version"):
        read_assignment(tmp_path / "a")
    with pytest.raises(IsthmusError, match="holds no work"):
        read_assignment(Path(data))
    monkeypatch.setattr(shared_trials, "get_claim", lambda name: a_claim())
    with pytest.raises(IsthmusError, match="other processes do not look"):
        shared_trials.prepare(tmp_path / "b", ["made"], None, 1.0, False, False)


@pytest.mark.slow
def test_jobs_are_workers_on_this_machine(data, tmp_path):
    words = ("compare", "x.npy", "--recipes", "plain", "--seeds", "1", "steps=2", "batch_size=16",
             "latents=2", "width=8", "-q")  # fmt: skip
    run(*words, "-o", "one", cwd=tmp_path)
    said = run(*words, "--jobs", "2", "-o", "many", cwd=tmp_path)
    assert "written to" in said
    assert untimed(tmp_path / "many") == untimed(tmp_path / "one")
    run(*words, "--prepare", "-o", "later", cwd=tmp_path)
    assert "all work in later is done, 4" in run("work", "later", "-q", cwd=tmp_path)
    assert untimed(tmp_path / "later") == untimed(tmp_path / "one")
    np.save(data, np.load(data) + 1)
    run(*words, "--prepare", "-o", "changed", cwd=tmp_path)
    np.save(data, np.load(data) + 1)
    with pytest.raises(IsthmusError, match=r"all 2 processes ended early: .*is not here what it"):
        start_here(tmp_path / "changed", 2)


def test_a_worker_may_say_a_great_deal(tmp_path, monkeypatch):
    says = "import sys; sys.stderr.write('x' * 300_000); sys.exit('isthmus: the end')"
    monkeypatch.setattr(worker_processes, "command", lambda *_, **__: [sys.executable, "-c", says])
    with pytest.raises(IsthmusError, match=r"all 1 processes ended early: .*the end"):
        start_here(tmp_path, 1)


@pytest.mark.slow
def test_a_cluster_is_asked_by_submitit(data, tmp_path):
    pytest.importorskip("submitit")
    folder = tmp_path / "many"
    shared_fits.prepare(folder, data, ["plain"], "reconstruct", asked())
    for job in submit(folder, 2, {"timeout_min": 5}, cluster="local"):
        job.result()
    assert (folder / "index.html").exists()
    with pytest.raises(IsthmusError, match="does not take these options"):
        submit(folder, 1, {"no_such_option": 1}, cluster="local")
