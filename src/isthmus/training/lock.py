"""One folder, one writer at a time: a lock that goes with the process that holds it.

The operating system locks ``.lock`` in the folder (``flock``), and releases it however the process
ends, so that a crash leaves nothing behind. Where a network drive has no such locks the file itself
is the lock: made by one process alone, it names that process, its start and its host, and is taken
over where that process is known to have ended.
"""

import contextlib
import errno
import functools
import json
import os
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import Any

from isthmus.errors import IsthmusError

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_here: dict[str, "Held"] = {}
"""Folders held by this process: a drive that takes locks by process would let a thread in."""
_guard = Lock()
_sessions: ContextVar[tuple[dict[str, "Held"], ...]] = ContextVar("folders held", default=())


class Held:
    """A folder that this process writes to alone, until :meth:`release`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self.key = os.path.realpath(folder)
        self.made: list[Path] = []
        self.handle = -1
        self.since: float = time.time()
        with _guard:
            other = _here.get(self.key)
            if other is not None and other.ours:
                raise _taken(folder, {**myself(), "since": other.since})
            _here[self.key] = self
        try:
            self._make()
            self.handle = self._acquire()
            self._sign()
        except OSError as problem:
            self.release()
            raise IsthmusError(
                f"cannot write in {folder}: {problem.strerror or problem}; choose another folder"
            ) from problem
        except BaseException:
            self.release()
            raise

    def _make(self) -> None:
        """Make the folder, noting which folders were not there."""
        absent = []
        place = self.folder
        while not place.exists():
            absent.append(place)
            place = place.parent
        for place in reversed(absent):
            with contextlib.suppress(FileExistsError):
                place.mkdir()
                self.made.append(place)

    def _acquire(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                alone = _flock(handle)
            except BaseException:
                os.close(handle)
                raise
            if alone and _same_file(handle, self.path):
                return handle
            os.close(handle)
            if alone is None:
                return self._create()
            if not alone:
                raise _taken(self.folder, _owner(self.path))
            # Otherwise whoever held it has just gone, and the file with it.

    def _create(self) -> int:
        """The lock where the drive has none: a file that appears signed, for one process alone."""
        draft = self.path.with_name(f"{NAME}.{os.getpid()}.{id(self)}")
        draft.write_text(json.dumps({**myself(), "since": self.since}))
        try:
            for _ in range(8):
                owner = _owner(self.path)
                if lives(owner):
                    raise _taken(self.folder, owner)
                self._set_aside()
                with contextlib.suppress(FileExistsError):
                    os.link(draft, self.path)
                    return os.open(self.path, os.O_RDWR)
            raise _taken(self.folder, _owner(self.path))
        finally:
            draft.unlink()

    def _set_aside(self) -> None:
        """Remove a lock whose process has ended; one that was renewed meanwhile is put back."""
        aside = self.path.with_name(f"{NAME}.{os.getpid()}.{id(self)}.old")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        try:
            if lives(_owner(aside)):
                os.link(aside, self.path)
        finally:
            aside.unlink()

    def _sign(self) -> None:
        content = json.dumps({**myself(), "since": self.since}).encode()
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, content, 0)

    @property
    def ours(self) -> bool:
        """Whether the folder is still the one that was locked: it may have been deleted."""
        return self.handle < 0 or _same_file(self.handle, self.path)

    def check(self) -> None:
        """An error where the folder was deleted, or replaced by another one."""
        if not self.ours:
            raise IsthmusError(
                f"{self.folder} was deleted or replaced while it was being written: leave it in "
                "place, or choose another folder"
            )

    def release(self) -> None:
        """Let others write; folders that were made for nothing go."""
        if self.handle >= 0:
            with contextlib.suppress(OSError):
                if self.ours:
                    self.path.unlink()
            os.close(self.handle)
            self.handle = -1
        with _guard:
            if _here.get(self.key) is self:
                del _here[self.key]
        for place in reversed(self.made):
            with contextlib.suppress(OSError):
                place.rmdir()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Held]:
    """The folder for this process alone, for a while; it is made where it is not there.

    Raises :class:`IsthmusError` where another process or thread holds it.
    """
    lock = Held(folder)
    try:
        yield lock
    finally:
        lock.release()


@contextlib.contextmanager
def claims() -> Iterator[None]:
    """What :func:`claim` takes meanwhile is held to the end of this block."""
    session: dict[str, Held] = {}
    token = _sessions.set((*_sessions.get(), session))
    try:
        yield
    finally:
        _sessions.reset(token)
        for lock in reversed(session.values()):
            lock.release()


def claim(folder: Path) -> Held:
    """Hold a folder to the end of the present :func:`claims`; it may be held by one around it."""
    sessions = _sessions.get()
    if not sessions:
        raise RuntimeError("claim() outside claims()")
    key = os.path.realpath(folder)
    for session in sessions:
        if key in session:
            return session[key]
    sessions[-1][key] = lock = Held(folder)
    return lock


def _flock(handle: int) -> bool | None:
    """Whether the file is now locked; None where this drive or system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
            return False
        if problem.errno in _UNSUPPORTED:
            return None
        raise
    return True


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def myself() -> dict[str, Any]:
    return {"host": _host(), "pid": os.getpid(), "began": _began(os.getpid())}


@functools.cache
def _host() -> str:
    return socket.gethostname()


def _began(pid: int) -> str | None:
    """When a process began, in the system's own count; None where it does not tell."""
    return _stat(pid, 19)


def _state(pid: int) -> str | None:
    """``Z`` for a process that has ended and is still listed; None where nobody tells."""
    return _stat(pid, 0)


def _stat(pid: int, place: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[place]
    except (OSError, IndexError):
        return None


def lives(owner: dict[str, Any]) -> bool:
    """Whether the process that signed a lock may still run; of another host nobody knows."""
    if not owner:
        return False
    if owner.get("host") != _host():
        return True
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return False
    except OSError:  # it lives, and is somebody else's
        pass
    if _state(int(owner["pid"])) == "Z":  # it ended, and whoever began it has not looked yet
        return False
    return owner.get("began") in (None, _began(int(owner["pid"])))


def _owner(path: Path) -> dict[str, Any]:
    """Who signed a lock, as far as it can be read."""
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _taken(folder: Path, owner: dict[str, Any]) -> IsthmusError:
    who = ""
    if "pid" in owner:
        at = time.strftime("%H:%M:%S", time.localtime(owner.get("since", 0)))
        who = f" (process {owner['pid']} on {owner.get('host')}, since {at})"
    gone = ""
    if owner and owner.get("host") != _host():
        gone = f" (if that process is gone, delete {folder / NAME})"
    return IsthmusError(
        f"another run is being written to {folder}{who}: choose another folder, or wait for its "
        f"end{gone}"
    )
