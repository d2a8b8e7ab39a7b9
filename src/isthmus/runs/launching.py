"""``ranks=8``: the processes of one run, started here or by ``torchrun``, and what ends them.

Whatever ends a rank ends all of them, within seconds and with one sentence; only rank 0 writes to
the terminal, the others to ``rank-N.log`` in the run's folder.
"""

import contextlib
import ctypes
import functools
import importlib
import inspect
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import torch
import torch.distributed as dist

from isthmus.errors import IsthmusError
from isthmus.ranks import (
    RanksFailed,
    RanksInterrupted,
    Team,
    is_one_process,
    of_environment,
    team,
    told_in,
)
from isthmus.threads import check_processes
from isthmus.training.checkpoint import read_log

P = ParamSpec("P")
T = TypeVar("T")
Ranks = int | Literal["auto"] | None

PATIENCE = 7.0
"""Seconds that ranks have to end by themselves once one has failed."""


def by_ranks(function: Callable[P, T]) -> Callable[P, T]:
    """Of a function that fits and takes ``ranks``: has it done by so many processes.

    With ``ranks="auto"`` by those that ``torchrun`` started, of which this is one; with a number by
    processes of our own, which are gone when it returns.
    """

    @functools.wraps(function)
    def whole(*args: P.args, **options: P.kwargs) -> T:
        ranks = options.get("ranks")
        if team() is not None or is_one_process(ranks):
            return function(*args, **options)
        if options.get("minutes") is not None:
            raise IsthmusError(
                "minutes= is measured by one process, and several would differ: give steps= with "
                "ranks="
            )
        if ranks == "auto":
            with of_environment().working():
                return function(*args, **options)
        if not isinstance(ranks, Integral) or ranks < 1:
            raise IsthmusError(f"ranks={ranks!r} is no number of processes: use 1 or more, or auto")
        count = int(ranks)  # it may be NumPy's
        check_processes(count, "ranks")
        bound = inspect.signature(function).bind(*args, **options).arguments
        return launched(function, count, dict(bound))

    return whole


def launched(function: Callable[..., Any], count: int, arguments: dict[str, Any]) -> Any:
    """Have ``count`` processes call ``function``, and return the model that they fitted."""
    from isthmus.runs.loading import load

    further = {**arguments.pop("options", {}), **arguments.pop("modules", {})}
    named = {**arguments, **further}
    named.pop("ranks", None)
    with tempfile.TemporaryDirectory(prefix="isthmus-ranks-") as scratch:
        place = "path" if "path" in named else "out"
        kept = named.get(place) is not None
        if not kept:
            named[place] = str(Path(scratch) / "run")
        folder = Path(named[place])
        try:
            work = functools.partial(_call, function.__name__, named)
            _together(work, count, Path(scratch) / "meeting")
        except (RanksFailed, RanksInterrupted) as end:
            if kept:
                raise
            raise type(end)(_without(str(end), folder)) from None
        model = load(folder, **_as_built(named))
        model.history = read_log(folder)
    return model


def _without(text: str, folder: Path) -> str:
    """What ended a run of which nothing is kept: there is nothing to go on with."""
    for onward in (f" and saved; go on with: isthmus resume {folder}",
                   f": go on with isthmus resume {folder}"):  # fmt: skip
        text = text.replace(onward, "; nothing was saved, since no folder was given")
    return text


def _call(name: str, named: Mapping[str, Any]) -> None:
    import isthmus

    getattr(isthmus, name)(**named)


def _as_built(named: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`load` needs besides the folder: what was passed and is no name."""
    from isthmus.anatomy import Autoencoder

    recipe = named.get("recipe")
    built: dict[str, Any] = {n: v for n, v in named.items() if isinstance(v, torch.nn.Module)}
    built.pop("recipe", None)
    built.pop("start", None)
    if isinstance(recipe, Autoencoder):
        return {"model": recipe}
    if callable(recipe):
        built["recipe"] = recipe
    return built


# --- processes -------------------------------------------------------------------------------


def _together(work: Callable[[], None], count: int, meeting: Path) -> None:
    """Run ``work`` in ``count`` processes; an error of any is raised here."""
    threads = max(1, torch.get_num_threads() // count)
    # A forked process has what this one has, and begins at once; but it cannot use the threads of
    # a pool that was there before it, nor a device that is already in use.
    forks = threads == 1 and not torch.cuda.is_initialized() and hasattr(os, "fork")
    if forks:  # imported once, not by every rank: optimisers need it, and it takes seconds
        importlib.import_module("torch._dynamo")
    context: Any = multiprocessing.get_context("fork" if forks else "spawn")
    store = dist.FileStore(str(meeting), -1)  # type: ignore[attr-defined]
    processes: list[BaseProcess] = []
    with _signals(processes):
        try:
            for rank in range(count):
                about = (rank, count, str(meeting), threads, work)
                process = context.Process(target=_rank, args=about, name=f"rank-{rank}")
                process.start()
                processes.append(process)
        except (AttributeError, TypeError) as problem:  # of pickling
            _end(processes)
            raise IsthmusError(
                f"what is to be fitted cannot be sent to other processes ({problem}): name the "
                "recipe package.module:function, or call it under torchrun with ranks='auto'"
            ) from None
        _watch(processes)
    ending = told_in(store)
    if all(process.exitcode == 0 for process in processes) and ending is None:
        return
    if ending is None:
        raise RanksFailed(_silent(processes, forks))
    raise (RanksInterrupted if ending["kind"] == "interrupted" else RanksFailed)(ending["text"])


def _watch(processes: list[BaseProcess]) -> None:
    """Wait for all to end; once one has failed the others have :data:`PATIENCE` seconds."""
    until: float | None = None
    while alive := [process for process in processes if process.is_alive()]:
        left = None if until is None else max(0.0, until - time.monotonic())
        wait([process.sentinel for process in alive], timeout=left)
        if until is None and any(process.exitcode for process in processes):
            until = time.monotonic() + PATIENCE
        if until is not None and time.monotonic() > until:
            _end(processes)
    for process in processes:
        process.join()


def _end(processes: list[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()


def _silent(processes: list[BaseProcess], forked: bool) -> str:
    """What to say of ranks that ended without a word."""
    killed = [(i, p.exitcode) for i, p in enumerate(processes) if p.exitcode]
    rank, code = killed[0] if killed else (0, 1)
    how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
    remedy = "start again with fewer ranks"
    if not forked:
        remedy = f'{remedy}, and call it in a script under if __name__ == "__main__"'
    return f"rank {rank} ended {how} before its first step: {remedy}"


@contextlib.contextmanager
def _signals(processes: list[BaseProcess]) -> Iterator[None]:
    """Ctrl-C goes to the ranks, which end as one process does: after the step, and saved."""

    def forward(number: int, frame: Any) -> None:
        for process in processes:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGINT)

    try:
        earlier = signal.signal(signal.SIGINT, forward)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _rank(rank: int, count: int, meeting: str, threads: int, work: Callable[[], None]) -> None:
    """One process of several: in a group of its own, so that Ctrl-C comes once, from its parent."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpgid(0, 0)
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(threads)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "")
    if not os.environ["GLOO_SOCKET_IFNAME"]:
        del os.environ["GLOO_SOCKET_IFNAME"]
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    code = 1
    try:
        store = dist.FileStore(meeting, -1)  # type: ignore[attr-defined]
        with Team(rank, count, store, launched=True).working():
            work()
        code = 0
    except (RanksFailed, RanksInterrupted) as end:
        if rank:  # for the first one the parent says it
            print(f"isthmus: {end}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with_parent() -> None:
    """Where the system can: no rank outlives the process that started it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
