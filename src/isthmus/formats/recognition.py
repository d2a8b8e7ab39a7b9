"""Whose layout a folder or a file has, by the names of its files and the shapes of its tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.errors import IsthmusError, unknown
from isthmus.formats import saelens
from isthmus.formats.found import Found
from isthmus.formats.location import Location

Reader = Callable[[Location, Sequence[str]], Found]


@dataclass(frozen=True)
class Format:
    """A layout: its name, whose it is, and who recognises and who reads it."""

    name: str
    title: str
    recognises: Callable[[Location], bool]
    read: Reader


FORMATS = {
    one.name: one for one in (Format("saelens", "SAELens", saelens.recognises, saelens.read),)
}
"""All layouts that are read, the more particular ones first."""


def format_of(place: Location, asked: str | None = None) -> Format:
    """The layout of what lies there, or the one ``asked`` for.

    An error where it is none that is known, with what was found.
    """
    if asked is not None:
        if asked not in FORMATS:
            raise unknown("format", asked, FORMATS)
        return FORMATS[asked]
    for one in FORMATS.values():
        if one.recognises(place):
            return one
    inner = _several(place)
    if inner:
        shown = ", ".join(inner[:4]) + (", ..." if len(inner) > 4 else "")
        raise IsthmusError(
            f"{place} holds {len(inner)} folders and no dictionary of its own: name one of them "
            f"({shown})"
        )
    found = ", ".join(place.names[:6]) or "no file"
    raise IsthmusError(
        f"{place} is in no layout that is known here (it has {found}): known are "
        f"{', '.join(FORMATS)}; format= names one"
    )


def _several(place: Location) -> list[str]:
    return [] if place.only is not None else place.folders
