"""Saying which kind of code or part something needs: one clear error where it is another."""

from typing import TypeVar

from isthmus.errors import IsthmusError

T = TypeVar("T")


def expect(value: object, kind: type[T], what: str, asker: object) -> T:
    """``value``, which has to be a ``kind``; otherwise an :class:`IsthmusError`.

    ``what`` says what the value is of the model (``code``, ``decoder``), ``asker`` who needs it: a
    term, another part, or words.
    """
    if isinstance(value, kind):
        return value
    has = "has none" if value is None else f"has {_a(type(value).__name__)}"
    raise IsthmusError(
        f"{_said(asker)} needs {_a(kind.__name__)} as the {what}, and the model {has}: build the "
        "model with one"
    )


def _said(asker: object) -> str:
    if isinstance(asker, str):
        return asker
    name = getattr(asker, "name", None)
    return f"the term {name}" if isinstance(name, str) else type(asker).__name__


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"
