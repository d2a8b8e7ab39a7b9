"""Runs claims: what is missing, over several processes, saved after every trial."""

import math
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from isthmus import notices, studies
from isthmus.errors import IsthmusError
from isthmus.reproduction import results
from isthmus.reproduction.pending import Plan, Task
from isthmus.reproduction.probes import Probe, Status, one_thread, page_hash, probe, status
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.studies import Claim, Trial, get_claim
from isthmus.studies.trial import FIRST
from isthmus.training.lock import held
from isthmus.training.non_finite_loss import NonFiniteLoss

RESULTS = Path("reproductions")
ROOM = Path(studies.__file__).resolve().parent
"""Where the claims of the package are: other processes find these by name."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ReportProgress = Callable[[str, int, int], None]
"""Called as ``report(what ended, trials done, trials in all)``."""


def seeds_of(claim: Claim, count: int | None) -> list[int]:
    """The seeds that count, from :data:`isthmus.studies.trial.FIRST` on."""
    number = claim.seeds if count is None else count
    if number < 1:
        raise IsthmusError(f"seeds is {number}: pass a whole number of at least 1")
    return [FIRST + i for i in range(number)]


def reproduce(
    names: str | Claim | Iterable[str | Claim],
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
        One claim or several, by name or as what ``claim(...)`` returned;
        :func:`isthmus.studies.claims` has them all. Where several are asked for, those whose data
        are not here are left out, and said.
    seeds
        How many; each claim states its own number, and its word needs as many.
    budget
        Scales the steps. Results of other budgets than 1 are kept apart, and have no curve.
    jobs
        Processes, of one thread each, so that figures do not depend on their number; by default
        as many as there are cores. With 1, and where a claim is declared outside the package, all
        runs in this process.
    folder
        Where results are kept, one JSON file a claim, rewritten after each trial. Trials that are
        there and current, by their probe, are not run again unless ``again``. None keeps nothing.
        One run at a time writes there.
    pilot
        Only rates, and at the full budget the curve, without the seeds that count.
    """
    items = [names] if isinstance(names, str | Claim) else [*names]
    selection = [one if isinstance(one, Claim) else get_claim(one) for one in items]
    if not 0 < budget < math.inf:
        raise IsthmusError(f"budget is {budget:g}: pass a number above 0")
    if pilot and again:
        raise IsthmusError(
            "a pilot does not run seeds again: pass again without pilot, or delete the results"
        )
    keep = None if folder is None else Path(folder)
    if keep is not None and keep.exists() and not keep.is_dir():
        raise IsthmusError(f"{keep} is a file: results are kept in a folder, so name another")
    selection = with_data(selection)
    with held(keep) if keep is not None else nullcontext():
        plans = {}
        for claim in selection:
            outcome = Outcome(claim, budget)
            if keep is not None and not again:
                outcome = results.kept(keep, claim, budget)
            plans[claim.name] = Plan(outcome, [] if pilot else seeds_of(claim, seeds))
        _run(plans, keep, jobs, report)
    return {name: plan.outcome for name, plan in plans.items()}


def with_data(selection: list[Claim]) -> list[Claim]:
    """Those whose data are here; an error where there are none."""
    available, problems = [], []
    for claim in selection:
        try:
            claim.check_data()
            available.append(claim)
        except IsthmusError as problem:
            problems.append(problem)
    if problems and not available:
        raise problems[0]
    for missing in problems:
        notices.say(f"left out: {missing}")
    return available


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


def _run(
    plans: dict[str, Plan],
    keep: Path | None,
    jobs: int | None,
    report: ReportProgress | None,
) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jobs = jobs or cores or 1
    in_process = jobs == 1 or any(
        ROOM not in plan.outcome.claim.file.parents for plan in plans.values()
    )
    pool: ProcessPoolExecutor | _Here
    if in_process:
        pool, jobs = _Here({name: plan.outcome.claim for name, plan in plans.items()}), 1
    else:
        pool = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), initializer=_begin
        )  # fmt: skip
    problems: list[str] = []
    running: dict[Future[Probe | TrialResult | str], Task] = {}
    waiting: list[Task] = []
    done = 0
    try:
        while True:
            for plan in plans.values():
                try:
                    waiting += plan.ready()
                except IsthmusError as problem:  # rates that cannot be chosen
                    problems.append(str(problem))
                    plan.ended = True
            # Longest first, as far as earlier results tell: the processes then end together.
            waiting.sort(key=lambda task: -plans[task.name].lasted)
            while waiting and len(running) < jobs:
                task = waiting.pop(0)
                running[pool.submit(work, task)] = task
            if not running:
                break
            future = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
            task, result, plan = running[future], future.result(), plans[running.pop(future).name]
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
            "a process of a trial was ended from outside, for want of memory or since a script "
            "calls this without 'if __name__ == \"__main__\":': finished trials are kept, go on "
            "with the same call and jobs=1 (--jobs 1)"
        ) from None
    except KeyboardInterrupt:
        for process in (getattr(pool, "_processes", None) or {}).values():
            process.terminate()
        raise KeyboardInterrupt(
            "stopped: finished trials are kept, the same command goes on with the others"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if keep is not None:
        # Texts and checks may have changed since: the word is given anew.
        for plan in plans.values():
            trials = plan.outcome.trials or plan.outcome.tuning or plan.outcome.curve
            if trials and plan.probed is not None and not plan.ended:
                results.write(plan.outcome, keep)
    if problems:
        raise IsthmusError(f"{len(problems)} of {done} trials ended early: {problems[0]}")


def _begin() -> None:
    """One thread in a process of a trial, and in whatever is loaded there later."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


class _Here:
    """Runs a task at once in this process, in place of a pool of others."""

    def __init__(self, claims: dict[str, Claim]) -> None:
        self.claims = claims

    def submit(self, function: Callable[..., Any], task: Task) -> Future[Any]:
        future: Future[Any] = Future()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            future.set_result(function(task, self.claims[task.name]))
        return future

    def shutdown(self, **_: bool) -> None:
        """There is nothing to end."""


def work(task: Task, claim: Claim | None = None) -> Probe | TrialResult | str:
    """One task; a problem comes back as a sentence."""
    start = time.perf_counter()
    try:
        claim = claim or get_claim(task.name)
        if task.purpose == "probe":
            return probe(claim)
        with one_thread():
            figures = claim.run(Trial(task.seed, task.budget, dict(task.rates)))
    except NonFiniteLoss as problem:
        if task.purpose != "tuning" or claim is None or claim.tuning is None:
            return str(problem)
        figures = {arm: {} for arm in claim.tuning.arms}  # a rate too high to be chosen
    except IsthmusError as problem:
        return str(problem)
    except (Exception, SystemExit) as problem:
        place = traceback.extract_tb(problem.__traceback__)[-1]
        return f"{type(problem).__name__}: {problem} ({Path(place.filename).name}:{place.lineno})"
    seconds = time.perf_counter() - start
    rates = {} if task.purpose == "tuning" else dict(task.rates)
    return TrialResult(task.seed, task.budget, seconds, figures, task.rate, rates)
