"""Labelled texts: what sparse probing, SCR and TPP ask about.

Texts whose attributes are made, and such as lie in the folder of ISTHMUS_DATA; or the user's own
table of texts and labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import notices
from isthmus.data import catalogue
from isthmus.dictionary_benchmark.attributed_texts import ATTRIBUTES, attributed_texts
from isthmus.errors import IsthmusError, unknown
from isthmus.language.text_files import read_rows

MOST_CLASSES = 5
"""Classes of one attribute that are asked about: those of most texts; ties go by name."""

LEAST = 12
"""Texts that a class needs at least."""


@dataclass(frozen=True, eq=False)
class TextSet:
    """Texts with labels: ``labels`` has for each attribute one class for each text."""

    name: str
    texts: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.texts)

    def classes(self, attribute: str) -> tuple[str, ...]:
        """The classes of an attribute, sorted."""
        return tuple(sorted(set(self.labels[attribute])))

    def of(self, attribute: str, label: str) -> np.ndarray:
        """Which texts are of a class, bool ``(texts,)``."""
        return np.array([one == label for one in self.labels[attribute]])


@dataclass(frozen=True)
class _Known:
    """A table among the catalogue's: its text columns, joined, and the column of its labels."""

    entry: str
    columns: tuple[str, ...]
    label: str


_OFFLINE = {
    "headlines": _Known("ag_news_test", ("title", "description"), "label"),
    "questions": _Known("trec", ("text",), "coarse"),
    "newsgroups": _Known("newsgroups20_sample", ("text",), "label"),
    "sentiment": _Known("sentence_polarity", ("text",), "label"),
}


def offline_texts(each: int, seed: int = 0) -> list[TextSet]:
    """Made texts, and of those in the folder of ISTHMUS_DATA what is there.

    ``each`` texts of each class, drawn by ``seed``.
    """
    generated = attributed_texts(len(ATTRIBUTES) * each, seed)
    sets = [TextSet("made", generated.texts, generated.labels)]
    try:
        known = catalogue.entries()
    except IsthmusError:  # it points nowhere: what needs no data is still there
        return sets
    for name, one in _OFFLINE.items():
        entry = known.get(one.entry)
        if entry is not None and entry.path.is_file():
            catalogue.verify(entry)
            rows = read_rows(entry.path)
            texts = [". ".join(str(row[column]) for column in one.columns) for row in rows]
            labels = {"class": [str(row[one.label]) for row in rows]}
            sets.append(chosen_texts(name, texts, labels, each, seed))
    return sets


def user_texts(
    path: str | Path, text: str, labels: Sequence[str], each: int, seed: int = 0
) -> TextSet:
    """The texts of a table (.csv, .tsv, .jsonl), in the column ``text``, with columns of labels.

    ``each`` texts of each class of the first attribute, drawn by ``seed``; rows that lack the text
    or a label, and texts that stood before, are left out, which is said.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise IsthmusError(f"there is no file {str(path)!r}: name a table of texts and labels")
    if not labels:
        raise IsthmusError(f"no column of labels was named: pass those of {str(path)!r}")
    if len({text, *labels}) < 1 + len(labels):
        raise IsthmusError("a column is named twice: name the text and each column of labels once")
    rows = read_rows(place)
    if not rows:
        raise IsthmusError(f"{str(path)!r} has no rows: name a table of texts and labels")
    columns = [name for name in rows[0] if isinstance(name, str)] if rows else []
    for name in (text, *labels):
        if name not in columns:
            raise unknown(f"column of {str(path)!r}", name, columns)
    whole = [row for row in rows if not any(_is_gap(row.get(name)) for name in (text, *labels))]
    distinct = list({str(row[text]): row for row in reversed(whole)}.values())[::-1]
    for number, why in (
        (len(rows) - len(whole), "lack the text or a label"),
        (len(whole) - len(distinct), "repeat the text of another"),
    ):
        if number:
            notices.say(f"{number:,} of {len(rows):,} rows of {place.name} {why}: left out")
    whole = distinct
    return chosen_texts(
        place.name.partition(".")[0],
        [str(row[text]) for row in whole],
        {name: [str(row[name]) for row in whole] for name in labels},
        each,
        seed,
    )


def _is_gap(cell: Any) -> bool:
    """Nothing, blanks, or a NaN."""
    return cell is None or cell != cell or not str(cell).strip()


def chosen_texts(
    name: str,
    texts: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    each: int,
    seed: int,
) -> TextSet:
    """``each`` texts of each of the commonest classes, drawn by ``seed``, in their own order.

    With several attributes they are drawn evenly from all combinations of classes, so that none
    tells another.
    """
    keep = np.ones(len(texts), dtype=bool)
    for column in labels.values():
        names, counts = np.unique(np.array(column), return_counts=True)
        order = sorted(zip(-counts, names, strict=True))[:MOST_CLASSES]
        large = [label for count, label in order if -count >= LEAST]
        if len(large) < 2:
            raise IsthmusError(
                f"{name!r} has fewer than two classes of {LEAST} texts: give more texts"
            )
        keep &= np.isin(np.array(column), large)
    cells = np.array(["\0".join(row) for row in zip(*labels.values(), strict=True)])
    groups = [np.flatnonzero(keep & (cells == cell)) for cell in np.unique(cells[keep])]
    first = next(iter(labels.values()))
    number = len({first[i] for group in groups for i in group[:1]})
    share = max(1, each * number // len(groups))
    if len(labels) > 1:
        share = min(share, *(len(group) for group in groups))
    rng = np.random.default_rng([seed, 71])
    index = np.sort(np.concatenate([rng.permutation(group)[:share] for group in groups]))
    return TextSet(
        name,
        tuple(texts[i] for i in index),
        {key: tuple(column[i] for i in index) for key, column in labels.items()},
    )
