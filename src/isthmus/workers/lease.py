"""One task, one process: a file that only one can make, and that it touches while it lives."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from isthmus.errors import IsthmusError
from isthmus.training.lock import lives, myself

STALE = 600.0
"""Seconds without a sign of life after which a task of another machine is taken over."""
_BEATS = 10
"""Signs of life in that time."""


class Lease:
    """A task that this process holds, until :meth:`release`."""

    def __init__(self, path: Path, content: bytes, stale: float) -> None:
        self.path, self._signed = path, content
        self._ended = threading.Event()
        pause = min(stale / _BEATS, threading.TIMEOUT_MAX)
        self._beating = threading.Thread(target=self._beat, args=(pause,), daemon=True)
        self._beating.start()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def ours(self) -> bool:
        """Whether nobody took the task over, as of a process that was silent for too long."""
        return _content(self.path) == self._signed

    def release(self) -> None:
        """Let others take the task."""
        self._ended.set()
        self._beating.join()
        if self.ours:
            self.path.unlink(missing_ok=True)

    def _beat(self, pause: float) -> None:
        while not self._ended.wait(pause):
            with contextlib.suppress(OSError):  # a drive that is away for a moment
                if not self.ours:
                    return
                os.utime(self.path)


def take(folder: Path, task: str, stale: float = STALE) -> Lease | None:
    """The lease of a task; None where another process has it.

    One whose process is known to have ended (on this machine), or that gave no sign of life for
    ``stale`` seconds, is taken over. The age is told by the clock of the disk, so that clocks of
    machines may differ.

    Raises :class:`IsthmusError` where the folder cannot be written.
    """
    try:
        return _take(folder, task, stale)
    except OSError as problem:
        raise IsthmusError(
            f"cannot take work in {folder}: {problem.strerror or problem}; free some space, or "
            "let this process write there, and start it again"
        ) from problem


def _take(folder: Path, task: str, stale: float) -> Lease | None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{task}.json"
    for _ in range(2):
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            before = _content(path)
            if before is None:  # it went at this moment
                continue
            if not _is_over(path, before, stale) or not _set_aside(path, before):
                return None
            continue
        content = json.dumps({**myself(), "since": time.time(), "token": uuid4().hex}).encode()
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
        except OSError:  # an unsigned one would keep all others waiting
            path.unlink(missing_ok=True)
            raise
        return Lease(path, content, stale)
    return None


def holders(folder: Path, stale: float = STALE) -> Iterator[dict[str, Any]]:
    """Who is at work there: host and process of each lease that is not over."""
    for path in sorted(folder.glob("*.json")):
        content = _content(path)
        if content and not _is_over(path, content, stale):
            yield _owner(content)


def _is_over(path: Path, content: bytes, stale: float) -> bool:
    owner = _owner(content)
    # A file that is just being written names nobody yet.
    if owner and not lives(owner):
        return True
    try:
        return _now(path.parent) - path.stat().st_mtime > stale
    except FileNotFoundError:
        return False


def _now(folder: Path) -> float:
    """The time by the clock that the disk puts on its files."""
    clock = folder / f".clock-{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
    clock.touch()
    try:
        return clock.stat().st_mtime
    finally:
        clock.unlink(missing_ok=True)


def _set_aside(path: Path, content: bytes) -> bool:
    """Remove a lease that is over; one that another took over meanwhile is put back."""
    aside = path.with_name(f".{path.name}-{socket.gethostname()}-{os.getpid()}-{time.time_ns()}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    try:
        if aside.read_bytes() == content:
            return True
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
        return False
    finally:
        aside.unlink()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _owner(content: bytes) -> dict[str, Any]:
    try:
        owner = json.loads(content)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}
