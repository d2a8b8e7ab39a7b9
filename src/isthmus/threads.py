"""How many threads work, and how they wait between operations.

OpenMP's threads spin for milliseconds after each operation in the hope of the next. On a machine
that is busy with something else that burns the very time that the operation waits for, and a run
takes many times its fair share. And OpenMP counts the machine's cores, where a container may be
allowed fewer. Both are read once, when PyTorch loads the runtime: :func:`settle` comes before that,
when ``isthmus`` is imported. ``python -m benchmarks.busy`` measures the first.
"""

import contextlib
import ctypes
import math
import os
import sys
import threading
from pathlib import Path

from isthmus.errors import IsthmusError

SPINS = "2000"
"""Turns of GNU OpenMP's waiting loop before a thread sleeps: microseconds, as long as one piece of
a step waits for the next."""
LEAST_PROCESSES = 64
"""Processes that any machine may be asked for: few cores take turns."""
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_CGROUP = Path("/sys/fs/cgroup")
_crowded = threading.Event()


def settle() -> None:
    """Have threads wait passively, and be no more than the cores that this process may use.

    What the user has set stays as it is. Where PyTorch is there already, its number of threads does
    too, and they are made to wait passively by :func:`crowd`.
    """
    loaded = "torch" in sys.modules
    if not any(name in os.environ for name in _WAITING):
        if loaded:
            crowd()
        else:
            os.environ["OMP_WAIT_POLICY"] = "passive"
            os.environ["GOMP_SPINCOUNT"] = SPINS
    allowed = quota()
    if allowed is not None and not loaded and not any(name in os.environ for name in _COUNTS):
        cores = math.ceil(allowed)
        if cores < (os.cpu_count() or 1):
            os.environ["OMP_NUM_THREADS"] = str(cores)


def crowd() -> bool:
    """Have a GNU OpenMP runtime that is loaded already wait passively; whether there is one.

    It spins for microseconds only while it manages more threads than there are processors, so one
    more crew than that is started once, for nothing, and sleeps for as long as the process lives.
    """
    if _crowded.is_set():
        return True
    try:
        process = ctypes.CDLL(None)
        parallel, nothing = process.GOMP_parallel, process.getppid
    except (OSError, TypeError, AttributeError):
        return False
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None

    def crew() -> None:
        parallel(ctypes.cast(nothing, ctypes.c_void_p), None, (os.cpu_count() or 1) + 1, 0)
        _crowded.set()
        threading.Event().wait()  # its threads belong to this one

    with contextlib.suppress(RuntimeError):  # no more threads may be started
        threading.Thread(target=crew, name="isthmus-crew", daemon=True).start()
        _crowded.wait(5.0)
    return _crowded.is_set()


def waiting() -> str:
    """How threads wait between operations, for ``isthmus doctor``."""
    if _crowded.is_set() or os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
        return "asleep: a busy machine is shared fairly"
    return "spinning, or as OpenMP was told to"


def check_processes(number: int, what: str) -> None:
    """An error for so many processes of this machine that it could not even start them.

    ``what`` is how they were asked for, as ``ranks``.
    """
    cores = os.cpu_count() or 1
    most = max(LEAST_PROCESSES, 4 * cores)
    if number > most:
        raise IsthmusError(
            f"{what}={number} processes are too many for the {cores} cores of this machine: use "
            f"{most} or fewer here, and further machines for more"
        )


def quota(root: Path = _CGROUP) -> float | None:
    """The cores that a container's limit allows (cgroup v2, else v1), None without a limit."""
    for read in (_unified, _legacy):
        try:
            limit, period = read(root)
        except (OSError, ValueError):
            continue
        return limit / period if limit > 0 and period > 0 else None
    return None


def _unified(root: Path) -> tuple[float, float]:
    limit, period = (root / "cpu.max").read_text().split()
    return (0.0 if limit == "max" else float(limit)), float(period)


def _legacy(root: Path) -> tuple[float, float]:
    texts = [(root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
    return float(texts[0]), float(texts[1])
