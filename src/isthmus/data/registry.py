"""Data sets by name."""

import os
from difflib import get_close_matches

from isthmus.data import catalogue, public
from isthmus.data.bundled import BUNDLED
from isthmus.data.named import Data
from isthmus.data.public import key
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
    ISTHMUS_DATA names, or were fetched (:func:`isthmus.data.fetch`), by their file's stem
    ("mnist"); their checksums are verified. Case does not matter, nor does a dash for an
    underscore. An unknown name is an :class:`IsthmusError` that offers the nearest right one, and
    of a public set that is not here it says how to fetch it.
    """
    bundled = {key(n): make for n, make in BUNDLED.items()}
    if key(name) in bundled:
        return bundled[key(name)]()
    entries = catalogue.entries()
    listed = {key(n).rsplit("/", 1)[-1]: entry for n, entry in entries.items()}
    listed.update({key(n): entry for n, entry in entries.items()})
    head, _, channel = name.partition(":")
    if key(head) not in listed:
        raise _unknown(name, [*BUNDLED, *(e.name for e in listed.values())])
    return catalogue.read(listed[key(head)], channel or None)


def is_name(text: object) -> bool:
    """Whether ``text`` names a data set; a file or folder of that name is then ``./name``."""
    if not isinstance(text, str):
        return False
    try:
        listed = catalogue.entries()
    except IsthmusError:  # ISTHMUS_DATA points nowhere, which only matters to who loads from there
        listed = {}
    keys = {key(n) for n in (*BUNDLED, *listed)} | {key(n).rsplit("/", 1)[-1] for n in listed}
    return key(text.partition(":")[0]) in keys


def how_to_get(*missing: str) -> str:
    """What to do about sets that are not here: fetch them, or name the folder that has them."""
    place = os.environ.get(catalogue.VARIABLE)
    advice = f"set {catalogue.VARIABLE} to the folder that has it"
    folder = f"{place} lacks it" if place else advice
    sets = [public.found(name) for name in missing]
    if all(one is not None and one.can_be_fetched for one in sets):
        fetch = f"fetch it with 'isthmus data fetch {' '.join(missing)}'"
        return f"{folder}, {fetch}" if place else f"{fetch}, or {folder}"
    return folder


def _unknown(name: str, known: list[str]) -> IsthmusError:
    """The error for a name in no list, which says when a whole list is missing."""
    one = public.found(name.partition(":")[0])
    if one is not None:
        return IsthmusError(f"the data set {one.name!r} is not here: {how_to_get(one.name)}")
    keys = {key(n): n for n in known}
    near = get_close_matches(key(name), keys, n=1, cutoff=0.6)
    hint = f"did you mean {keys[near[0]]!r}" if near else f"known are {', '.join(sorted(names()))}"
    if not os.environ.get(catalogue.VARIABLE):
        hint += (
            f"; more are found once {catalogue.VARIABLE} names the folder of data sets, and "
            "'isthmus data' lists those that can be fetched"
        )
    return IsthmusError(f"unknown data set {name!r}: {hint}")
