"""Tables in memory: frames of pandas and polars, Arrow, records, columns by name."""

import datetime
import decimal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from isthmus.errors import IsthmusError
from isthmus.tables.arrow import in_order, of_polars, table_of
from isthmus.tables.cells import OFFSETS, Marks
from isthmus.tables.table import Column, Table, check_names
from isthmus.tables.text_columns import KEPT, crowded, typed, without_zone

FRAME = "the data frame"


def is_framed(X: Any) -> bool:
    """Whether this is what :func:`as_table` makes a table of."""
    home, kind = type(X).__module__.partition(".")[0], type(X).__name__
    if home == "scipy":  # SciPy's dictionaries of keys are mappings
        return False
    return (
        isinstance(X, Table)
        or (home == "pandas" and hasattr(X, "columns"))
        or (home == "polars" and kind in ("DataFrame", "LazyFrame"))
        or (home == "pyarrow" and hasattr(X, "schema"))
        or (isinstance(X, np.ndarray) and bool(X.dtype.names) and X.ndim == 1)
        or (isinstance(X, (list, tuple)) and bool(X) and all(isinstance(r, Mapping) for r in X))
        or (isinstance(X, Mapping) and _is_columns(X))
        or (home not in ("builtins", "torch", "numpy", "datasets", "isthmus") and _has_columns(X))
    )


def as_table(X: Any) -> Table | None:
    """A table of a frame, an Arrow table, records or a mapping of columns; None for others."""
    if isinstance(X, Table) or not is_framed(X):
        return X if isinstance(X, Table) else None
    home = type(X).__module__.partition(".")[0]
    if home == "pandas":
        return _pandas(X, "pandas")
    if home == "polars":
        return of_polars(X.collect() if hasattr(X, "collect") else X, FRAME)
    if home == "pyarrow":
        return _arrow(X)
    if isinstance(X, np.ndarray):
        return _mapping({name: X[name] for name in X.dtype.names or ()}, "the records")
    if isinstance(X, (list, tuple)):
        return _records(X)
    if isinstance(X, Mapping):
        return _mapping(X, "the columns")
    return _mapping({name: X[name].to_numpy() for name in X.columns}, FRAME)


def _has_columns(X: Any) -> bool:
    """Whether this is another library's frame: columns by name, each with ``to_numpy``."""
    columns = getattr(X, "columns", None)
    return isinstance(columns, (list, tuple)) and hasattr(X, "to_numpy") and hasattr(X, "shape")


def _pandas(frame: Any, like: str, where: str = FRAME) -> Table:
    names = [str(name) for name in frame.columns]
    check_names(names, where)
    if not names or len(frame) == 0:
        raise IsthmusError(f"{where} is empty: pass at least one row and column")
    columns = {n: series(frame.iloc[:, i], n, where) for i, n in enumerate(names)}
    import pandas as pd

    unnamed = isinstance(frame.columns, pd.RangeIndex) and names[0] == "0"
    labels = {n: label for n, label in zip(names, frame.columns, strict=True) if n != label}
    return Table(
        columns, len(frame), where, named=not unnamed, index=frame.index, like=like, labels=labels
    )


def _arrow(X: Any) -> Table:
    import pyarrow as pa

    table = X.read_all() if hasattr(X, "read_all") else X
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    return table_of(table, "the Arrow table", "arrow")


def _is_columns(X: Mapping[Any, Any]) -> bool:
    """Whether a mapping holds columns: one scalar a row each, numbers among them."""
    if not X:
        return False
    kinds = set()
    for part in X.values():
        if isinstance(part, (str, bytes)) or not hasattr(part, "__len__"):
            return False
        if hasattr(part, "shape"):
            if len(part.shape) != 1:
                return False
            kinds.add("text" if str(part.dtype)[:3] in ("obj", "str", "<U1") else "number")
        elif isinstance(part, (list, tuple)) and len(part):
            if not all(one is None or isinstance(one, (str, *_SCALARS)) for one in part):
                return False
            kinds.add("number" if any(isinstance(one, _SCALARS) for one in part) else "text")
        else:
            return False
    return "number" in kinds


_SCALARS = (Real, decimal.Decimal, datetime.date, datetime.timedelta, np.generic)


def _mapping(X: Mapping[Any, Any], where: str) -> Table:
    import pandas as pd

    lengths = {str(name): len(part) for name, part in X.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name!r} has {n}" for name, n in lengths.items())
        raise IsthmusError(f"the columns need equally many rows, but {listed}: pair them first")
    plain = {str(name): _plain(part) for name, part in X.items()}
    return _pandas(pd.DataFrame(plain), "mapping", where)


def _plain(part: Any) -> Any:
    if isinstance(part, np.ma.MaskedArray):
        import pandas as pd

        values = part.data.astype(object)
        values[np.ma.getmaskarray(part)] = None
        return pd.Series(values).infer_objects()
    if type(part).__module__.startswith("torch"):
        return part.detach().cpu().numpy()
    return part


def _records(rows: Sequence[Mapping[Any, Any]]) -> Table:
    import pandas as pd

    names = dict.fromkeys(str(name) for row in rows for name in row)
    plain = [{str(name): value for name, value in row.items()} for row in rows]
    columns = {name: pd.Series([row.get(name) for row in plain]) for name in names}
    return _pandas(pd.DataFrame(columns), "records", "the records")


def series(column: Any, name: str, where: str) -> Column:
    """A pandas series as a column."""
    import pandas as pd

    kind, raw = column.dtype, str(column.dtype)
    if isinstance(kind, pd.CategoricalDtype):
        return _category(column, name, where)
    if isinstance(kind, pd.PeriodDtype):
        return _raw(series(column.dt.to_timestamp(), name, where), raw)
    if isinstance(kind, pd.SparseDtype):
        return _raw(series(column.sparse.to_dense(), name, where), raw)
    if pd.api.types.is_datetime64_any_dtype(kind):
        zone = str(getattr(column.dt, "tz", None) or "")
        if zone:
            column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return Column("time", _dated(column, "datetime64"), raw=raw, zone=zone)
    if pd.api.types.is_timedelta64_dtype(kind) or raw.startswith("duration"):
        return Column("duration", _dated(column, "timedelta64"), raw=raw)
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_integer_dtype(kind):
        result = _whole(column, raw)
        return _crowded(result, column, name, where)
    if pd.api.types.is_float_dtype(kind) or raw.startswith("decimal"):
        single = str(kind).lower() in ("float16", "float32")
        values = column.to_numpy(dtype=np.float32 if single else np.float64, na_value=np.nan)
        return Column("number", values, raw=raw)
    if pd.api.types.is_complex_dtype(kind):
        raise IsthmusError(
            f"the column {name!r} of {where} holds complex numbers: pass their parts as two columns"
        )
    return _objects(column, name, where, raw)


def _crowded(result: Column, column: Any, name: str, where: str) -> Column:
    if result.kind != "number":
        return result
    stray = crowded(column.dropna().unique().tolist(), result, name, where)
    return replace(result, stray=stray) if stray else result


def _raw(column: Column, raw: str) -> Column:
    return replace(column, raw=raw)


def _dated(column: Any, kind: str) -> np.ndarray:
    values = np.asarray(column.to_numpy())
    return values if values.dtype.kind in "mM" else values.astype(f"{kind}[us]")


def _whole(column: Any, raw: str) -> Column:
    """Integers or truth values, with or without gaps."""
    gaps = np.asarray(column.isna().to_numpy(), bool)
    fill = False if raw.lower().startswith("bool") else 0
    values = column.to_numpy() if not gaps.any() else column.fillna(fill).to_numpy()
    missing = gaps if gaps.any() else None
    if raw.lower().startswith("bool"):
        return Column("boolean", np.asarray(values, bool), missing, raw=raw)
    if values.dtype == np.uint64 and values.max(initial=0) > np.iinfo(np.int64).max:
        doubles = values.astype(np.float64)
        doubles[gaps] = np.nan
        return Column("number", doubles, raw=raw)
    return Column("integer", np.asarray(values, np.int64), missing, raw=raw)


def _category(column: Any, name: str, where: str) -> Column:
    categories = column.cat.categories
    if categories.dtype.kind in "iufbmM":
        return _raw(series(column.astype(categories.dtype), name, where), "category")
    levels = [str(level) for level in categories]
    return in_order(levels, column.cat.codes.to_numpy().astype(np.int64), "category")


def _objects(column: Any, name: str, where: str, raw: str) -> Column:
    """A column of Python objects, by what they are: text mostly."""
    import pandas as pd

    try:
        codes, values = pd.factorize(column)
    except TypeError:
        values, codes = [_first(column)], np.zeros(0, int)
    distinct = list(values)
    kinds = {_kind(one) for one in distinct}
    if not kinds:
        return Column("number", np.full(len(column), np.nan), raw=raw)
    if kinds == {"text"}:
        if len(distinct) > KEPT:
            return Column("free", np.empty(0, np.int32), raw=raw)
        return in_order([str(one) for one in distinct], codes.astype(np.int64), raw)
    if kinds == {"truth"}:
        return _whole(column.astype("boolean"), "boolean")
    if kinds == {"number"}:
        plain = pd.Series([None if one is None else _number(one) for one in column.tolist()])
        if plain.dtype == object:
            plain = plain.astype(float)
        return _crowded(_raw(series(plain, name, where), raw), column, name, where)
    if kinds == {"time"}:
        # Of all rows: of equal moments in two zones, one is distinct.
        zones = {getattr(one, "tzinfo", None) for one in column.dropna().tolist()}
        if len(zones) > 1 and None in zones:
            raise IsthmusError(without_zone(name, where))
        # Of several zones, UTC is what they have in common.
        times = pd.to_datetime(column, utc=len(zones) > 1)
        dates = not any(isinstance(one, (datetime.datetime, np.datetime64)) for one in distinct)
        moments = _raw(series(times, name, where), "date" if dates else raw)
        return replace(moments, style=OFFSETS) if len(zones) > 1 else moments
    if kinds == {"duration"}:
        return _raw(series(pd.to_timedelta(column), name, where), raw)
    if "other" in kinds:
        odd = next(one for one in distinct if _kind(one) == "other")
        raise IsthmusError(
            f"the column {name!r} of {where} holds values of type {type(odd).__name__}: a table "
            "holds numbers, truth values, times and text"
        )
    texts = [str(one) for one in distinct]
    codes = np.where(codes < 0, len(texts), codes)
    return typed([*texts, ""], codes, Marks(), name, where)


def _first(column: Any) -> Any:
    return next(one for one in column.tolist() if _kind(one) == "other")


def _number(one: Any) -> Any:
    return None if one != one else float(one) if isinstance(one, decimal.Decimal) else one


def _kind(one: Any) -> str:
    if isinstance(one, str):
        return "text"
    if isinstance(one, (bool, np.bool_)):
        return "truth"
    if isinstance(one, (Real, decimal.Decimal)):
        return "number"
    if isinstance(one, (datetime.date, np.datetime64)):
        return "time"
    if isinstance(one, (datetime.timedelta, np.timedelta64)):
        return "duration"
    return "other"
