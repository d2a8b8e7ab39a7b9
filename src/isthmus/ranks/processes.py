"""The processes that train one model together: how they meet, agree, and end as one.

They meet in a store of ``torch.distributed`` (that of ``torchrun``, or a file). Before they are
connected each says there what it is about to do, and all compare. Whatever ends one of them is
written there in one sentence, and every other ends with the same one.
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from isthmus import notices
from isthmus.errors import NO_MEMORY, IsthmusError, is_out_of_memory

TIMEOUT = timedelta(seconds=60)
"""How long a rank waits for the others within a step; nothing is prepared between two of them."""
PREPARING = 3600.0
"""Seconds that the ranks may differ in reading and preparing the data, before they connect."""
WAITS = 10.0
"""Seconds after which a rank says that it waits for others."""
GRACE = 4.0
"""Seconds in which a rank that failed says why, once the others have noticed."""
_FAILURE, _FAILURES, _DONE = "failure", "failures", "done"
_POLL = 0.02


class RankLost(RuntimeError):
    """Another rank is gone, so that nothing more can be exchanged."""


@contextlib.contextmanager
def exchanging() -> Iterator[None]:
    """An exchange between ranks: a failure of it is a :class:`RankLost`."""
    try:
        yield
    except RuntimeError as problem:
        if is_out_of_memory(problem):
            raise
        raise RankLost(str(problem)) from problem


class RanksFailed(IsthmusError):
    """One of several ranks failed; every rank raises it with the same sentence."""


class RanksInterrupted(KeyboardInterrupt):
    """Ctrl-C ended all ranks; the message says how to go on."""


_SAID = (IsthmusError, OSError, KeyboardInterrupt, RankLost)
"""What one sentence is enough for; of anything else rank 0 shows where it came from."""


class Team:
    """This process as one of ``count`` ranks, from meeting the others in ``store`` to the end."""

    def __init__(self, rank: int, count: int, store: Any, *, launched: bool = False) -> None:
        self.rank, self.count, self.store, self.launched = rank, count, store, launched
        self.folder: Path | None = None
        """The folder of the run, once there is one: what to go on with."""
        self._log: Path | None = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes to the terminal, the log and ``config.json``."""
        return self.rank == 0

    # --- meeting -----------------------------------------------------------------------------

    def agree(self, facts: Mapping[str, str]) -> None:
        """Compare what all ranks are about to do; any difference is an error on all of them."""
        self.store.set(f"facts/{self.rank}", json.dumps(dict(facts)))
        with _told_after(WAITS, "waits for other ranks, which read and prepare their data"):
            self._wait([f"facts/{rank}" for rank in range(self.count)], PREPARING)
        every = [json.loads(self.store.get(f"facts/{rank}")) for rank in range(self.count)]
        for rank, other in enumerate(every):
            for name, value in every[0].items():
                if other.get(name) != value:
                    raise IsthmusError(
                        f"rank {rank} has another {name} than rank 0 ({_short(other.get(name))}, "
                        f"not {_short(value)}): start all ranks alike"
                    )

    def connect(self, device: torch.device) -> None:
        """Open the connections between the ranks."""
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with exchanging():
            dist.init_process_group(
                backend,
                store=dist.PrefixStore("group", self.store),  # type: ignore[attr-defined]
                rank=self.rank,
                world_size=self.count,
                timeout=TIMEOUT,
            )

    def wait_for_first(self) -> None:
        """Wait until rank 0 has done what it alone does; it may take its time."""
        if self.first:
            self.store.set(_DONE, "1")
        else:
            self._wait([_DONE], None)

    def _wait(self, keys: list[str], seconds: float | None) -> None:
        """Wait for keys in the store, unless a rank fails meanwhile."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self.store.check(keys):
            if self.store.check([_FAILURE]) or (until is not None and time.monotonic() > until):
                raise RankLost("another rank is not there")
            time.sleep(_POLL)

    # --- ending ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """What this rank does: whatever ends it ends all ranks, with one sentence."""
        token = _team.set(self)
        try:
            with self._quiet():
                yield
        except BaseException as problem:
            if self.first and not isinstance(problem, _SAID) and not is_out_of_memory(problem):
                traceback.print_exc()
            ending = self._tell(problem)
            if ending["kind"] == "interrupted":
                raise RanksInterrupted(ending["text"]) from problem
            raise RanksFailed(ending["text"]) from problem
        finally:
            _team.reset(token)
            if dist.is_initialized():
                with contextlib.suppress(RuntimeError):
                    dist.destroy_process_group()

    def _tell(self, problem: BaseException) -> dict[str, str]:
        """Leave the sentence for all, or take the one that another rank has left."""
        mine = {"kind": "failed", "text": sentence(problem, self.folder)}
        if isinstance(problem, KeyboardInterrupt):
            mine["kind"] = "interrupted"
        try:
            if isinstance(problem, RankLost):
                until = time.monotonic() + GRACE
                while not self.store.check([_FAILURE]) and time.monotonic() < until:
                    time.sleep(_POLL)
            if not self.store.check([_FAILURE]) and self.store.add(_FAILURES, 1) == 1:
                self.store.set(_FAILURE, json.dumps(mine))
            ending: dict[str, str] = json.loads(self.store.get(_FAILURE))
        except RuntimeError:  # the store went with the rank that kept it
            return mine
        return ending

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Only rank 0 writes to the terminal; of the others a file has what they would say."""
        if self.first:
            yield
            return
        handle, name = tempfile.mkstemp(prefix=f"rank-{self.rank}-", suffix=".log")
        self._log = Path(name)
        _redirect(handle)
        try:
            yield
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            if self._log is not None:
                self._log.unlink(missing_ok=True)

    def log_in(self, folder: Path) -> None:
        """Keep what the ranks but the first say in ``rank-N.log`` of the run's folder."""
        self.folder = folder
        if self._log is None:
            return
        sys.stdout.flush()
        sys.stderr.flush()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"rank-{self.rank}.log").open("ab") as handle:
            handle.write(self._log.read_bytes())
            handle.flush()
            _redirect(os.dup(handle.fileno()))
        self._log.unlink(missing_ok=True)
        self._log = None


def sentence(problem: BaseException, folder: Path | None) -> str:
    """What ended a rank, in one sentence."""
    onward = "" if folder is None else f": go on with isthmus resume {folder}"
    if isinstance(problem, RankLost):
        return f"one of the ranks ended without a word (killed, or out of memory?){onward}"
    if isinstance(problem, KeyboardInterrupt):
        return str(problem) or f"stopped{onward}"
    if isinstance(problem, IsthmusError):
        return str(problem)
    if is_out_of_memory(problem):
        return NO_MEMORY
    if isinstance(problem, OSError):
        place = "" if problem.filename is None else f"{problem.filename}: "
        return f"{place}{problem.strerror or problem}"
    return f"{type(problem).__name__}: {problem}"


def told_in(store: Any) -> dict[str, str] | None:
    """What ended the ranks of a store: its ``kind`` and ``text``; None where nothing did."""
    return json.loads(store.get(_FAILURE)) if store.check([_FAILURE]) else None


def _redirect(handle: int) -> None:
    """Have standard output and error go to a file from now on, of libraries in C, too."""
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    # In a notebook they are no files.
    sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w", buffering=1)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


_team: ContextVar[Team | None] = ContextVar("ranks", default=None)


def team() -> Team | None:
    """The ranks that this process is one of; None where it works alone."""
    return _team.get()


def in_environment() -> bool:
    """Whether ``torchrun`` has started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ


def is_one_process(ranks: object) -> bool:
    """Whether what is asked for by ``ranks=`` is this process alone."""
    return ranks is None or ranks == 1 or (ranks == "auto" and not in_environment())


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise IsthmusError(
            f"{name}={text!r} is nothing that torchrun sets: start the ranks by it, or unset RANK "
            "to train alone"
        )
    return int(text)


@contextlib.contextmanager
def _told_after(seconds: float, sentence: str) -> Iterator[None]:
    """Say something once what is done has lasted for so long."""
    timer = threading.Timer(seconds, notices.say, (sentence,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def of_environment() -> Team:
    """The ranks that ``torchrun`` has started.

    Raises :class:`IsthmusError` for variables that it does not set so, and where ranks do not meet.
    """
    from torch.distributed.rendezvous import rendezvous

    place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    rank, count = _number("RANK"), _number("WORLD_SIZE")
    if _number("MASTER_PORT") > 65535 or not rank < count or "MASTER_ADDR" not in os.environ:
        raise IsthmusError(
            f"RANK={rank} of WORLD_SIZE={count} at {place} is nothing that torchrun sets: start "
            "the ranks by it, or unset RANK to train alone"
        )
    try:
        with _told_after(WAITS, f"rank {rank} waits for rank 0 at {place}"):
            store, *_ = next(iter(rendezvous("env://")))
    except RuntimeError as problem:
        raise IsthmusError(
            f"rank {rank} does not meet the others at {place} "
            f"({str(problem).strip().splitlines()[0]}): start all of them by torchrun, and see "
            "that machines reach each other"
        ) from problem
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return Team(rank, count, store)
