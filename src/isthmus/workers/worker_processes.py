"""Processes that work on a folder: started here, or asked for from a cluster."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.threads import check_processes

_PAUSE = 0.2


def command(folder: Path, *, stale: float | None = None) -> list[str]:
    """What a process is started by: the folder, and nothing that was made here."""
    words = [sys.executable, "-m", "isthmus", "work", str(folder.absolute()), "--quiet"]
    return words if stale is None else [*words, "--stale", f"{stale:g}"]


def start_here(
    folder: Path,
    number: int,
    *,
    stale: float | None = None,
    look: Callable[[], None] | None = None,
) -> None:
    """Have so many processes of this machine do the work of a folder, and wait for them.

    Each gets a GPU of its own, as far as there are. ``look`` is called while they work. One that
    ends early is made up for by the others; where all do, the last one's sentence is an
    :class:`IsthmusError`.
    """
    if number < 1:
        raise IsthmusError(f"jobs={number} counts processes: use 1 or more")
    check_processes(number, "jobs")
    gpus = torch.cuda.device_count()
    started = []
    with contextlib.ExitStack() as stack:
        # Files, since a pipe that nobody reads is full at some time and stops who writes to it.
        logs = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(number)]
        try:
            for place in range(number):
                environment = dict(os.environ)
                if gpus > 1:
                    environment["CUDA_VISIBLE_DEVICES"] = str(place % gpus)
                started.append(
                    subprocess.Popen(
                        command(folder, stale=stale), env=environment, stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL, stderr=logs[place],
                    )
                )  # fmt: skip
            while any(process.poll() is None for process in started):
                if look is not None:
                    look()
                time.sleep(_PAUSE)
        except BaseException:
            for process in started:
                process.terminate()
            raise
        finally:
            for process in started:
                process.wait()
        if all(process.returncode for process in started):
            lines = [line for file in logs for line in _lines(file) if line.strip()]
            last = lines[-1].removeprefix("isthmus: ") if lines else "without a word"
            raise IsthmusError(f"all {number} processes ended early: {last}")


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()


def submit(
    folder: Path, number: int, options: dict[str, object] | None = None, cluster: str | None = None
) -> list[Any]:
    """Ask a cluster for so many processes that work on a folder; submitit's jobs.

    By submitit, whose ``options`` these are (``slurm_partition``, ``timeout_min``, ...); what it is
    given is a command line, so that no code of this process travels. ``cluster`` is ``slurm``,
    or ``local`` and ``debug`` for this machine.
    """
    try:
        import submitit
    except ImportError as error:
        raise MissingExtra("submitit", "slurm", "processes on a cluster") from error
    executor = submitit.AutoExecutor(folder=folder / "slurm", cluster=cluster)
    try:
        executor.update_parameters(**(options or {}))
    except (NameError, ValueError, TypeError) as problem:
        raise IsthmusError(f"submitit does not take these options: {problem}") from None
    # A command line of submitit's own, since it pickles what it is given.
    run = submitit.helpers.CommandFunction(command(folder), verbose=False)
    with executor.batch():
        jobs: list[Any] = [executor.submit(run) for _ in range(number)]
    return jobs
