"""``isthmus work``: this process works on a folder that several share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isthmus.cli.common import Quiet, interruptible, on_disk, out, parse_options
from isthmus.errors import IsthmusError, unknown

if TYPE_CHECKING:
    from isthmus.workers import Assignment, Job


def work(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="with work that was prepared", callback=on_disk),
    ],
    jobs: Annotated[int, typer.Option(min=1, help="processes to start here")] = 1,
    stale: Annotated[
        float,
        typer.Option(min=1, help="seconds of silence after which a task is taken over"),
    ] = 600.0,
    slurm: Annotated[
        int, typer.Option(min=0, metavar="N", help="ask the cluster for N processes, by submitit")
    ] = 0,
    slurm_options: Annotated[
        list[str] | None,
        typer.Option("--slurm-option", metavar="NAME=VALUE", help="of submitit, as timeout_min=60"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Do what was prepared in a folder, together with all who work there.

    isthmus compare and reproduce with --prepare write down what is to be done. Run this in
    as many terminals and on as many machines that share the folder as there are; each task is done
    once, and what belongs to a process that died is taken over.
    """
    from isthmus.training.progress import ProgressBar
    from isthmus.workers import read_assignment, run_through, start_here
    from isthmus.workers.worker_processes import submit

    assignment = read_assignment(folder)
    if slurm:
        numbers = [str(job.job_id) for job in submit(folder, slurm, parse_options(slurm_options))]
        out.print(f"{slurm} processes were asked for: {', '.join(numbers)}", markup=False)
        return
    with interruptible(), ProgressBar("work", 1, "tasks", not quiet) as bar:
        if jobs > 1:
            start_here(folder, jobs, stale=stale)
            number = 0
        else:
            job = opened(folder, assignment)
            number = run_through(
                folder, job, stale=stale,
                report=lambda what, done, total: bar.draw(done, done, what, total=total),
            )  # fmt: skip
    problems = problems_in(folder)
    if problems:
        task, sentence = problems[0]
        raise IsthmusError(f"{len(problems)} tasks ended early: {task}: {sentence}")
    mine = "" if jobs > 1 else f", {number} of its tasks by this process"
    out.print(f"all work in {folder} is done{mine}", markup=False)


def opened(folder: Path, work: "Assignment") -> "Job":
    """What there is to do, by its kind, on as many threads as were written down."""
    import torch

    from isthmus.comparison import shared_fits
    from isthmus.reproduction import shared_trials
    from isthmus.workers.assignment import damaged

    kinds: dict[str, Callable[[], Any]] = {
        shared_fits.KIND: lambda: shared_fits.SharedFits(folder, work),
        shared_trials.KIND: lambda: shared_trials.SharedTrials(folder, work.settings),
    }
    if work.kind not in kinds:
        raise unknown(f"kind of work in {folder}", work.kind, kinds)
    torch.set_num_threads(work.threads)
    try:
        job: Job = kinds[work.kind]()
    except KeyError as problem:
        raise damaged(folder) from problem
    return job


def problems_in(folder: Path) -> list[tuple[str, str]]:
    """Tasks that ended early, and why."""
    from isthmus.workers import Results

    stored = Results(folder)
    results = {name: stored.get(name) or {} for name in stored.names()}
    return [(name, result["problem"]) for name, result in results.items() if "problem" in result]
