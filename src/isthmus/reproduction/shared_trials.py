"""Trials of claims as tasks that several processes share, each of which is run once."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.reproduction import results, runner
from isthmus.reproduction.pending import Plan, Task
from isthmus.reproduction.probes import Probe, machine
from isthmus.reproduction.results import Outcome
from isthmus.studies import get_claim
from isthmus.workers import Results
from isthmus.workers.assignment import Assignment, assigned

KIND = "reproduce"
WRITE = "write"
"""The last task of a claim: its results as one process writes them."""


def prepare(
    folder: Path, names: Sequence[str], seeds: int | None, budget: float, pilot: bool, again: bool
) -> None:
    """Write down which claims are to be checked in a folder, for ``isthmus work``.

    Trials that are there and current are not run again, as with one process; those that ended
    early are.
    """
    selection = runner.with_data([get_claim(name) for name in names])
    if pilot and again:
        raise IsthmusError("a pilot does not run seeds again: leave out one of both")
    for claim in selection:
        runner.seeds_of(claim, seeds)
        if runner.ROOM not in claim.file.parents:
            raise IsthmusError(
                f"{claim.name} is declared in {claim.file}, where other processes do not look: "
                "run it with jobs=1"
            )
    settings = {
        "claims": [claim.name for claim in selection], "seeds": seeds, "budget": budget,
        "pilot": pilot, "again": again,
    }  # fmt: skip
    same = assigned(folder, Assignment(KIND, settings))
    if same:
        stored = Results(folder)
        for name in stored.names():
            result = stored.get(name) or {}
            if "problem" in result or name.endswith(("_probe", f"_{WRITE}")):
                stored.drop(name)


class SharedTrials:
    """What is still to be run of some claims, as far as the results in a folder tell."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.results = folder, Results(folder)
        self.plans: dict[str, Plan] = {}
        self.tasks: dict[str, Task] = {}
        """Those that were named and have no result as yet, by the names of their files."""
        self.problems: dict[str, str] = {}
        self._under: dict[str, str] = {}
        """The code that trials have to be of, by claim."""
        self._written: set[str] = set()
        for name in settings["claims"]:
            claim = get_claim(name)
            claim.check_data()
            outcome = Outcome(claim, settings["budget"])
            if not settings["again"]:
                outcome = results.kept(folder, claim, settings["budget"])
            seeds = [] if settings["pilot"] else runner.seeds_of(claim, settings["seeds"])
            self.plans[name] = Plan(outcome, seeds)

    def ready(self) -> list[str]:
        """Tasks that can be begun, those that last longest first."""
        while self._look():
            pass
        trials = sorted(self.tasks, key=lambda file: -self.plans[self.tasks[file].name].lasted)
        busy = {task.name for task in self.tasks.values()}
        return trials + [_write(n) for n in self.plans if n not in busy | self._written]

    @property
    def ended(self) -> bool:
        """Whether the results of all claims are written."""
        return len(self._written) == len(self.plans)

    @property
    def progress(self) -> tuple[int, int]:
        """Trials that ended, and all that are known of."""
        left = sum(plan.left for plan in self.plans.values())
        done = sum(
            len(p.outcome.tuning) + len(p.outcome.curve) + len(p.outcome.trials)
            for p in self.plans.values()
        )
        return done, done + left

    def has(self, task: str) -> bool:
        """Whether there is a result, of the code that is here."""
        return self._result(task) is not None

    def run(self, task: str) -> dict[str, Any]:
        """One trial, or the results of a claim written to its file."""
        if task not in self.tasks:
            name = next(one for one in self.plans if _write(one) == task)
            return self._write(self.plans[name])
        one = self.tasks[task]
        result = runner.work(one, self.plans[one.name].outcome.claim)
        if isinstance(result, str):
            raise IsthmusError(result)
        if isinstance(result, Probe):
            return {"probe": result.to_dict()}
        return {"trial": asdict(result), "under": self._under[one.name], "machine": machine()}

    def _write(self, plan: Plan) -> dict[str, Any]:
        outcome = plan.outcome
        any_trial = outcome.trials or outcome.tuning or outcome.curve
        if any_trial and plan.probed is not None and not plan.ended:
            results.write(outcome, self.folder)
        return {"trials": len(outcome.trials)}

    def _look(self) -> bool:
        """Take what has ended since; whether that was anything."""
        for name, plan in self.plans.items():
            if name in self._written:
                continue
            try:
                self.tasks |= {_file(task): task for task in plan.ready()}
            except IsthmusError as problem:  # rates that cannot be chosen
                self.problems[name] = str(problem)
                plan.ended = True
        new = False
        for file, task in list(self.tasks.items()):
            result = self._result(file)
            if result is None:
                continue
            del self.tasks[file]
            new = True
            if "problem" in result:
                self.problems[file] = result["problem"]
            else:
                self._take(task, result)
        for name in self.plans:
            if name not in self._written and self.results.get(_write(name)) is not None:
                self._written.add(name)
        return new

    def _take(self, task: Task, result: Mapping[str, Any]) -> None:
        plan = self.plans[task.name]
        if "probe" in result:
            probe = Probe.from_dict(result["probe"])
            if probe.machine != machine():
                notices.say(
                    f"{task.name} was begun on another kind of machine ({probe.machine}): what is "
                    "run here differs in the last bits"
                )
            self._under[task.name] = _under(probe)
            plan.take(task, probe)
            return
        (trial,) = results.trials_of([result["trial"]])
        plan.take(task, trial)

    def _result(self, file: str) -> dict[str, Any] | None:
        """A result, unless it is of code that is no longer here."""
        result = self.results.get(file)
        task = self.tasks.get(file)
        if result is None or task is None or "trial" not in result:
            return result
        return result if result["under"] == self._under.get(task.name) else None


def _file(task: Task) -> str:
    rate = "" if task.rate is None else f"_rate-{task.rate!r}"
    # A trial is another where the rates are that its arms were given.
    rates = hashlib.sha256(json.dumps(task.rates).encode()).hexdigest()[:8] if task.rates else "0"
    if task.purpose == "probe":
        return f"{task.name}_probe"
    return f"{task.name}_{task.purpose}-{task.seed}_budget-{task.budget!r}{rate}_{rates}"


def _write(name: str) -> str:
    return f"{name}_{WRITE}"


def _under(probe: Probe) -> str:
    plain = json.dumps(probe.to_dict(), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
