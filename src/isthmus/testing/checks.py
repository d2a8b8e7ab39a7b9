"""One check, with a name."""

import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.errors import IsthmusError


@dataclass(frozen=True)
class Check:
    """A contract of ``subject``. Calling it raises ``AssertionError`` where it is broken.

    A check that does not apply raises ``unittest.SkipTest``, which test runners understand.
    """

    subject: str
    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        try:
            self.run()
        except IsthmusError as problem:
            raise AssertionError(
                f"{self.subject}: {self.name}: it was refused: {problem}"
            ) from problem

    def __str__(self) -> str:
        return f"{self.subject}-{self.name}"


def run_all(checks: Sequence[Check]) -> None:
    """Run checks one after another; those that do not apply are passed over."""
    for check in checks:
        try:
            check()
        except unittest.SkipTest:
            continue
