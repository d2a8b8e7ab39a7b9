"""Arrow's columns as ours."""

from typing import Any

import numpy as np

from isthmus.errors import IsthmusError, MissingExtra
from isthmus.tables.table import Column, Table, check_names
from isthmus.tables.text_columns import KEPT

ROW_NAMES = "__index_level_"
"""With what the columns begin in which pandas keeps the rows' names."""


def pyarrow(purpose: str) -> Any:
    """The package, or the error that says how to get it."""
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables", purpose) from error
    return pyarrow


def of_polars(frame: Any, where: str) -> Table:
    """A frame of polars as ours; an error for whole numbers of 128 bits, which Arrow has not."""
    if any(str(kind) in ("Int128", "UInt128") for kind in frame.dtypes):
        wide = next(n for n, k in frame.schema.items() if str(k) in ("Int128", "UInt128"))
        raise IsthmusError(
            f"the column {wide!r} of {where} holds whole numbers of 128 bits: cast it to Int64, or "
            "to Float64 where they are larger"
        )
    return table_of(frame.to_arrow(), where, "polars")


def table_of(found: Any, where: str, like: str, *, whole: bool = False) -> Table:
    """An Arrow table as ours."""
    names = [str(name) for name in found.schema.names]
    check_names(names, where)
    if not names or found.num_rows == 0:
        raise IsthmusError(f"{where} is empty: pass a table with at least one row")
    columns = {
        name: column_of(found.column(place), name, where, whole=whole)
        for place, name in enumerate(names)
    }
    return Table(columns, found.num_rows, where, like=like)


def column_of(values: Any, name: str, where: str, *, whole: bool = False) -> Column:
    """One chunked array as a column; an error for a type that no table of ours holds."""
    pa = pyarrow("reading Arrow tables")
    types, kind = pa.types, values.type
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], kind)
    gaps = np.asarray(values.is_null().to_numpy(zero_copy_only=False), bool)
    missing = gaps if gaps.any() else None
    raw = str(kind)
    if types.is_null(kind):
        return Column("number", np.full(len(values), np.nan), raw=raw)
    if types.is_boolean(kind):
        return Column("boolean", _filled(values, False).astype(bool), missing, raw=raw)
    if types.is_integer(kind):
        plain = _filled(values, 0)
        if plain.dtype == np.uint64 and plain.max(initial=0) > np.iinfo(np.int64).max:
            return Column("number", np.where(gaps, np.nan, plain.astype(np.float64)), raw=raw)
        return Column("integer", plain.astype(np.int64), missing, raw=raw)
    if types.is_floating(kind) or types.is_decimal(kind):
        single = types.is_float16(kind) or types.is_float32(kind)
        target = pa.float32() if single else pa.float64()
        plain = values.cast(target, safe=False).to_numpy(zero_copy_only=False)
        return Column("number", np.asarray(plain), raw=raw)
    if types.is_timestamp(kind) or types.is_date(kind):
        times = values.cast(pa.timestamp("us") if types.is_date(kind) else pa.timestamp(kind.unit))
        moments = np.asarray(times.to_numpy(zero_copy_only=False))
        if moments.dtype == "datetime64[D]":
            moments = moments.astype("datetime64[us]")
        return Column("time", moments, raw=raw, zone=getattr(kind, "tz", None) or "")
    if types.is_duration(kind) or types.is_time(kind):
        if types.is_time(kind):
            values = values.cast(pa.int32() if types.is_time32(kind) else pa.int64())
            values = values.cast(pa.int64()).cast(pa.duration(kind.unit))
        return Column("duration", np.asarray(values.to_numpy(zero_copy_only=False)), raw=raw)
    if types.is_dictionary(kind):
        if not _is_text(types, kind.value_type):
            return column_of(values.dictionary_decode(), name, where, whole=whole)
        return _text(values, raw, whole=True)
    if _is_text(types, kind):
        return _text(values.dictionary_encode(), raw, whole=whole)
    raise IsthmusError(
        f"the column {name!r} of {where} is of type {kind}, and a table holds numbers, truth "
        "values, times and text: leave it out, or spread it over columns of its own"
    )


def _is_text(types: Any, kind: Any) -> bool:
    view = getattr(types, "is_string_view", lambda kind: False)
    return bool(types.is_string(kind) or types.is_large_string(kind) or view(kind))


def _filled(values: Any, fill: Any) -> np.ndarray:
    whole = values.fill_null(fill) if values.null_count else values
    return np.asarray(whole.to_numpy(zero_copy_only=False))


def _text(values: Any, raw: str, *, whole: bool) -> Column:
    if len(values.dictionary) > KEPT and not whole:
        return Column("free", np.empty(0, np.int32), raw=raw)
    levels = values.dictionary.to_pylist()
    pa = pyarrow("reading Arrow tables")
    indices = values.indices.cast(pa.int64()).fill_null(-1)
    codes = np.asarray(indices.to_numpy(zero_copy_only=False))
    return in_order(levels, codes, raw)


def in_order(levels: list[Any], codes: np.ndarray, raw: str = "") -> Column:
    """A column of text with its levels sorted, without those that no row has."""
    mask = np.zeros(len(levels) + 1, bool)
    mask[codes] = True
    indices = [i for i in range(len(levels)) if mask[i] and levels[i] is not None]
    indices.sort(key=lambda i: levels[i])
    place = np.full(len(levels) + 1, -1, np.int32)
    place[indices] = np.arange(len(indices))
    return Column("text", place[codes], levels=[levels[i] for i in indices], raw=raw)


def is_vectors(kind: Any) -> bool:
    """Whether a type is a list, of which a single column is a matrix."""
    types = pyarrow("reading Arrow tables").types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def vectors(column: Any, name: str, where: str) -> np.ndarray:
    """A column of equally long lists (embeddings) as a matrix, float32 or float64."""
    pa = pyarrow("reading Arrow tables")
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    flat = lists.flatten()
    shape: list[int] = []
    while is_vectors(flat.type):
        inner = len(flat) // max(len(lists), 1)
        shape.append(inner)
        _check_even(lists, inner, where)
        lists, flat = flat, flat.flatten()
    inner = len(flat) // max(len(lists), 1)
    _check_even(lists, inner, where)
    types = pa.types
    if not (types.is_integer(flat.type) or types.is_floating(flat.type)):
        raise IsthmusError(
            f"the column {name!r} of {where} holds lists of {flat.type}: pass lists of numbers"
        )
    if flat.null_count:
        raise IsthmusError(f"lists of {where} have gaps: fill them or leave these rows out")
    if flat.type == pa.float16():
        flat = flat.cast(pa.float32())
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), *shape, inner)


def _check_even(lists: Any, inner: int, where: str) -> None:
    pc = __import__("pyarrow.compute", fromlist=["compute"])
    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if lists.null_count or lengths != [inner]:
        raise IsthmusError(f"the lists in {where} differ in length: make them equally long")
