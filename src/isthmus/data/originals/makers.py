"""The makers by the name that a manifest gives them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.data.originals import array_sets, images, lines, series, text_sets
from isthmus.data.originals.contents import Contents
from isthmus.data.originals.published_files import Maker, Originals
from isthmus.errors import IsthmusError, MissingExtra, unknown

MAKERS: dict[str, Maker] = {
    "archive": array_sets.archive,
    "copy": lines.copy,
    "drawings": images.drawings,
    "gutenberg": text_sets.gutenberg,
    "header": lines.header,
    "idx": images.idx,
    "intents": text_sets.intents,
    "intervals": series.intervals,
    "labelled": lines.labelled,
    "matrix": array_sets.matrix,
    "newsgroups": text_sets.newsgroups,
    "pixel-rows": images.pixel_rows,
    "single-series": series.single_series,
    "tagged-words": text_sets.tagged_words,
    "ts": series.ts,
}
"""What a manifest's ``"make": {"by": NAME, ...}`` may name; the other keys are its options."""


def made(files: Mapping[str, Path], how: Mapping[str, Any]) -> Contents:
    """What the maker makes of the files, which are by the names that the manifest gives them.

    Files that are not what the maker expects are an :class:`IsthmusError`.
    """
    name = how.get("by", "")
    if name not in MAKERS:
        raise unknown("maker of a manifest", str(name), MAKERS)
    options = {key: value for key, value in how.items() if key != "by"}
    try:
        return MAKERS[name](Originals(files), **options)
    except (IsthmusError, MissingExtra):
        raise
    except Exception as problem:
        raise IsthmusError(
            f"the original files ({', '.join([*files][:3])}{', ...' if len(files) > 3 else ''}) "
            f"are not what the maker {name!r} expects ({type(problem).__name__}: {problem}): they "
            "may have changed at their source"
        ) from problem
