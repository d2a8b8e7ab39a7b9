"""Runs studies: what is missing, over several processes, saved after every trial."""

import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from isthmus.errors import IsthmusError
from isthmus.reproduction import results
from isthmus.reproduction.code_fingerprint import fingerprint
from isthmus.reproduction.results import Outcome, TrialResult
from isthmus.studies import PILOT, Study, Trial, get_study

RESULTS = Path("reproductions")
ReportProgress = Callable[[str, int, int], None]
"""Called as ``report(what ended, trials done, trials in all)``."""


@dataclass(frozen=True)
class PendingTrial:
    """One trial to be run."""

    name: str
    seed: int
    budget: float
    code: str


def seeds_of(study: Study, count: int | None, *, pilot: bool = False) -> list[int]:
    """The seeds that count: 1, 2, ... (0 is the pilot's alone)."""
    if pilot:
        return [PILOT]
    wanted = study.seeds if count is None else count
    if wanted < 1:
        raise IsthmusError(f"seeds is {wanted}: pass a whole number of at least 1")
    return [PILOT + 1 + i for i in range(wanted)]


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
    """Run studies and return what they found, by name.

    names
        One study or several; :func:`isthmus.studies.studies` has them all.
    seeds
        How many, from 1 on; each study states its own number. ``pilot`` runs seed 0 instead.
    budget
        Scales the steps. Results of other budgets than 1 are kept apart.
    jobs
        Processes, of one thread each, so that figures do not depend on their number; by default
        as many as there are cores, or trials.
    folder
        Where results are kept, one JSON file a study, rewritten after each trial; trials that are
        there already, by the same code, are not run again unless ``again``. None keeps nothing;
        nor does a pilot.
    """
    chosen = [get_study(name) for name in ([names] if isinstance(names, str) else names)]
    if budget <= 0:
        raise IsthmusError(f"budget is {budget:g}: pass a number above 0")
    keep = None if folder is None or pilot else Path(folder)
    outcomes, tasks = {}, []
    lasted: dict[str, float] = {}
    for study in chosen:
        study.check_data()
        code = fingerprint(study)
        asked = seeds_of(study, seeds, pilot=pilot)
        there = [] if keep is None else results.read_trials(keep, study.name, budget)
        lasted[study.name] = max((trial.seconds for trial in there), default=0.0)
        kept = [t for t in there if t.code == code and t.seed in asked and not again]
        outcomes[study.name] = Outcome(study, budget, kept)
        missing = set(asked) - {trial.seed for trial in kept}
        tasks += [PendingTrial(study.name, seed, budget, code) for seed in sorted(missing)]
    # Longest first, as far as earlier results tell: the processes then end together.
    tasks.sort(key=lambda task: -lasted[task.name])
    if tasks:
        _run(tasks, outcomes, keep, jobs, report)
    elif keep is not None:
        # Texts and checks may have changed since: the verdict is given anew.
        for outcome in outcomes.values():
            results.write(outcome, keep)
    return outcomes


def is_current(study: Study, folder: Path) -> bool | None:
    """Whether the kept results are of the present code; None where there are none."""
    trials = results.read_trials(folder, study.name, 1.0)
    if not trials:
        return None
    code = fingerprint(study)
    return all(trial.code == code for trial in trials)


def _run(
    tasks: Sequence[PendingTrial],
    outcomes: dict[str, Outcome],
    keep: Path | None,
    jobs: int | None,
    report: ReportProgress | None,
) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jobs = min(len(tasks), jobs or cores or 1)
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_begin)
    problems = []
    try:
        running: dict[Future[TrialResult | str], PendingTrial] = {
            pool.submit(_trial, task): task for task in tasks
        }
        for done, future in enumerate(as_completed(running), 1):
            task, result = running[future], future.result()
            if isinstance(result, str):
                problems.append(f"{task.name}, seed {task.seed}: {result}")
            else:
                outcome = outcomes[task.name]
                outcome.trials = sorted([*outcome.trials, result], key=lambda t: t.seed)
                if keep is not None:
                    results.write(outcome, keep)
            if report is not None:
                report(f"{task.name}, seed {task.seed}", done, len(tasks))
    except KeyboardInterrupt:
        for process in (pool._processes or {}).values():
            process.terminate()
        raise KeyboardInterrupt(
            "stopped: finished trials are kept, the same command goes on with the others"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if problems:
        raise IsthmusError(f"{len(problems)} of {len(tasks)} trials ended early: {problems[0]}")


def _begin() -> None:
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
    warnings.simplefilter("ignore")


def _trial(task: PendingTrial) -> TrialResult | str:
    """Runs in a process of its own; a problem comes back as a sentence."""
    begun = time.perf_counter()
    try:
        figures = get_study(task.name).run(Trial(task.seed, task.budget))
    except IsthmusError as problem:
        return str(problem)
    except Exception as problem:
        place = traceback.extract_tb(problem.__traceback__)[-1]
        return f"{type(problem).__name__}: {problem} ({Path(place.filename).name}:{place.lineno})"
    return TrialResult(task.seed, task.code, time.perf_counter() - begun, figures)
