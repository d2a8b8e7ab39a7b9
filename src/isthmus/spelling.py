"""Two spellings of one word: names of options are British here, and American ones are understood.

>>> from isthmus.spelling import folded, known_names
>>> folded("optimizer_options")
'optimiser_options'
>>> known_names({"optimizer": "sgd"}, ["optimiser", "lr"])
{'optimiser': 'sgd'}
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from isthmus.errors import IsthmusError

_RULES = [
    (re.compile(pattern), british)
    for pattern, british in (
        (r"(?<=[a-z]{3})(?<!s)iz(?=(e|ed|er|ers|es|ing|ation|ations)(?![a-z]))", "is"),
        (r"(?<![a-z])analyz", "analys"),
        (r"(?<![a-z])center(?=(s|ed)?(?![a-z]))", "centre"),
        (r"(?<![a-z])centreed", "centred"),
        (r"(?<![a-z])centering", "centring"),
        (r"(?<![a-z])(col|neighb|behavi|fav)or", r"\1our"),
        (r"(?<![a-z])gray", "grey"),
        (r"(?<![a-z])(label|model|signal|cancel)(?=e[dr]|ing)", r"\1l"),
        (r"(?<![a-z])catalog(?!ue)", "catalogue"),
        (r"(?<![a-z])license", "licence"),
    )
]


def folded(name: str) -> str:
    """A name as it is spelt here."""
    for pattern, british in _RULES:
        name = pattern.sub(british, name)
    return name


def known_names(given: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What was given, in the same order, by the names that are known.

    A name that is not known, but is one in the other spelling, stands for that; both at once are
    an :class:`IsthmusError`. All others stay as they are.
    """
    names = set(known)
    others = {folded(name): name for name in sorted(names)}
    values: dict[str, Any] = {}
    spellings: dict[str, str] = {}
    for name, value in given.items():
        key = name if name in names else others.get(folded(name), name)
        if key in values:
            raise IsthmusError(
                f"{spellings[key]} and {name} are one option in two spellings: leave out one of "
                "them"
            )
        values[key], spellings[key] = value, name
    return values


def known_value(given: Any, known: Iterable[Any]) -> Any:
    """The one of the values that are known which is given in the other spelling, else as given.

    None is the word ``none`` where that is known: the command line reads the word as None.
    """
    values = [value for value in known if isinstance(value, str)]
    if given is None and "none" in values:
        return "none"
    if not isinstance(given, str) or given in values:
        return given
    return next((value for value in values if folded(value) == folded(given)), given)
