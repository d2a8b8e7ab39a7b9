"""What was collected of the latents as the tables of their folder, some latents at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from isthmus.evaluation import tsne
from isthmus.evaluation.cosines import neighbours, unit_rows
from isthmus.interpretation.features.collection import Collected, Settings
from isthmus.interpretation.features.examples import Span
from isthmus.interpretation.features.format import COLUMNS, arrow, schema
from isthmus.interpretation.features.neighbours import logit_effects
from isthmus.language import Tokenizer, Tokens

if TYPE_CHECKING:
    from pyarrow import Array, Table

Numbered = Sequence[tuple[np.ndarray, np.ndarray]]
"""For each latent numbers (of tokens or latents) and a value for each."""


@dataclass(frozen=True, eq=False)
class Text:
    """The rows of text that activations belong to, and what is needed to show them."""

    tokens: Tokens
    tokenizer: Tokenizer
    unembedding: Tensor | None = None

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, ``(rows,)``."""
        lengths: np.ndarray = self.tokens.mask.sum(1).numpy()
        return lengths

    @cached_property
    def pieces(self) -> list[str]:
        """The text of every token of the vocabulary, as it can be stored."""
        pieces = self.tokenizer.pieces(range(self.vocabulary))
        # Half of a surrogate pair is no text that a file can hold.
        return [piece.encode("utf-8", "replace").decode("utf-8") for piece in pieces]

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest token number that there is."""
        return max(self.tokenizer.vocabulary, int(self.tokens.ids.max()) + 1)

    def stretches(
        self, row: np.ndarray, place: np.ndarray, span: Span
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the window around each place begins, and how many tokens of the row it shows."""
        begin = np.maximum(0, place - span.before)
        end = np.minimum(self.lengths[row], place + span.after + 1)
        return begin, end - begin

    def ids_of(self, row: np.ndarray, begin: np.ndarray, length: np.ndarray) -> np.ndarray:
        """The token numbers of stretches, one after the other."""
        ids: np.ndarray = self.tokens.ids.numpy()[
            np.repeat(row, length), np.repeat(begin, length) + positions(length)
        ]
        return ids


def positions(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... for each length, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(before, lengths)


def bounds(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where lists of these lengths begin and end, int32 ``(lists + 1,)``."""
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


def latent_table(
    collected: Collected, rows: Tensor | None, text: Text | None, settings: Settings
) -> "Table":
    """One row a latent. ``rows`` is what each latent writes, None where nothing is known of it."""
    latents, n = collected.latents, settings.listed
    statistics = collected.statistics
    nobody = [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * latents
    near, place, norm = nobody, np.zeros((latents, 2)), np.zeros(latents)
    up = down = heavy = nobody
    if rows is not None:
        numbers, cosines = neighbours(unit_rows(rows, "rows of the dictionary"), n)
        near = list(zip(numbers, cosines, strict=True))
        place, norm = tsne.direction_map(rows, numbers, cosines), rows.norm(dim=1).cpu().numpy()
    if text is not None:
        heavy = collected.mass.heaviest(n)
        weight = text.unembedding
        if rows is not None and weight is not None and weight.shape[1] == rows.shape[1]:
            up, down = (list(zip(*side, strict=True)) for side in logit_effects(rows, weight, n))
    histograms = statistics.histograms()
    counts = [(bins, bins) for bins, _, _ in histograms]
    joint = collected.joint.neighbours(n)
    columns: dict[str, Any] = {
        "latent": np.arange(latents), "rate": statistics.rate, "mean": statistics.mean,
        "top": statistics.top, "histogram": _values(counts),
        "histogram_low": np.array([low for _, low, _ in histograms]),
        "histogram_high": np.array([high for _, _, high in histograms]),
        "tokens": _pieces(heavy, text), "token_shares": _values(heavy),
        "up": _pieces(up, text), "up_values": _values(up),
        "down": _pieces(down, text), "down_values": _values(down),
        "near": _numbers(near), "near_cosine": _values(near),
        "joint": _numbers(joint), "joint_value": _values(joint),
        "x": place[:, 0], "y": place[:, 1], "norm": norm,
    }  # fmt: skip
    return _table(columns, "latents")


def example_table(
    collected: Collected, latents: np.ndarray, text: Text | None, settings: Settings
) -> "Table":
    """One row an example of some latents, in the order of latents, groups and falling strength."""
    examples, span = collected.examples.of(latents, collected.statistics), settings.span
    begin, length = examples.place.astype(np.int64), np.ones(len(examples.row), np.int64)
    tokens = _strings(np.zeros(0, np.int64), np.zeros(len(examples.row), np.int64), None)
    if text is not None:
        begin, length = text.stretches(examples.row, examples.place.astype(np.int64), span)
        tokens = _strings(text.ids_of(examples.row, begin, length), length, text)
    column = np.repeat(begin - examples.place + span.before, length) + positions(length)
    values = examples.values[np.repeat(np.arange(len(length)), length), column]
    columns = {
        "latent": examples.latent, "group": examples.group, "document": examples.document,
        "row": examples.row, "place": examples.place, "value": examples.value, "begin": begin,
        "tokens": tokens, "values": _lists(values, length), "split": examples.split,
    }  # fmt: skip
    return _table(columns, "examples")


def window_table(collected: Collected, text: Text, settings: Settings) -> "Table":
    """One row a random window, in the order of the text."""
    sample = collected.windows.sample()
    row = np.array([window.row for window in sample], np.int64)
    place = np.array([window.place for window in sample], np.int64)
    begin, length = text.stretches(row, place, settings.span)
    fired = [window.fired for window in sample]
    columns = {
        "document": np.array([window.document for window in sample], np.int64), "row": row,
        "place": place, "begin": begin,
        "tokens": _strings(text.ids_of(row, begin, length), length, text),
        "latents": _lists(_concatenated(fired), [len(part) for part in fired]),
        "split": np.array([window.split for window in sample], np.int8),
    }  # fmt: skip
    return _table(columns, "windows")


def _table(columns: dict[str, Any], name: str) -> "Table":
    pa, kinds = arrow(), schema(COLUMNS[name])
    arrays = [
        column if isinstance(column, pa.Array) else _plain(column)
        for column in (columns[name] for name in kinds.names)
    ]
    cast = [array.cast(field.type) for array, field in zip(arrays, kinds, strict=True)]
    return pa.Table.from_arrays(cast, schema=kinds)


def _pieces(listed: Numbered, text: Text | None) -> "Array":
    ids = [numbers for numbers, _ in listed]
    return _strings(_concatenated(ids), [len(part) for part in ids], text)


def _numbers(listed: Numbered) -> "Array":
    parts = [numbers for numbers, _ in listed]
    return _lists(_concatenated(parts), [len(part) for part in parts])


def _values(listed: Numbered) -> "Array":
    parts = [values for _, values in listed]
    return _lists(_concatenated(parts), [len(part) for part in parts])


def _concatenated(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _strings(ids: np.ndarray, lengths: Sequence[int] | np.ndarray, text: Text | None) -> "Array":
    pa = arrow()
    if text is None or len(ids) == 0:
        texts = pa.array([], pa.string())
    else:
        texts = pa.array(text.pieces, pa.string()).take(_plain(ids))
    return pa.ListArray.from_arrays(_plain(bounds(lengths)), texts)


def _lists(flat: np.ndarray, lengths: Sequence[int] | np.ndarray) -> "Array":
    return arrow().ListArray.from_arrays(_plain(bounds(lengths)), _plain(flat))


def _plain(values: np.ndarray) -> "Array":
    """Numbers as they are; ``pyarrow.array`` would import pandas first, which takes a second."""
    pa = arrow()
    kind = pa.from_numpy_dtype(values.dtype)
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])
