"""What the rows of data and the elements of a row are called, where they have names."""

from typing import Any

import numpy as np
import torch

from isthmus import tables
from isthmus.data.files import located
from isthmus.errors import IsthmusError, unknown


def row_names(data: str, source: Any, id_column: str | None) -> tuple[list[str], Any]:
    """What the rows are called: the ids of a table, or the files of a folder."""
    if id_column is None:
        base, numbers = source.base(torch.arange(len(source)))
        if base.names is None:
            return [], []
        return ["file"], [base.names[place] for place in numbers.tolist()]
    location = located(data)
    if location is None or not tables.is_table(location[0]):
        raise IsthmusError(f"--id {id_column}: {data!r} is no table, and has no columns by name")
    names = tables.header(location[0])
    if id_column not in names:
        raise unknown(f"column of {location[0].name!r}", id_column, names)
    return [id_column], tables.columns(location[0], [id_column])[id_column]


def as_strings(names: Any) -> np.ndarray:
    """Names for an archive, whose arrays hold no Python objects: numbers, or text of one length."""
    array = np.asarray(names)
    if array.dtype.kind != "O":
        return array
    return np.array(["" if name is None else str(name) for name in array.tolist()])


def column_names(model: Any, source: Any, number: int) -> list[str]:
    """The names of a row's columns or elements, or their numbers from 0 where they have none."""
    preparation = (getattr(model.preparation, "parts", None) or {}).get("")
    base, _ = source.base(torch.arange(0))
    read = (getattr(preparation, name, None) for name in ("columns", "features"))
    for names in (*read, source.columns, base.columns):
        if names is not None and len(names) == number:
            return [str(name) for name in names]
    return [str(i) for i in range(number)]
