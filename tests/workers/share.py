"""Three processes share work, and one is killed: ``share.py FOLDER compare|reproduce``.

Prints a JSON object: how often each task was begun, by whom, whether one was killed in the middle
of one, and whether what was found is what one process finds. Each is forked from this one, so that
nothing is imported again.
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "studies")]

from claims_made import a_claim, figures  # noqa: E402

from isthmus.comparison import compare, shared_fits  # noqa: E402
from isthmus.comparison.runner import Fitter  # noqa: E402
from isthmus.reproduction import reproduce, runner, shared_trials  # noqa: E402
from isthmus.reproduction.probes import Probe, machine  # noqa: E402
from isthmus.studies import Tuning  # noqa: E402
from isthmus.workers import read_assignment, run_through  # noqa: E402

PAUSE = 0.15
"""Seconds that a task lasts at least, so that one can be killed in it."""


def noting(log, what):
    with log.open("a") as file:
        file.write(f"{os.getpid()} {what}\n")
    time.sleep(PAUSE)


def share(folder, log, open_job):
    """Three processes; the first is killed in its second task."""
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                run_through(folder, open_job(), poll=0.02)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    victim, killed = None, False
    while victim is None:
        time.sleep(0.01)
        lines = log.read_text().split("\n") if log.exists() else []
        pids = [int(line.split()[0]) for line in lines if line]
        victim = next((pid for pid in pids if pids.count(pid) == 2), None)
    os.kill(victim, signal.SIGKILL)
    for child in children:
        _, status = os.waitpid(child, 0)
        killed |= child == victim and os.WIFSIGNALED(status)
        if child != victim and os.waitstatus_to_exitcode(status):
            sys.exit("a worker failed")
    begun = {}
    for line in log.read_text().splitlines():
        pid, what = line.split(" ", 1)
        begun.setdefault(what, []).append(int(pid))
    twice = [pids for pids in begun.values() if len(pids) > 1]
    return {
        "killed": killed, "tasks": len(begun), "twice": len(twice),
        "taken over": all(len(pids) == 2 and pids[0] == victim for pids in twice),
        "workers": len({pid for pids in begun.values() for pid in pids}),
    }  # fmt: skip


def plain(value, without):
    """JSON without what is timed."""
    if isinstance(value, dict):
        return {k: plain(v, without) for k, v in value.items() if k not in without}
    return [plain(one, without) for one in value] if isinstance(value, list) else value


def comparing(folder):
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", (rng.normal(size=(90, 2)) @ rng.normal(size=(2, 6))).astype("f4"))
    data, names = str(folder / "x.npy"), ["plain", "vae"]
    budget = {"seeds": 3, "steps": 4, "batch_size": 16, "latents": 2, "width": 8}
    asked = {
        **dict.fromkeys(["minutes", "clusters", "kind", "axis", "size", "mode", "prepare"]),
        "labels": None, "options": {"vae": {"sigma": 0.5}}, **budget,
    }  # fmt: skip
    whole = Fitter.run
    compare(data, names, "reconstruct", options=asked["options"], out=folder / "one", **budget)
    log = folder / "log"

    def logged(self, seed, name):
        noting(log, f"{seed} {name}")
        return whole(self, seed, name)

    Fitter.run = logged
    shared_fits.prepare(folder / "many", data, names, "reconstruct", asked)
    work = read_assignment(folder / "many")
    found = share(folder / "many", log, lambda: shared_fits.SharedFits(folder / "many", work))
    one, many = (
        plain(json.loads((folder / name / "results.json").read_text()), {"seconds"})
        for name in ("one", "many")
    )
    pictures = [np.load(folder / name / "examples.npz") for name in ("one", "many")]
    same = all(np.array_equal(pictures[0][k], pictures[1][k]) for k in pictures[0].files)
    weights = [(folder / n / "winner" / "model.safetensors").read_bytes() for n in ("one", "many")]
    return {**found, "same": one == many and same and weights[0] == weights[1]}


def reproducing(folder):
    log = folder / "none"

    def experiment(trial):
        noting(log, f"{trial.seed} {trial.budget} {sorted(trial.rates.items())}")
        best = {"method": 0.1, "other": 1.0}
        return {
            arm: {**values, "error": abs(trial.rates[arm] - best[arm]) if arm in best else 0.0}
            for arm, values in figures(method=2.0 + 0.01 * trial.seed).items()
        }

    grid = Tuning((0.01, 0.1, 1.0), "error", ("method", "other"))
    claim = a_claim(experiment, tuning=grid, file=runner.ROOM / "made.py")
    runner.get_claim = shared_trials.get_claim = lambda name: claim
    runner.probe = lambda claim: Probe("page", machine(), "weights", {"method": "a"})
    reproduce("made", folder=folder / "one", jobs=1)
    log = folder / "log"
    shared_trials.prepare(folder / "many", ["made"], None, 1.0, False, False)
    work = read_assignment(folder / "many")
    found = share(
        folder / "many", log, lambda: shared_trials.SharedTrials(folder / "many", work.settings)
    )
    one, many = (
        plain(json.loads((folder / n / "made.json").read_text()), {"seconds", "minutes"})
        for n in ("one", "many")
    )
    return {**found, "same": one == many}


if __name__ == "__main__":
    torch.set_num_threads(1)
    kinds = {"compare": comparing, "reproduce": reproducing}
    print(json.dumps(kinds[sys.argv[2]](Path(sys.argv[1]))))
