"""Runs claims: what is missing, over several processes, saved after every trial."""

import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.reproduction import results
from isthmus.reproduction.probes import Probe, Status, page_hash, probe, status
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.studies import PILOT, Claim, Trial, get_claim
from isthmus.studies.trial import FIRST

RESULTS = Path("reproductions")
TUNING_BUDGET = 0.5
"""Share of the steps that rates are chosen at."""
CURVE = (0.5, 1.0)
"""Budgets of the pilot's curve."""

ReportProgress = Callable[[str, int, int], None]
"""Called as ``report(what ended, trials done, trials in all)``."""


@dataclass(frozen=True)
class Task:
    """One thing to be run in a process of its own: a probe, or a trial for some purpose."""

    name: str
    purpose: str  # probe, tuning, curve, seed
    seed: int = PILOT
    budget: float = 1.0
    rate: float | None = None
    rates: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        what = {
            "probe": "probe",
            "tuning": f"rate {self.rate:g}" if self.rate is not None else "rate",
            "curve": f"pilot at {self.budget:g}",
            "seed": f"seed {self.seed}",
        }
        return f"{self.name}, {what[self.purpose]}"


def seeds_of(claim: Claim, count: int | None) -> list[int]:
    """The seeds that count, from :data:`isthmus.studies.trial.FIRST` on."""
    wanted = claim.seeds if count is None else count
    if wanted < 1:
        raise IsthmusError(f"seeds is {wanted}: pass a whole number of at least 1")
    return [FIRST + i for i in range(wanted)]


def reproduce(
    names: str | Iterable[str],
    *,
    seeds: int | None = None,
    budget: float = 1.0,
    jobs: int | None = None,
    folder: str | Path | None = RESULTS,
    pilot: bool = False,
    again: bool = False,
    report: ReportProgress | None = None,
) -> dict[str, Outcome]:
    """Check claims and return what was found, by name.

    First, on the pilot's seed 0, which counts for nothing: each arm's learning rate from the
    page's grid, and the curve of the quantity at half and at the full budget. Then the seeds.

    names
        One claim or several; :func:`isthmus.studies.claims` has them all.
    seeds
        How many; each claim states its own number, and its word needs as many.
    budget
        Scales the steps. Results of other budgets than 1 are kept apart, and have no curve.
    jobs
        Processes, of one thread each, so that figures do not depend on their number; by default
        as many as there are cores, or trials.
    folder
        Where results are kept, one JSON file a claim, rewritten after each trial. Trials that are
        there and current, by their probe, are not run again unless ``again``. None keeps nothing.
    pilot
        Only rates and the curve, without the seeds that count.
    """
    chosen = [get_claim(name) for name in ([names] if isinstance(names, str) else names)]
    if budget <= 0:
        raise IsthmusError(f"budget is {budget:g}: pass a number above 0")
    keep = None if folder is None else Path(folder)
    plans = {}
    for claim in chosen:
        claim.check_data()
        there = results.kept(keep, claim, budget) if keep and not again else Outcome(claim, budget)
        wanted = [] if pilot else seeds_of(claim, seeds)
        plans[claim.name] = Plan(there, wanted)
    _run(plans, keep, jobs, report)
    return {name: plan.outcome for name, plan in plans.items()}


def status_of(claim: Claim, folder: Path, now: Probe | None = None) -> Status | None:
    """Whether the kept results are current; None where there are none.

    Without ``now``, a probe that was just made, the page's syntax alone is compared.
    """
    stored = results.kept(folder, claim, 1.0)
    if stored.probe is None:
        return None
    if now is None:
        same = stored.probe.page == page_hash(claim.file)
        return "current" if same else "out of date"
    return status(stored.probe, now)


class Plan:
    """What is still to be run of one claim, as far as it can be told."""

    def __init__(self, outcome: Outcome, seeds: list[int]) -> None:
        self.outcome, self.wanted = outcome, seeds
        self.given: set[Task] = set()
        self.lasted = max((t.seconds for t in outcome.trials), default=0.0)
        self.probed: Probe | None = None

    def ready(self) -> list[Task]:
        """Tasks that can be begun now and were not given out before."""
        found = [task for task in self._missing() if task not in self.given]
        self.given |= set(found)
        return found

    @property
    def left(self) -> int:
        """Probes and trials that have not ended well."""
        out, grid = self.outcome, self.outcome.claim.tuning
        curve = len(CURVE) if out.budget == 1.0 else 0
        needed = 1 + (0 if grid is None else len(grid.rates)) + curve + len(self.wanted)
        counted = [one for one in out.trials if one.seed in self.wanted]
        return needed - (self.probed is not None) - sum(map(len, (out.tuning, out.curve, counted)))

    def _missing(self) -> Iterator[Task]:
        out = self.outcome
        name, claim = out.claim.name, out.claim
        if self.probed is None:
            yield Task(name, "probe")
            return
        rates = out.rates
        if rates is None:
            assert claim.tuning is not None
            there = {one.rate for one in out.tuning}
            for rate in claim.tuning.rates:
                if rate not in there:
                    given = tuple((arm, rate) for arm in claim.tuning.arms)
                    yield Task(name, "tuning", PILOT, TUNING_BUDGET * out.budget, rate, given)
            return
        known = tuple(rates.items())
        if out.budget == 1.0:
            have = {one.budget for one in out.curve}
            yield from (
                Task(name, "curve", PILOT, share, rates=known)
                for share in reversed(CURVE) if share not in have
            )  # fmt: skip
        seeds = {one.seed for one in out.trials}
        yield from (
            Task(name, "seed", seed, out.budget, rates=known)
            for seed in self.wanted if seed not in seeds
        )  # fmt: skip

    def take(self, task: Task, found: "Probe | TrialResult") -> None:
        """Put a result where it belongs; a probe that differs drops what is there."""
        out = self.outcome
        if isinstance(found, Probe):
            self.probed = found
            state = None if out.probe is None else status(out.probe, found)
            if state == "other machine":
                notices.say(
                    f"{out.claim.name}: its results are from another machine, whose bits cannot be "
                    "compared with this one's; they are kept (again=True runs them anew)"
                )
            else:
                if state != "current":
                    out.tuning, out.curve, out.trials = [], [], []
                out.probe = found
            return
        kind = {"tuning": out.tuning, "curve": out.curve, "seed": out.trials}[task.purpose]
        kind.append(found)
        kind.sort(key=lambda one: (one.seed, one.budget, one.rate or 0.0))


def _run(
    plans: dict[str, Plan],
    keep: Path | None,
    jobs: int | None,
    report: ReportProgress | None,
) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pool = ProcessPoolExecutor(
        jobs or cores or 1, multiprocessing.get_context("spawn"), initializer=_begin
    )
    problems: list[str] = []
    running: dict[Future[Probe | TrialResult | str], Task] = {}
    waiting: list[Task] = []
    done = 0
    try:
        while True:
            waiting += [task for plan in plans.values() for task in plan.ready()]
            # Longest first, as far as earlier results tell: the processes then end together.
            waiting.sort(key=lambda task: -plans[task.name].lasted)
            while waiting and len(running) < (jobs or cores or 1):
                task = waiting.pop(0)
                running[pool.submit(_work, task)] = task
            if not running:
                break
            ended = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
            task, result, plan = running[ended], ended.result(), plans[running.pop(ended).name]
            done += 1
            if isinstance(result, str):
                problems.append(f"{task}: {result}")
            else:
                plan.take(task, result)
                if keep is not None and not isinstance(result, Probe):
                    results.write(plan.outcome, keep)
            if report is not None:
                report(str(task), done, done + sum(one.left for one in plans.values()))
    except BrokenProcessPool:
        raise IsthmusError(
            "a process of a trial was ended from outside, most likely for want of memory: finished "
            "trials are kept, go on with the same command and jobs=1 (--jobs 1)"
        ) from None
    except KeyboardInterrupt:
        for process in (pool._processes or {}).values():
            process.terminate()
        raise KeyboardInterrupt(
            "stopped: finished trials are kept, the same command goes on with the others"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if keep is not None:
        # Texts and checks may have changed since: the word is given anew.
        for plan in plans.values():
            if plan.outcome.trials or plan.outcome.tuning or plan.outcome.curve:
                results.write(plan.outcome, keep)
    if problems:
        raise IsthmusError(f"{len(problems)} of {done} trials ended early: {problems[0]}")


def _begin() -> None:
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
    warnings.simplefilter("ignore")


def _work(task: Task) -> Probe | TrialResult | str:
    """Runs in a process of its own; a problem comes back as a sentence."""
    begun = time.perf_counter()
    try:
        claim = get_claim(task.name)
        if task.purpose == "probe":
            return probe(claim)
        figures = claim.run(Trial(task.seed, task.budget, dict(task.rates)))
    except IsthmusError as problem:
        return str(problem)
    except Exception as problem:
        place = traceback.extract_tb(problem.__traceback__)[-1]
        return f"{type(problem).__name__}: {problem} ({Path(place.filename).name}:{place.lineno})"
    seconds = time.perf_counter() - begun
    return TrialResult(task.seed, task.budget, seconds, figures, task.rate)
