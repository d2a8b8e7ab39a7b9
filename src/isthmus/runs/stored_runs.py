"""Runs in object storage: a verb works on a folder of this machine, whose commits go there."""

import contextlib
import functools
import hashlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from isthmus.data.catalogue import cache_folder
from isthmus.errors import IsthmusError
from isthmus.ranks import is_one_process
from isthmus.storage import Remote, is_remote
from isthmus.storage.committed import Committed
from isthmus.training import Callback
from isthmus.training.lock import claim, claims
from isthmus.training.run import Run

P = ParamSpec("P")
R = TypeVar("R")


class Pushes(Callback):
    """Brings every checkpoint to where the run is kept."""

    def __init__(self, committed: Committed) -> None:
        self.committed = committed

    def on_save(self, run: Run, folder: Path) -> None:
        self.committed.push()


def in_storage(parameter: str, *, new: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a verb take a place such as ``s3://bucket/run`` as the folder that it calls so.

    ``new`` is a run that begins there; any other has to be there. A verb with ``callbacks`` writes,
    and brings there what it saves; the storage is the truth, and what was saved on this machine
    alone is given up. One that only reads has a copy of its own, and disturbs no run.
    """

    def decorated(verb: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(verb)
        writes = "callbacks" in signature.parameters

        @functools.wraps(verb)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            place = kwargs.get(parameter, args[0] if args and not new else None)
            if not is_remote(place):
                return verb(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            url, arguments = str(place), bound.arguments
            if not is_one_process(arguments.get("ranks")):
                raise IsthmusError(
                    f"ranks save to a disk that they share, and {url} is none: give a folder"
                )
            remote, runs = Remote(url), cache_folder() / "runs"
            with _folder_for(url, runs, writes) as folder, _named(folder, url):
                committed = Committed(remote, folder)
                if not new:
                    committed.fetch()
                elif committed.exists and not arguments.get("overwrite"):
                    raise IsthmusError(
                        f"{url} already holds a run: choose another place, pass overwrite, or go "
                        "on with it by resume"
                    )
                else:
                    committed.clear()
                arguments[parameter] = folder
                if not writes:
                    return verb(*bound.args, **bound.kwargs)
                arguments["callbacks"] = [*arguments.get("callbacks", ()), Pushes(committed)]
                result = verb(*bound.args, **bound.kwargs)
                committed.push()
                return result

        return call

    return decorated


@contextlib.contextmanager
def _folder_for(url: str, runs: Path, writes: bool) -> Iterator[Path]:
    """Where a run is on this machine: held by the one process that writes it, else a copy."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    if writes:
        folder = runs / name
        with claims(), _named(folder, url):
            claim(folder)
            yield folder
        return
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=runs) as copy:
        yield Path(copy)


@contextlib.contextmanager
def _named(folder: Path, url: str) -> Iterator[None]:
    """Have what is said name the place, and not where it is on this machine for a while."""
    try:
        yield
    except (IsthmusError, KeyboardInterrupt) as problem:
        problem.args = tuple(
            part.replace(str(folder), url) if isinstance(part, str) else part
            for part in problem.args
        )
        raise
