"""Runs in object storage: a verb works on a folder of this machine, whose commits go there."""

import functools
import hashlib
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from isthmus.data.catalogue import cache_folder
from isthmus.errors import IsthmusError
from isthmus.storage import Remote, is_remote
from isthmus.storage.committed import Committed
from isthmus.training import Callback
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
    alone is given up.
    """

    def decorated(verb: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(verb)

        @functools.wraps(verb)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            place = kwargs.get(parameter, args[0] if args and not new else None)
            if not is_remote(place):
                return verb(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            url = str(place)
            if bound.arguments.get("ranks") is not None:
                raise IsthmusError(
                    f"ranks save to a disk that they share, and {url} is none: give a folder"
                )
            name = hashlib.sha256(url.encode()).hexdigest()[:16]
            committed = Committed(Remote(url), cache_folder() / "runs" / name)
            if not new:
                committed.fetch()
            elif committed.exists and not bound.arguments.get("overwrite"):
                raise IsthmusError(
                    f"{url} already holds a run: choose another place, pass overwrite, or go on "
                    "with it by resume"
                )
            else:
                shutil.rmtree(committed.folder, ignore_errors=True)
            bound.arguments[parameter] = committed.folder
            writes = "callbacks" in signature.parameters
            if writes:
                callbacks = bound.arguments.get("callbacks", ())
                bound.arguments["callbacks"] = [*callbacks, Pushes(committed)]
            result = verb(*bound.args, **bound.kwargs)
            if writes:
                committed.push()
            return result

        return call

    return decorated
