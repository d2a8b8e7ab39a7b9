"""Data sets by name."""

import os
from difflib import get_close_matches

from isthmus.data import catalogue
from isthmus.data.bundled import BUNDLED
from isthmus.data.named import Data
from isthmus.errors import IsthmusError


def names() -> list[str]:
    """The names that :func:`load` knows, sorted.

    Sets that consist of telemetry channels are not listed; they take the channel after a colon
    ("smap:P-1").
    """
    listed = catalogue.entries().items()
    plain = (n for n, e in listed if catalogue.is_plain(e) and not catalogue.has_channels(e))
    return sorted({*BUNDLED, *plain})


def load(name: str) -> Data:
    """The data set of that name.

    Always there: "digits", "breast-cancer", "wine", "iris", "diabetes" (from scikit-learn) and
    "planted", "sprites" (made). Others come from the folder that the environment variable
    ISTHMUS_DATA names, by their file's stem ("mnist"); their checksums are verified. Case does
    not matter, nor does a dash for an underscore. An unknown name is an :class:`IsthmusError`
    that offers the nearest right one.
    """
    bundled = {_key(n): make for n, make in BUNDLED.items()}
    if _key(name) in bundled:
        return bundled[_key(name)]()
    entries = catalogue.entries()
    listed = {_key(n).rsplit("/", 1)[-1]: entry for n, entry in entries.items()}
    listed.update({_key(n): entry for n, entry in entries.items()})
    head, _, channel = name.partition(":")
    if _key(head) not in listed:
        raise _unknown(name, [*BUNDLED, *(e.name for e in listed.values())])
    return catalogue.read(listed[_key(head)], channel or None)


def is_name(text: object) -> bool:
    """Whether ``text`` names a data set; a file or folder of that name is then ``./name``."""
    if not isinstance(text, str):
        return False
    try:
        listed = catalogue.entries()
    except IsthmusError:  # ISTHMUS_DATA points nowhere, which only matters to who loads from there
        listed = {}
    known = {_key(n) for n in (*BUNDLED, *listed)} | {_key(n).rsplit("/", 1)[-1] for n in listed}
    return _key(text.partition(":")[0]) in known


def _unknown(name: str, known: list[str]) -> IsthmusError:
    """The error for a name in no list, which says when a whole list is missing."""
    keys = {_key(n): n for n in known}
    near = get_close_matches(_key(name), keys, n=1, cutoff=0.6)
    hint = f"did you mean {keys[near[0]]!r}" if near else f"known are {', '.join(sorted(names()))}"
    if not os.environ.get(catalogue.VARIABLE):
        hint += f"; more are found once {catalogue.VARIABLE} names the folder of data sets"
    return IsthmusError(f"unknown data set {name!r}: {hint}")


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "-")
