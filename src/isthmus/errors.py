"""The one exception users meet, and how a misspelt name is answered."""

from collections.abc import Iterable
from difflib import get_close_matches


class IsthmusError(ValueError):
    """Something the user can mend: the message names the thing and the remedy in one sentence."""


class MissingExtra(IsthmusError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}: "
            f"install it with pip install 'isthmus[{extra}]'"
        )


NO_MEMORY = "there is not enough memory for this: ask for less at once"


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether memory, a device's too, was not enough: PyTorch has several errors for that."""
    return (
        isinstance(problem, MemoryError)
        or type(problem).__name__ == "OutOfMemoryError"
        or (isinstance(problem, RuntimeError) and "allocate memory" in str(problem))
    )


def unknown(what: str, name: str, known: Iterable[str]) -> IsthmusError:
    """An error for a name that does not exist, offering the nearest right one."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(known) + "."
    return IsthmusError(f"unknown {what} {name!r}: {hint}")
