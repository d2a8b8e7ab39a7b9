"""Take a task, do it, keep what came of it, and so on until there is none left."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from isthmus import notices
from isthmus.errors import IsthmusError
from isthmus.runs import write_atomically
from isthmus.training.lock import myself
from isthmus.workers.lease import STALE, holders, take

LEASES, TRIALS = "leases", "trials"
POLL = 1.0
"""Seconds between two looks, where others hold all that can be begun."""
ReportTask = Callable[[str, int, int], None]
"""Called as ``report(what ended, tasks with a result, tasks known)``."""


class Job(Protocol):
    """What there is to do in a folder, as far as the results there tell.

    A task has a name that is a file's. What it gives is plain (JSON), and depends on the task
    alone.
    """

    def ready(self) -> Sequence[str]:
        """Tasks that can be begun and have no result."""
        ...

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do, here or elsewhere."""
        ...

    def has(self, task: str) -> bool:
        """Whether there is a result by now."""
        ...

    def run(self, task: str) -> dict[str, Any]:
        """Do it. What a user can mend is an :class:`IsthmusError`, and kept as the result."""
        ...

    @property
    def progress(self) -> tuple[int, int]:
        """Tasks with a result, and tasks that are known of."""
        ...


class Results:
    """What came of the tasks of a folder, a file each, whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / TRIALS

    def get(self, task: str) -> dict[str, Any] | None:
        """The result of a task; None where there is none."""
        path = self.folder / f"{task}.json"
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            raise IsthmusError(f"{path} holds no readable result: delete it ({problem})") from None
        return plain if isinstance(plain, dict) else None

    def put(self, task: str, result: dict[str, Any]) -> None:
        """Keep a result; of two processes that did the same the last one stays."""
        content = json.dumps({**result, "by": myself()})
        write_atomically(self.folder / f"{task}.json", content.encode())

    def drop(self, task: str) -> None:
        """Forget a result."""
        (self.folder / f"{task}.json").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Tasks that have one."""
        return sorted(path.stem for path in self.folder.glob("[!.]*.json"))


def run_through(
    folder: Path,
    job: Job,
    *,
    stale: float = STALE,
    poll: float = POLL,
    report: ReportTask | None = None,
) -> int:
    """Work on the tasks of a folder until all have results; how many were done here.

    Others may work there, too: what they hold is waited for, which is said, and taken over where
    they die.
    """
    results = Results(folder)
    number, waits = 0, False
    while True:
        tasks = job.ready()
        if not tasks and job.ended:
            return number
        for task in tasks:
            lease = take(folder / LEASES, task, stale)
            if lease is None:
                continue
            with lease:
                if job.has(task):  # it ended between the look and the lease
                    break
                try:
                    result = job.run(task)
                except IsthmusError as problem:
                    result = {"problem": str(problem)}
                results.put(task, result)
            number += 1
            break
        else:
            if not waits:
                waits = True
                notices.say(_waiting(folder, stale))
            time.sleep(poll)
            continue
        if report is not None:
            report(task, *job.progress)


def _waiting(folder: Path, stale: float) -> str:
    """Who holds what is left."""
    names = [
        f"process {one['pid']} on {one['host']}" if "pid" in one else "one that did not sign"
        for one in holders(folder / LEASES, stale)
    ]
    others = f" and {len(names) - 1} others" if names[1:] else ""
    who = f" ({names[0]}{others})" if names else ""
    return (
        f"waits for others at work in {folder}{who}; what one that is silent for {stale:g} seconds "
        "holds is taken over"
    )
