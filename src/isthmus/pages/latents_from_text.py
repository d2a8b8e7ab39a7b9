"""The latents of a dictionary on a language model, from the features stored beside its run."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.interpretation.features.format import (
    AGAIN,
    COLUMNS,
    EXAMPLES,
    LATENTS,
    Lists,
    read_about,
    read_columns,
)
from isthmus.interpretation.labels.table import LABELS
from isthmus.pages import interesting
from isthmus.pages.kit.blocks import Binary, Detail, number, packed, short
from isthmus.pages.latents import CHUNK, Column, Latents
from isthmus.pages.stored_labels import Labels, read_labels
from isthmus.pages.vocabulary import Vocabulary

ROOM = 24 << 20
"""Characters that the details may take in a page."""

LIMITS = ((100, 100), (24, 8), (20, 6), (16, 5), (12, 4), (10, 3), (8, 2), (6, 1), (4, 1), (2, 0))
"""Strongest examples, and examples of each decile, that a latent may show; the first that fit."""

FEATURED = 6
"""Latents that the page opens with."""

SAMPLED = 4
"""Chunks whose size says how large all will be."""

SHOWN = ("group", "document", "place", "begin")


def text_latents(folder: Path) -> Latents:
    """The latents of a features folder; :class:`IsthmusError` where one of its files is unsound."""
    about = read_about(folder)
    table = read_columns(folder / LATENTS, COLUMNS["latents"])
    if not len(table["latent"]):
        raise IsthmusError(f"{folder / LATENTS} has no rows: {AGAIN}")
    order = np.argsort(table["latent"], kind="stable")
    table = {k: v.taken(order) if isinstance(v, Lists) else v[order] for k, v in table.items()}
    vocabulary = Vocabulary()
    for name in ("tokens", "up", "down"):
        table[name] = _renumbered(table[name], vocabulary)
    labels = read_labels(folder / LABELS, table["latent"])
    examples = _Examples.read(folder / EXAMPLES, table["latent"], vocabulary)
    details = _Details(table, labels, examples, vocabulary)
    note = details.fit()
    first = [labels[i][0] if i in labels else None for i in range(len(order))]
    scores = [label["scores"][0][1] if label and label["scores"] else None for label in first]
    words, rows = vocabulary.words(), int(about.get("tokens") or 0)
    interest = _interest(table, scores, words, rows)
    return Latents(
        ids=table["latent"],
        columns=[
            Column("interest", "interest", interesting.ABOUT, interest),
            *_columns(table, scores),
        ],
        order="interest",
        featured=interesting.picked(interest, _signs(table, words), FEATURED),
        featured_about=f"chosen by interest, {interesting.ABOUT}",
        details=details,
        labels=[label["label"] if label else None for label in first] if labels else [],
        tokens=[table["tokens"][i].tolist() for i in range(len(order))],
        vocabulary=words,
        rates=table["rate"],
        rates_of=(rows, "tokens"),
        points=_points(table),
        points_about="decoder directions in the plane",
        setting={
            "kind": "text",
            "wide": len(vocabulary) > 1 << 16,
            "joint_about": str(about.get("joint") or ""),
        },
        about=_said(about),
        notes=[note] if note else [],
    )


def _interest(
    table: dict[str, Any], scores: list[float | None], words: list[str], rows: int
) -> np.ndarray:
    """Which latents are worth looking at; see :mod:`isthmus.pages.interesting`."""
    tokens, shares = list(table["tokens"]), list(table["token_shares"])
    information = interesting.tells_of_tokens(words, tokens, shares, table["rate"])
    coherence = np.maximum(information, interesting.above_chance(scores))
    norms = np.nan_to_num(table["norm"], nan=1.0)
    return interesting.interest(table["rate"], rows, coherence, np.abs(table["mean"]) * norms)


def _signs(table: dict[str, Any], words: list[str]) -> list[frozenset[int]]:
    """The token that a latent fires on most, whatever its capitals and the spaces about it."""
    number: dict[str, int] = {}
    return [
        frozenset(number.setdefault(words[k].strip().casefold(), len(number)) for k in tokens[:1])
        for tokens in table["tokens"]
    ]


def _said(about: dict[str, Any]) -> str:
    """Of what the features are, in a few words."""
    tokens = about.get("tokens")
    text = f"{tokens:,} tokens" if isinstance(tokens, int) else "an unknown number of tokens"
    for word, key in (("of", "text"), ("at", "point"), ("of", "model"), (", revision", "revision")):
        if about.get(key):
            text += f" {word} {about[key]}"
    return text.replace(" , ", ", ")


def _points(table: dict[str, Any]) -> np.ndarray | None:
    """The map; None where the features have none, and all its points are one."""
    points = np.stack([table["x"], table["y"]], 1)
    finite = points[np.isfinite(points).all(1)]
    return points if len(finite) and np.ptp(finite, axis=0).max() > 0 else None


def _renumbered(lists: Lists, vocabulary: Vocabulary) -> Lists:
    """The same lists with their words in the page's vocabulary."""
    numbers = vocabulary.add(lists.words)
    flat = numbers[lists.flat] if len(lists.flat) else lists.flat
    return Lists(flat, lists.start, [])


def _columns(table: dict[str, Any], scores: list[float | None]) -> list[Column]:
    closest = np.full(len(table["latent"]), np.nan)
    some = table["near_cosine"].lengths > 0
    closest[some] = table["near_cosine"].flat[table["near_cosine"].start[:-1][some]]
    columns = [
        Column("rate", "fires", "share of the tokens on which it fires", table["rate"], "share"),
        Column("mean", "mean", "mean value where it fires", table["mean"]),
        Column("top", "largest", "largest value", table["top"]),
        Column("norm", "norm", "norm of its decoder direction", table["norm"]),
        Column("cosine", "nearest", "largest cosine with another latent's direction", closest),
    ]
    values = np.array([np.nan if score is None else score for score in scores])
    if np.isfinite(values).any():
        columns.append(Column("score", "score", "score of its label", values))
    return columns


@dataclass
class _Examples:
    """Examples sorted by latent, then group (0, then from 10 down), then value, strongest first.

    ``start[i]`` is the first of the latent at place ``i``; ``rank`` numbers those of one latent and
    group.
    """

    columns: dict[str, np.ndarray]
    tokens: Lists
    values: Lists
    start: np.ndarray
    rank: np.ndarray

    @classmethod
    def read(cls, path: Path, latents: np.ndarray, vocabulary: Vocabulary) -> "_Examples":
        table = read_columns(path, COLUMNS["examples"], {"values": "float32"})
        tokens, values = _renumbered(table.pop("tokens"), vocabulary), table.pop("values")
        if not len(tokens.flat):  # of activations without a text
            values = Lists(values.flat[:0], tokens.start, [])
        if not np.array_equal(tokens.start, values.start):
            raise IsthmusError(f"{path} has examples of unequal lengths: {AGAIN}")
        place = np.searchsorted(latents, table["latent"]).clip(0, len(latents) - 1)
        matches = np.flatnonzero(latents[place] == table["latent"])
        turn = np.where(table["group"] == 0, 11, table["group"])
        keys = (-np.abs(table["value"]), -turn, place)
        order = matches[np.lexsort(tuple(key[matches] for key in keys))]
        values = Lists(np.nan_to_num(values.flat), values.start, [])
        columns = {name: column[order] for name, column in table.items()}
        at = place[order]
        key = at * 16 + turn[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        lengths = np.diff(np.append(first, len(key)))
        rank = np.arange(len(key)) - np.repeat(first, lengths)
        start = np.searchsorted(at, np.arange(len(latents) + 1))
        return cls(columns, tokens.taken(order), values.taken(order), start, rank)


class _Details:
    """What is shown of each latent, with as many examples as the page has room for."""

    def __init__(
        self,
        table: dict[str, Any],
        labels: Labels,
        examples: _Examples,
        vocabulary: Vocabulary,
    ) -> None:
        self.table, self.labels, self.examples = table, labels, examples
        self.limit = LIMITS[0]
        self.dtype = np.uint16 if len(vocabulary) <= 1 << 16 else np.uint32

    def __call__(self, start: int, stop: int) -> tuple[list[Detail], bytes]:
        binary = Binary()
        details = [self._detail(i) for i in range(start, stop)]
        for detail, examples in zip(details, self._examples(start, stop, binary), strict=True):
            detail["examples"] = examples
        return details, binary.bytes()

    def fit(self) -> str:
        """Choose how many examples there is room for; says what is left out, if anything is."""
        latents, total = len(self.table["latent"]), len(self.examples.rank)
        bare, each = self._sizes()
        for self.limit in LIMITS:
            number = len(self._chosen(0, latents))
            if bare * latents + each * number <= ROOM:
                break
        if number == total:
            return ""
        top, decile = self.limit
        return (
            f"Of each latent at most {top} of the strongest examples and {decile} of every decile "
            f"are shown; {total - number:,} of {total:,} examples are left out to keep the page "
            "small."
        )

    def _sizes(self) -> tuple[float, float]:
        """Characters that a latent takes without examples, and that one example takes."""
        latents = len(self.table["latent"])
        starts = range(0, latents, CHUNK)
        bare = full = sampled = examples = 0
        for a in starts[:: max(1, len(starts) // SAMPLED)]:
            b = min(a + CHUNK, latents)
            details, binary = self(a, b)
            full += len(packed(details, binary))
            sampled, examples = sampled + b - a, examples + len(self._chosen(a, b))
            for detail in details:
                del detail["examples"]
            bare += len(packed(details))
        return bare / sampled, (full - bare) / max(1, examples)

    def _chosen(self, start: int, stop: int) -> np.ndarray:
        """The examples of these latents that are within the limits."""
        part = slice(*self.examples.start[[start, stop]])
        top, each = self.limit
        strongest = self.examples.columns["group"][part] == 0
        mask = self.examples.rank[part] < np.where(strongest, top, each)
        return part.start + np.flatnonzero(mask)

    def _detail(self, i: int) -> Detail:
        table = self.table
        detail: Detail = {
            "tokens": _pairs(table["tokens"][i], table["token_shares"][i]),
            "up": _pairs(table["up"][i], table["up_values"][i]),
            "down": _pairs(table["down"][i], table["down_values"][i]),
            "near": _pairs(table["near"][i], table["near_cosine"][i]),
            "joint": _pairs(table["joint"][i], table["joint_value"][i]),
        }
        if len(table["histogram"][i]):
            detail["h"] = short(table["histogram"][i])
            detail["hr"] = short((table["histogram_low"][i], table["histogram_high"][i]))
        if i in self.labels:
            detail["labels"] = self.labels[i]
        return detail

    def _examples(self, start: int, stop: int, binary: Binary) -> list[Detail]:
        """The examples of these latents, by column; their tokens and values are put down.

        Values are whole hundredths of the latent's largest: one scale makes its examples
        comparable.
        """
        index = self._chosen(start, stop)
        columns = {name: column[index] for name, column in self.examples.columns.items()}
        tokens, values = self.examples.tokens.taken(index), self.examples.values.taken(index)
        bounds = np.searchsorted(index, self.examples.start[start : stop + 1])
        shares = np.zeros(len(values.flat), np.int8)
        for a, b in pairwise(tokens.start[bounds]):
            activations = values.flat[a:b]
            most = np.abs(activations).max(initial=0.0)
            if most > 0:
                shares[a:b] = (activations * (100.0 / most)).round()
        plain = tokens.flat.astype(self.dtype)
        place_of_tokens, _ = binary.add(plain)
        place_of_shares, _ = binary.add(shares)
        details = []
        for a, b in pairwise(bounds):
            first = int(tokens.start[a])
            example = {name: columns[name][a:b].tolist() for name in SHOWN}
            example["value"] = short(columns["value"][a:b])
            example["length"] = tokens.lengths[a:b].tolist()
            example["at"] = [place_of_tokens + plain.itemsize * first, place_of_shares + first]
            details.append(example)
        return details


def _pairs(what: np.ndarray, values: np.ndarray) -> list[list[Any]]:
    return [[int(a), number(b, 3)] for a, b in zip(what, values, strict=False)]
