"""The English that the resident model was trained on, and the part that it never saw."""

import json
import lzma
from collections.abc import Iterator
from functools import cache
from typing import Any

from isthmus.data import catalogue
from isthmus.data.manifest import Entry
from isthmus.data.registry import how_to_get
from isthmus.errors import IsthmusError
from isthmus.language.document import Document
from isthmus.language.masc import document_text

HELD_OUT_SHARE = 0.04
"""Share of each book's characters, at its end, cut between paragraphs."""
HELD_OUT_EVERY = 10
"""Of MASC, each tenth document."""


def gutenberg12() -> list[Document]:
    """Twelve English classics, whole."""
    return list(_gutenberg12(_entry("gutenberg12")))


def masc() -> list[Document]:
    """The 392 documents of MASC, modern American English, their spacing restored."""
    return list(_masc(_entry("masc_pos")))


def training_text() -> list[Document]:
    """What the resident model was trained on: nothing of it is in ``held_out_text()``."""
    books = [Document(book.name, _parts(book.text)[0]) for book in gutenberg12()]
    return books + [item for i, item in enumerate(masc()) if not _is_held_out(i)]


def held_out_text() -> list[Document]:
    """The last 4 % of each of the twelve books, and each tenth document of MASC."""
    books = [Document(f"{book.name} (end)", _parts(book.text)[1]) for book in gutenberg12()]
    return books + [item for i, item in enumerate(masc()) if _is_held_out(i)]


def available() -> bool:
    """Whether both corpora are here, in the folder of ISTHMUS_DATA or fetched."""
    try:
        known = catalogue.entries()
    except IsthmusError:  # it points nowhere, which matters to who asks for a corpus by name
        return False
    return all(name in known and known[name].path.is_file() for name in ("gutenberg12", "masc_pos"))


def _is_held_out(index: int) -> bool:
    return index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def _parts(text: str) -> tuple[str, str]:
    paragraphs = text.split("\n\n")
    left = HELD_OUT_SHARE * len(text)
    cut = len(paragraphs)
    while left > 0:
        cut -= 1
        left -= len(paragraphs[cut]) + 2
    return "\n\n".join(paragraphs[:cut]), "\n\n".join(paragraphs[cut:])


def _entry(name: str) -> Entry:
    entry = catalogue.entries().get(name)
    if entry is None:
        raise IsthmusError(f"the corpus {name!r} is not here: {how_to_get(name)}")
    catalogue.verify(entry)
    return entry


@cache
def _gutenberg12(entry: Entry) -> tuple[Document, ...]:
    return tuple(Document(book["title"], book["text"].strip()) for book in _lines(entry))


@cache
def _masc(entry: Entry) -> tuple[Document, ...]:
    return tuple(Document(item["id"], document_text(item["sents"])) for item in _lines(entry))


def _lines(entry: Entry) -> Iterator[dict[str, Any]]:
    with lzma.open(entry.path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)
