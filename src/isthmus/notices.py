"""What is read, scaled, filled, dropped or chosen on the user's behalf, said in one line each.

Nothing is guessed in silence: whoever guesses calls :func:`say`. The sentence goes to the logger
``isthmus`` (of Python's ``logging``, which writes it to stderr unless told otherwise), once a
process, and to every list that :func:`collected` has open, from where a run records it.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

logger = logging.getLogger("isthmus")

_open: ContextVar[tuple[tuple[list[str], bool], ...]] = ContextVar("open notices", default=())
_said: set[str] = set()


def say(sentence: str) -> None:
    """Say one thing that was done on the user's behalf, with the option that overrides it."""
    lists = _open.get()
    for notes, _ in lists:
        if sentence not in notes:
            notes.append(sentence)
    if sentence in _said or any(quiet for _, quiet in lists):
        return
    _said.add(sentence)
    logger.warning("%s", sentence)


@contextmanager
def collected(*, quiet: bool = False) -> Iterator[list[str]]:
    """A list that gets every sentence said meanwhile in this thread; ``quiet`` only collects."""
    notes: list[str] = []
    token = _open.set((*_open.get(), (notes, quiet)))
    try:
        yield notes
    finally:
        _open.reset(token)


@contextmanager
def tried() -> Iterator[list[str]]:
    """A list that alone gets every sentence said meanwhile: those of an attempt that may not stand.

    :func:`say` them again where it does.
    """
    notes: list[str] = []
    token = _open.set(((notes, True),))
    try:
        yield notes
    finally:
        _open.reset(token)


@contextmanager
def unless(known: Iterable[str]) -> Iterator[None]:
    """Leave out what is known: a run's record has it, and whoever fitted it has read it."""
    notes: list[str] = []
    token = _open.set(((notes, True),))
    try:
        yield
    finally:
        _open.reset(token)
        before = {*known}
        for sentence in notes:
            if sentence not in before:
                say(sentence)


def heard(earlier: Iterable[str] = ()) -> list[str]:
    """The list that is open now, for a run's record: it grows by what is yet to be said.

    ``earlier`` are the sentences of the same run that were said before, which come first. Where no
    list is open it is one that nothing is added to.
    """
    lists = _open.get()
    notes: list[str] = lists[-1][0] if lists else []
    known = dict.fromkeys((*earlier, *notes))
    notes[:] = known
    return notes


def was_said(sentence: str) -> bool:
    """Whether the sentence went to the logger already."""
    return sentence in _said


def forget() -> None:
    """Let every sentence be said once more, as in a fresh process."""
    _said.clear()
