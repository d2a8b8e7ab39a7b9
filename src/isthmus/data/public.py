"""Public data sets that the library knows: where they come from, and how they are made and read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from isthmus.data.layouts import Layout, layout_of

MANIFEST = Path(__file__).with_name("manifest.json")


@dataclass(frozen=True)
class PublicSet:
    """One public data set.

    ``file`` is where it stands in a folder of data sets, and ``contents`` the SHA-256 of what it
    holds there (:func:`isthmus.data.originals.contents`). ``at`` is the address below which its
    ``originals`` are, by name with their SHA-256 (None where nobody states it); ``make`` says what
    makes the set of them. Both are empty where the set cannot be fetched, and ``why`` says why.
    ``size`` is that of the file in bytes, ``download`` that of the originals where it is known.
    """

    name: str
    title: str
    what: str
    rows: str
    licence: str
    citation: str
    source: str
    file: str
    size: int
    contents: str
    read: Mapping[str, Any]
    at: str = ""
    originals: Mapping[str, str | None] = field(default_factory=dict)
    make: Mapping[str, Any] = field(default_factory=dict)
    download: int | None = None
    why: str = ""

    @property
    def layout(self) -> Layout:
        """How its file is read."""
        return layout_of(self.read)

    @property
    def can_be_fetched(self) -> bool:
        """Whether its originals have addresses, and something makes the set of them."""
        return bool(self.originals)


@cache
def sets() -> dict[str, PublicSet]:
    """All of them by name, sorted."""
    listed = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return {item["name"]: PublicSet(**item) for item in sorted(listed, key=lambda i: i["name"])}


def found(name: str) -> PublicSet | None:
    """The set of that name: case and a dash for an underscore do not matter, nor does its folder.

    None where there is none.
    """
    for one in sets().values():
        if key(one.name) == key(name):
            return one
    for one in sets().values():
        if key(one.name).rpartition("/")[2] == key(name):
            return one
    return None


def key(name: str) -> str:
    """A name as names are compared."""
    return name.strip().lower().replace("_", "-")
