"""``work.json``: what is to be done in a folder, so that a process needs nothing but the folder."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.runs import write_atomically
from isthmus.workers.lease import STALE, holders
from isthmus.workers.loop import LEASES, TRIALS

FILE = "work.json"
FORMAT = 1


@dataclass(frozen=True)
class Assignment:
    """What is to be done: ``kind`` of work, its ``settings``, and threads of each process.

    ``key`` names the data and the settings, where a process may find others under the same names.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    key: str = ""


def assigned(folder: Path, work: Assignment, stale: float = STALE) -> bool:
    """Write down what is to be done; whether it is the same as before, and goes on.

    Results of other work are dropped. Raises :class:`IsthmusError` while processes are at other
    work there.
    """
    before = _read(folder / FILE)
    if before == work:
        return True
    at_work = list(holders(folder / LEASES, stale))
    if at_work:
        raise IsthmusError(
            f"{len(at_work)} processes are at other work in {folder} (one is {at_work[0]['pid']} "
            f"on {at_work[0]['host']}): wait for them, or choose another folder"
        )
    for name in (LEASES, TRIALS):
        shutil.rmtree(folder / name, ignore_errors=True)
    text = json.dumps({"format": FORMAT, **asdict(work)}, indent=1) + "\n"
    write_atomically(folder / FILE, text.encode())
    return False


def read_assignment(folder: Path) -> Assignment:
    """What is to be done in a folder; an :class:`IsthmusError` where nothing was written down."""
    work = _read(folder / FILE)
    if work is None:
        raise IsthmusError(
            f"{folder} holds no work ({FILE}): write it down by isthmus compare or "
            "reproduce with --prepare"
        )
    return work


def _read(path: Path) -> Assignment | None:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["format"] > FORMAT:
            raise IsthmusError(f"{path} was written by a newer version: upgrade isthmus")
        work = Assignment(plain["kind"], plain["settings"], plain["threads"], plain["key"])
        if not isinstance(work.settings, dict) or not work.threads >= 1:
            raise ValueError("settings")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsthmusError:
        raise
    except OSError as problem:
        raise IsthmusError(f"cannot read {path}: {problem.strerror or problem}") from None
    except (ValueError, KeyError, TypeError):
        raise damaged(path.parent) from None
    return work


def damaged(folder: Path) -> IsthmusError:
    """An error for a folder whose work cannot be read."""
    return IsthmusError(
        f"{folder / FILE} is damaged or was edited: delete it and prepare the work again"
    )
