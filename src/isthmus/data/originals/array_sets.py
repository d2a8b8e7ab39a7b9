"""Arrays from archives of NumPy and from tables of numbers."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from isthmus.data.originals.published_files import Originals


def archive(files: Originals, types: Mapping[str, str]) -> dict[str, np.ndarray]:
    """These members of an ``.npz``, each in its type. The labels ``y`` become one axis."""
    with np.load(io.BytesIO(files.content()), allow_pickle=False) as members:
        arrays = {name: np.asarray(members[name]).astype(kind) for name, kind in types.items()}
    return {name: array.ravel() if name == "y" else array for name, array in arrays.items()}


def matrix(
    files: Originals, rows: str, columns: str, type: str = "float32",
    constants: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """A table of numbers with a header: ``(rows, columns)`` as ``rows``, its names as ``columns``.

    ``constants`` are further members, single numbers of the same type.
    """
    header, *lines = csv.reader(io.StringIO(files.text()))
    values = np.array([line for line in lines if line], np.float64).astype(type)
    arrays = {rows: values, columns: np.array(header)}
    return {**arrays, **{name: np.array(value, type) for name, value in (constants or {}).items()}}
