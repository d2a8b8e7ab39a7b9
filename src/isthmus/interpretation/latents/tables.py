"""What was learnt of the latents as Parquet tables, some latents at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from isthmus.errors import MissingExtra
from isthmus.interpretation.latents import layout
from isthmus.interpretation.latents.collected import Collected
from isthmus.interpretation.latents.directions import logit_effects, nearest
from isthmus.interpretation.latents.settings import Settings
from isthmus.interpretation.latents.shown import Text, bounds, counted

if TYPE_CHECKING:
    from pyarrow import Array, Schema, Table

Numbered = Sequence[tuple[np.ndarray, np.ndarray]]
"""For each latent numbers (of tokens or latents) and a value for each."""


def arrow() -> Any:
    """The module pyarrow; an error that says how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "tables", "storing and reading features") from None
    return pyarrow


def latent_schema() -> "Schema":
    pa = arrow()
    single, text, number = pa.list_(pa.float32()), pa.list_(pa.string()), pa.list_(pa.int32())
    return pa.schema(
        {
            "latent": pa.int32(), "rate": pa.float32(), "mean": pa.float32(), "top": pa.float32(),
            "histogram": single, "histogram_low": pa.float32(), "histogram_high": pa.float32(),
            "tokens": text, "token_shares": single, "up": text, "up_values": single,
            "down": text, "down_values": single, "near": number, "near_cosine": single,
            "joint": number, "joint_value": single, "x": pa.float32(), "y": pa.float32(),
            "norm": pa.float32(),
        }
    )  # fmt: skip


def example_schema() -> "Schema":
    pa = arrow()
    return pa.schema(
        {
            "latent": pa.int32(), "group": pa.int8(), "document": pa.int32(), "row": pa.int32(),
            "place": pa.int32(), "value": pa.float32(), "begin": pa.int32(),
            "tokens": pa.list_(pa.string()), "values": pa.list_(pa.float32()), "split": pa.int8(),
        }
    )  # fmt: skip


def window_schema() -> "Schema":
    pa = arrow()
    return pa.schema(
        {
            "document": pa.int32(), "row": pa.int32(), "place": pa.int32(), "begin": pa.int32(),
            "tokens": pa.list_(pa.string()), "latents": pa.list_(pa.int32()), "split": pa.int8(),
        }
    )  # fmt: skip


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
        numbers, cosines = nearest(rows, n)
        near = list(zip(numbers, cosines, strict=True))
        place, norm = layout.layout(rows, numbers, cosines), rows.norm(dim=1).cpu().numpy()
    if text is not None:
        heavy = collected.mass.heaviest(n)
        weight = text.unembedding
        if rows is not None and weight is not None and weight.shape[1] == rows.shape[1]:
            up, down = (list(zip(*found, strict=True)) for found in logit_effects(rows, weight, n))
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
    return _table(columns, latent_schema())


def example_table(
    collected: Collected, latents: np.ndarray, text: Text | None, settings: Settings
) -> "Table":
    """One row an example of some latents, in the order of latents, groups and falling strength."""
    found, span = collected.examples.of(latents, collected.statistics), settings.span
    begin, length = found.place.astype(np.int64), np.ones(len(found.row), np.int64)
    tokens = _strings(np.zeros(0, np.int64), np.zeros(len(found.row), np.int64), None)
    if text is not None:
        begin, length = text.stretches(found.row, found.place.astype(np.int64), span)
        tokens = _strings(text.shown(found.row, begin, length), length, text)
    column = np.repeat(begin - found.place + span.before, length) + counted(length)
    values = found.values[np.repeat(np.arange(len(length)), length), column]
    columns = {
        "latent": found.latent, "group": found.group, "document": found.document,
        "row": found.row, "place": found.place, "value": found.value, "begin": begin,
        "tokens": tokens, "values": _lists(values, length), "split": found.split,
    }  # fmt: skip
    return _table(columns, example_schema())


def window_table(collected: Collected, text: Text, settings: Settings) -> "Table":
    """One row a random window, in the order of the text."""
    found = collected.windows.found()
    row = np.array([window.row for window in found], np.int64)
    place = np.array([window.place for window in found], np.int64)
    begin, length = text.stretches(row, place, settings.span)
    fired = [window.fired for window in found]
    columns = {
        "document": np.array([window.document for window in found], np.int64), "row": row,
        "place": place, "begin": begin,
        "tokens": _strings(text.shown(row, begin, length), length, text),
        "latents": _lists(_concatenated(fired), [len(part) for part in fired]),
        "split": np.array([window.split for window in found], np.int8),
    }  # fmt: skip
    return _table(columns, window_schema())


def _table(columns: dict[str, Any], schema: "Schema") -> "Table":
    pa = arrow()
    arrays = [
        column if isinstance(column, pa.Array) else _plain(column)
        for column in (columns[name] for name in schema.names)
    ]
    cast = [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)]
    return pa.Table.from_arrays(cast, schema=schema)


def _pieces(found: Numbered, text: Text | None) -> "Array":
    ids = [numbers for numbers, _ in found]
    return _strings(_concatenated(ids), [len(part) for part in ids], text)


def _numbers(found: Numbered) -> "Array":
    parts = [numbers for numbers, _ in found]
    return _lists(_concatenated(parts), [len(part) for part in parts])


def _values(found: Numbered) -> "Array":
    parts = [values for _, values in found]
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
    held = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, held])
