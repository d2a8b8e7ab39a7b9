"""One call that fits: what it says is heard, and the folders that it writes are its own."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from isthmus import notices
from isthmus.training.lock import claims

P = ParamSpec("P")
T = TypeVar("T")


def session(function: Callable[P, T]) -> Callable[P, T]:
    """Of a function that fits: collects every sentence said meanwhile, for the run's record.

    :func:`isthmus.notices.heard` is the list of them. What :func:`isthmus.training.lock.claim`
    takes is held to its end.
    """

    @functools.wraps(function)
    def whole(*args: P.args, **options: P.kwargs) -> T:
        with notices.collected(), claims():
            return function(*args, **options)

    return whole
