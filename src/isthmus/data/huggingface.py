"""Data sets of Hugging Face's ``datasets``: whole ones, their columns and their streams."""

from typing import Any

from isthmus.errors import IsthmusError
from isthmus.tables.arrow import is_vectors, table_of, vectors


def is_hugging_face(X: Any) -> bool:
    """Whether this is an object of that package."""
    return type(X).__module__.partition(".")[0] == "datasets"


def opened(X: Any) -> Any:
    """An array for a column of lists of numbers, texts for a column of text, a table for a data
    set of scalars; what has rows by number but is none of these (images) as it is.

    A dictionary of splits, and a data set with lists beside other columns, are an
    :class:`IsthmusError`.
    """
    kind = type(X).__name__
    if kind in ("DatasetDict", "IterableDatasetDict"):
        names = ", ".join(map(repr, X))
        first = next(iter(X))
        raise IsthmusError(f"the data are several splits ({names}): pass one, data[{first!r}]")
    if kind == "Column":
        return _column(X)
    if kind != "Dataset":
        return X
    if len(X) == 0 or not X.column_names:
        raise IsthmusError("the data set is empty: pass at least one row")
    if _decoded(X.features):
        return X if len(X.column_names) > 1 else X[X.column_names[0]]
    table = X.with_format("arrow")[:]
    lists = [name for name in table.schema.names if is_vectors(table.schema.field(name).type)]
    if not lists:
        return table_of(table, "the data set", "arrow")
    if len(table.schema.names) == 1:
        return vectors(table.column(0), lists[0], "the data set")
    raise IsthmusError(
        f"the data set has {', '.join(map(repr, lists))} with lists beside other columns: pass one "
        f"column, data[{lists[0]!r}], and what else a model asks for as given="
    )


def _column(X: Any) -> Any:
    import pyarrow as pa

    if len(X) == 0:
        raise IsthmusError("the data set is empty: pass at least one row")
    source, name = X.source, X.column_name
    if type(source).__name__ != "Dataset" or _decoded({name: source.features[name]}):
        return X
    column = source.select_columns([name]).with_format("arrow")[:].column(0)
    if is_vectors(column.type):
        return vectors(column, name, "the data set")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.to_pylist()
    return table_of(pa.table({name: column}), "the data set", "arrow")


def _decoded(features: Any) -> bool:
    """Whether items are more than what is stored: images, sounds, arrays of several axes."""
    kinds = {type(feature).__name__ for feature in features.values()}
    return bool(kinds & {"Image", "Audio", "Video", "Array2D", "Array3D", "Array4D", "Array5D"})
