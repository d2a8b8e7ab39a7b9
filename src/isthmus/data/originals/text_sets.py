"""Texts: books of Project Gutenberg, words with their parts of speech, posts, queries."""

import csv
import io
import json
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from isthmus.data.originals.published_files import Originals

_ASCII = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "–": "-", "…": "...", "\u00a0": " "}
)
_FOREWORD = re.compile(
    r"Produced by|An Anonymous Volunteer|End of (the )?Project Gutenberg|\[Project Gutenberg"
    r"|\[Illustration|Original Transcriber|This text is a combination of etexts"
)
_AFTERWORD = "Typographical errors corrected by the etext transcriber"

_TAG = re.compile(r"(.+)_([A-Z.,:$#()'`\-]+)")

_SIGNATURE = re.compile(r"\n--+ *\n")
_QUOTED = re.compile(r"\s*[>|:]|\s*In article|.*(writes|wrote)[:.]?\s*$")


def gutenberg(files: Originals, books: Sequence[dict[str, Any]]) -> bytes:
    """A JSON object a line: number, title, author and text of each book.

    A book is ``{"file", "gutenberg_id", "title", "author"}``. What stands before and behind the
    book itself, and the notes of those who transcribed it, are left out; lines are joined to
    paragraphs with an empty line between, quotes and dashes are ASCII, and underscores go.
    """
    records = []
    for book in books:
        about = {key: value for key, value in book.items() if key != "file"}
        records.append({**about, "text": _book(files.text(book["file"]))})
    return _json_lines(records)


def _book(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\ufeff", "")
    _, text = re.split(r"\*\*\* ?START OF.*?\n", text, maxsplit=1)
    text, _ = re.split(r"\*\*\* ?END OF", text, maxsplit=1)
    text = text.translate(_ASCII).replace("_", "")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    ends = [i for i, part in enumerate(paragraphs) if part.startswith(_AFTERWORD)]
    body = paragraphs[: ends[0] if ends else None]
    return "\n\n".join(part for part in body if part and not _FOREWORD.match(part)) + "\n"


def tagged_words(files: Originals, genres: str) -> bytes:
    """A JSON object a line: a document's name, category, genre and sentences of ``word_TAG``.

    The archive has a document a file, a sentence a line, in a folder that is its category, and the
    list ``genres`` of files with theirs. Words without a word or without a tag are left out.
    """
    members = {name.partition("/")[2]: text for name, text in files.members(".txt").items()}
    genre_of = dict(line.split() for line in members[genres].decode().split("\n") if line.strip())
    records = []
    for name, content in members.items():
        if "/" not in name:
            continue
        sentences = [
            " ".join(word for word in line.split() if _TAG.fullmatch(word))
            for line in content.decode().split("\n")
        ]
        records.append({
            "id": name.removesuffix(".txt"), "category": name.partition("/")[0],
            "genre": genre_of.get(name, "?"), "sents": [line for line in sentences if line],
        })  # fmt: skip
    return _json_lines(records)


def newsgroups(
    files: Originals,
    each: int = 150,
    least: int = 200,
    most: int = 4000,
    cut: int = 1500,
    letters: float = 0.75,
    seed: int = 0,
) -> bytes:
    """A table of ``label`` and ``text``: so many posts of each group, drawn by ``seed``.

    Headers, quotes and signatures go, addresses become ``<email>``, and runs of blanks one. Posts
    of fewer than ``least`` or more than ``most`` characters, and those of which less than the share
    ``letters`` are letters and blanks, are passed over; others are ``cut`` to so many characters.
    """
    groups: dict[str, list[bytes]] = {}
    for name, content in files.members().items():
        groups.setdefault(name.split("/")[-2], []).append(content)
    rng = np.random.default_rng(seed)
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["label", "text"])
    for group in sorted(groups):
        posts = groups[group]
        texts = (_post(posts[i]) for i in rng.permutation(len(posts)))
        prose = (t for t in texts if least <= len(t) <= most and _prose(t) >= letters)
        table.writerows([group, text[:cut]] for text in islice(prose, each))
    return buffer.getvalue().encode()


def _post(content: bytes) -> str:
    body = content.decode("latin-1").replace("\r\n", "\n").partition("\n\n")[2]
    body = _SIGNATURE.split(body, maxsplit=1)[0]
    text = "\n".join(line for line in body.split("\n") if not _QUOTED.match(line))
    text = re.sub(r"\S+@\S+", "<email>", text)
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _prose(text: str) -> float:
    """The share of letters and blanks."""
    return sum(c.isalpha() or c.isspace() for c in text) / len(text)


PARTS = ("train", "val", "test")
_NO_INTENT = "oos"


def intents(files: Originals, queries: str, domains: str) -> bytes:
    """A table of ``split``, ``domain``, ``intent`` and ``text``, as Larson et al. 2019 publish it.

    ``queries`` is a JSON file of pairs (text, intent) for each part, those without an intent apart;
    ``domains`` one of the intents of each domain.
    """
    splits = json.loads(files.text(queries))
    domain = {
        intent: name for name, some in json.loads(files.text(domains)).items() for intent in some
    }
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["split", "domain", "intent", "text"])
    for part, key in [(p, p) for p in PARTS] + [(p, f"{_NO_INTENT}_{p}") for p in PARTS]:
        table.writerows(
            [part, _NO_INTENT if intent == _NO_INTENT else domain[intent], intent, text]
            for text, intent in splits[key]
        )
    return buffer.getvalue().encode()


def _json_lines(items: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items).encode()
