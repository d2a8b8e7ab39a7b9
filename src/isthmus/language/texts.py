"""Texts by name, by file, generated, or written by the resident model."""

from collections.abc import Callable
from pathlib import Path

from isthmus.data import catalogue, public
from isthmus.data.registry import how_to_get
from isthmus.errors import IsthmusError, unknown
from isthmus.language import corpus
from isthmus.language.document import Document
from isthmus.language.knowledge import generated_text, mixed_held_out_text, mixed_training_text
from isthmus.language.resident_texts import samples
from isthmus.language.text_files import is_text_file, read_file, read_folder

_CORPORA = {
    "gutenberg12": corpus.gutenberg12,
    "masc": corpus.masc,
    "held-out": corpus.held_out_text,
    "training": corpus.training_text,
    "circuits-training": mixed_training_text,
    "circuits-held-out": mixed_held_out_text,
}
_NUMBERED: dict[str, Callable[[int], list[Document]]] = {
    "samples": samples,
    "generated": generated_text,
}
NUMBER = 256
"""Documents of ``samples`` and of ``generated``."""


def default_text() -> str:
    """What to read where nothing is said.

    ``held-out`` (English that the resident model was not trained on) where its texts
    are here (in the folder of ISTHMUS_DATA, or fetched), else ``samples``.
    """
    return "held-out" if corpus.available() else "samples"


def documents(spec: str) -> list[Document]:
    """The documents that a name or a path stands for; empty ones are left out.

    - ``gutenberg12``, ``masc``: whole corpora; ``training``, ``held-out``: the part of both that
      the resident model was trained on, and the part that it never saw
    - ``generated``, ``generated:1000``: so many passages of :mod:`isthmus.language.knowledge`,
      which need no data; ``circuits-training``, ``circuits-held-out``: what ``resident-circuits``
      was trained on, 3.9 M tokens of English and 4.3 M of such passages, and English and passages
      that it never saw
    - ``samples``, ``samples:1000``: so many texts that the resident model wrote itself; the same
      each time, and no data are needed
    - ``notes.txt``, ``rows.jsonl``, ``rows.csv``, ``rows.tsv``, also ``.gz``, ``.xz`` or ``.bz2``;
      ``rows.csv:column`` where the text is not in the column ``text``
    - a folder: all ``.txt`` in it and below
    - a text of ISTHMUS_DATA, or that was fetched, by its file's name: ``tinyshakespeare``,
      ``sentence_polarity``

    Raises ``IsthmusError`` where nothing is found, or nothing but empty text.
    """
    texts = [document for document in _found(spec) if document.text.strip()]
    if not texts:
        raise IsthmusError(f"{spec!r} holds no text: name a text that is not empty")
    return texts


def _found(spec: str) -> list[Document]:
    if spec in _CORPORA:
        return _CORPORA[spec]()
    kind, _, number = spec.partition(":")
    if kind in _NUMBERED:
        if number and not (number.isascii() and number.isdigit() and int(number) > 0):
            raise IsthmusError(f"{spec!r} names no number of texts: write it as '{kind}:1000'")
        return _NUMBERED[kind](int(number) if number else NUMBER)
    for place, column in _places(spec):
        path = Path(place).expanduser()
        if path.is_dir():
            return read_folder(path)
        if path.is_file():
            return read_file(path, column)
    named = {e.name: e for e in catalogue.entries().values() if is_text_file(e.path)}
    for place, column in _places(spec):
        if place in named:
            catalogue.verify(named[place])
            return read_file(named[place].path, column)
    if is_text_file(Path(_places(spec)[-1][0])):
        raise IsthmusError(f"there is no file {spec!r}: check its path")
    missing = public.found(_places(spec)[-1][0])
    if missing is not None:
        raise IsthmusError(f"the text {missing.name!r} is not here: {how_to_get(missing.name)}")
    raise unknown("text", spec, [*_CORPORA, *_NUMBERED, *named])


def _places(spec: str) -> list[tuple[str, str | None]]:
    """The spec as a place, and as ``place:column``."""
    place, colon, column = spec.rpartition(":")
    return [(spec, None), (place, column)] if colon and place and column else [(spec, None)]
