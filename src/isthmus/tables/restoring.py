"""A table in the form in which it was given: a frame, Arrow, records, columns by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.tables.table import Column, Table


def given_back(table: Table, like: Table | None) -> Any:
    """``table`` as what ``like`` was made of; a pandas frame where that says nothing.

    Columns come in the order of ``like``, in its types where they hold the values, under its index
    and its names, which need not be strings.
    """
    order = table.names
    if like is not None and like.named:
        order = [n for n in like.names if n in table.columns]
        order += [n for n in table.names if n not in like.columns]
    frame = _frame(table.only(order), None if like is None else like.index)
    kind = "" if like is None else like.like
    if like is not None and like.labels:
        frame.columns = _labelled([*frame.columns], like)
    if kind == "mapping":
        return {name: frame[name].to_numpy() for name in frame}
    if kind == "records":
        return frame.to_dict("records")
    if kind in ("arrow", "polars"):
        import pyarrow as pa

        arrow_table = _as_were(pa.Table.from_pandas(frame, preserve_index=False), like)
        if kind == "arrow":
            return arrow_table
        import polars

        return polars.from_arrow(arrow_table)
    return frame


def array(table: Table, single: Sequence[bool]) -> np.ndarray:
    """Numbers and truth values as one array: float32 where every column says so, else float64."""
    kind = np.float32 if all(single) else np.float64
    values = np.empty((table.rows, len(table.columns)), kind)
    for place, column in enumerate(table.columns.values()):
        values[:, place] = column.doubles()
    return values


def _frame(table: Table, index: Any) -> Any:
    import pandas as pd

    columns = {name: _series(column) for name, column in table.columns.items()}
    frame = pd.DataFrame(columns)
    if index is not None and len(index) == len(frame):
        frame.index = index
    return frame


def _series(column: Column) -> Any:
    import pandas as pd

    raw = column.raw
    if column.kind == "text":
        objects = column.objects()
        if raw == "object" or not len(objects):
            return pd.Series(objects, dtype=object)
        texts = pd.Series(objects.tolist())
        return pd.Series(pd.Categorical(texts)) if raw == "category" else texts
    if column.kind in ("time", "duration"):
        series = pd.Series(column.values)
        if column.zone:
            series = series.dt.tz_localize("UTC").dt.tz_convert(column.zone)
        if raw == "date":
            series = series.dt.date
        return series
    if column.kind == "number":
        return pd.Series(column.values.astype(np.float32 if raw in _SINGLE else np.float64))
    if column.missing is not None:
        whole = column.kind == "integer"
        kind = pd.arrays.IntegerArray if whole else pd.arrays.BooleanArray
        return pd.Series(kind(column.values, column.missing))
    series = pd.Series(column.values)
    try:
        return series.astype(raw) if raw and raw != "object" else series
    except (TypeError, ValueError, OverflowError):
        return series


def _labelled(names: list[str], like: Table) -> Any:
    """The columns' names as the frame has them: numbers, tuples of several levels, ..."""
    import pandas as pd

    originals = like.labels
    if not like.named and len(names) == len(originals) and not all(n in originals for n in names):
        labels = [*originals.values()]  # which were taken by place
    else:
        labels = [originals.get(name, name) for name in names]
    if all(isinstance(one, tuple) for one in labels):
        return pd.MultiIndex.from_tuples(labels)
    return pd.Index(labels)


_SINGLE = ("float", "float32", "halffloat", "float16", "Float32")


def _as_were(arrow_table: Any, like: Table | None) -> Any:
    """An Arrow table in the types that its columns had, where they can be cast."""
    import pyarrow as pa

    if like is None:
        return arrow_table
    for place, name in enumerate(arrow_table.column_names):
        raw = like.columns[name].raw if name in like.columns else ""
        try:
            kind = pa.type_for_alias(raw)
        except ValueError:
            continue
        try:
            arrow_table = arrow_table.set_column(place, name, arrow_table.column(place).cast(kind))
        except pa.ArrowException:
            continue
    return arrow_table
