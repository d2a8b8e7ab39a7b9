"""What is given beside the examples: labels, conditions, masks, as arrays or as columns by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import tables
from isthmus.anatomy import Asked, Signal, Source
from isthmus.anatomy.batch import all_entries
from isthmus.anatomy.masks import read_mask
from isthmus.data import files, huggingface, images
from isthmus.data.conversion import as_source
from isthmus.data.ragged import GivenSource
from isthmus.data.sources import Subset
from isthmus.errors import IsthmusError, unknown
from isthmus.notices import say
from isthmus.tables.cells import number
from isthmus.tables.files import values_of
from isthmus.tables.frames import is_framed

MOST_LEVELS = 1000
"""Different words that a column may hold to be given as numbered levels."""


@dataclass(frozen=True)
class Columns:
    """Which columns of the data were given, by the name of what they are to the model.

    ``levels`` are the words of a column of text in the order of their numbers. It is what a run
    notes, so that the same columns of other data are read in the same way.
    """

    column: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """A JSON-ready dictionary; :meth:`from_dict` reads it back."""
        return {
            name: {"column": column, "levels": list(self.levels[name])}
            if name in self.levels
            else {"column": column}
            for name, column in self.column.items()
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Mapping[str, Any]]) -> "Columns":
        """Read what :meth:`to_dict` wrote."""
        return cls(
            {name: about["column"] for name, about in plain.items()},
            {name: about["levels"] for name, about in plain.items() if "levels" in about},
        )


def given_source(
    X: Any,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    *,
    kind: Asked = None,
    known: Columns | None = None,
) -> tuple[Source, Columns]:
    """A source over ``X`` with what is given for each row, and the columns that were taken for it.

    ``given`` maps names to arrays with one entry a row, or to the name of a column: of a table, a
    data frame, an archive (``.npz``) or a mapping of arrays. Such a column is no part of the
    examples then. A column of words is numbered by its sorted levels, those of ``known`` where it
    was numbered before; a level that is new there is an :class:`IsthmusError`. ``mask`` says what
    is observed (see :class:`isthmus.anatomy.Batch`): what is not may be NaN.
    """
    if given is not None and not isinstance(given, Mapping):
        all_entries(given, 0)  # which says what it has to be
    given = dict(given or {})
    columns = {name: value for name, value in given.items() if isinstance(value, str)}
    arrays: dict[str, Any] = {n: v for n, v in given.items() if not isinstance(v, str)}
    levels: dict[str, Sequence[str]] = {}
    if columns:
        X, by_name = _apart(X, columns)
        for name, values in by_name.items():
            before = None if known is None else known.levels.get(name)
            arrays[name], words = _numbered(name, columns[name], values, before)
            if words is not None:
                levels[name] = words
    source = as_source(X if mask is None else _filled(X, mask, kind), kind)
    positions = _positions(source, X, mask)
    if positions is not None:
        source, mask = _of_positions(source, positions), None
        if arrays:
            raise IsthmusError(
                "a mask of positions leaves rows out, to which nothing can be given then: pass the "
                "positions that are there as rows, X[mask], and what is given for them"
            )
    if not arrays and mask is None:
        return source, Columns(columns, levels)
    return GivenSource(source, arrays, mask), Columns(columns, levels)


def _positions(source: Source, X: Any, mask: Any) -> np.ndarray | None:
    """Which of the rows that an array's positions became are there, bool ``(positions,)``; None
    where the mask is not one of positions."""
    if mask is None or source.signal.kind != "vector" or source.signal.axis is None:
        return None
    axis = source.signal.axis % np.ndim(X)
    shape = tuple(int(n) for place, n in enumerate(np.shape(X)) if place != axis)
    flags = mask.cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if len(shape) < 2 or flags.shape != shape or flags.dtype.kind not in "bui":
        return None
    if flags.dtype.kind != "b" and not np.isin(flags, (0, 1)).all():
        return None
    return flags.astype(bool).reshape(-1)


def _of_positions(source: Source, present: np.ndarray) -> Source:
    """The rows of the positions that are there."""
    if not present.any():
        raise IsthmusError("the mask says that no position is there: leave it out")
    say(
        f"{int((~present).sum()):,} of {len(present):,} positions are left out, as the mask says: "
        "each position is a row here (kind=series takes each array as a whole)"
    )
    return Subset(source, present)


def has_columns(X: Any, columns: Sequence[str]) -> bool:
    """Whether data have all of these columns, so that they can be given from them."""
    try:
        return set(columns) <= set(_names(X))
    except IsthmusError:
        return False


def _names(X: Any) -> list[str]:
    """The names of the columns (members, parts) of data."""
    if isinstance(X, Mapping):
        return [str(name) for name in X]
    if isinstance(X, (str, Path)):
        location = files.located(X)
        if location is None:
            return []
        path, _ = location
        if path.is_dir():
            return [images.FOLDER]
        if path.suffix.lower() == ".npz":
            with files.opened_npz(path) as archive:
                return list(archive.files)
        return tables.header(path) if tables.is_table(path) else []
    names = getattr(X, "column_names", None) if not is_framed(X) else None
    if names:
        return [str(name) for name in names]
    table = tables.as_table(X)
    return [] if table is None else table.names


def _apart(X: Any, columns: Mapping[str, str]) -> tuple[Any, dict[str, np.ndarray]]:
    """The data without these columns, and the columns' values by the name they are given."""
    names = _names(X)
    if not names:
        raise IsthmusError(
            f"{next(iter(columns.values()))!r} is no column, since the data have none by name: "
            "pass an array with one entry per row"
        )
    for column in columns.values():
        if column not in names:
            raise unknown("column of the data", column, names)
    sources = list(columns.values())
    if isinstance(X, Mapping):
        rest = {name: part for name, part in X.items() if name not in sources}
        return _single(rest), {name: np.asarray(X[c]) for name, c in columns.items()}
    if not isinstance(X, (str, Path)):
        if huggingface.is_hugging_face(X):
            rest = X.select_columns([name for name in names if name not in sources])
            return rest, {name: np.asarray(X[c][:]) for name, c in columns.items()}
        table = tables.as_table(X)
        assert table is not None
        values = {name: values_of(table[c]) for name, c in columns.items()}
        return table.without(sources), values
    located = files.located(X)
    assert located is not None
    path, choice = located
    if path.is_dir():
        return X, dict.fromkeys(columns, np.array(images.class_folders(path), dtype=object))
    if path.suffix.lower() == ".npz":
        with files.opened_npz(path) as archive:
            values = {n: files.npz_member(path, archive, c) for n, c in columns.items()}
        others = [name for name in names if name not in sources]
        return f"{path}:{choice or files.default_members(path, others)}", values
    cells = tables.columns(path, sources)
    values = {name: cells[column] for name, column in columns.items()}
    return f"{path}:{choice or '-' + ','.join(sources)}", values


def _single(parts: dict[str, Any]) -> Any:
    """A mapping of one array is that array, where the rest was given; one column stays a table."""
    return next(iter(parts.values())) if len(parts) == 1 and not is_framed(parts) else parts


def _numbered(
    name: str, column: str, values: np.ndarray, known: Sequence[str] | None
) -> tuple[np.ndarray, list[str] | None]:
    """Numbers as they are; words as the numbers of their levels, and the levels."""
    if values.dtype.kind in "biuf" and known is None:
        return values, None
    words = np.array([str(value) for value in values])
    lacking = next((i for i, value in enumerate(values) if _is_missing(value)), None)
    if lacking is not None:
        raise IsthmusError(
            f"the column {column!r}, given as {name!r}, has no value in row {lacking}: leave these "
            "rows out, or give them a level of their own"
        )
    numbers = None if known is not None else _as_numbers(words)
    if numbers is not None:
        return numbers, None
    levels = sorted(set(words.tolist())) if known is None else list(known)
    if len(levels) > MOST_LEVELS:
        raise IsthmusError(
            f"the column {column!r}, given as {name!r}, has {len(levels)} different words: give a "
            "column of numbers or of fewer levels"
        )
    place = {word: number for number, word in enumerate(levels)}
    new = next((word for word in words.tolist() if word not in place), None)
    if new is not None:
        raise IsthmusError(
            f"the column {column!r}, given as {name!r}, holds {new!r}, which was not there when "
            f"the model was fitted ({_few(levels)}): leave these rows out"
        )
    return np.array([place[word] for word in words.tolist()], np.int64), levels


def _is_missing(value: Any) -> bool:
    """Whether a cell or an element of a frame says that there is no value; "none" is a word."""
    return value is None or str(value).strip().lower() in ("", "nan", "nat", "<na>")


def _as_numbers(words: np.ndarray) -> np.ndarray | None:
    numbers = [number(word) for word in words.tolist()]
    if any(number is None or not np.isfinite(number) for number in numbers):
        return None
    array = np.array(numbers, np.float64)
    return array.astype(np.int64) if (array == np.round(array)).all() else array


def _filled(X: Any, mask: Any, kind: Asked, part: str = "") -> Any:
    """Arrays with zeros where nothing was observed: what stands there is not looked at."""
    if isinstance(X, Mapping):
        # A mask that does not fit is said before the NaN that it leaves in sight.
        if mask is not None and not isinstance(mask, Mapping):
            raise IsthmusError("the mask of several parts is a mapping of their names to masks")
        masks = mask or {}
        if not set(masks) <= set(X):
            odd, names = min(set(masks) - set(X)), ", ".join(map(repr, X))
            raise IsthmusError(f"the mask names {odd!r}, and the parts are {names}")
        return {name: _filled(X[name], masks.get(name), None, str(name)) for name in X}
    if mask is None or isinstance(X, (str, Path, Source, list, tuple)) or not hasattr(X, "shape"):
        return X
    array = X.detach().cpu() if isinstance(X, Tensor) else np.asarray(X)
    flags = mask.cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if not _is_floating(array) or flags.dtype != bool or array.ndim < 2:
        return X
    if flags.shape != tuple(array.shape[: flags.ndim]):
        # It may have the layout that images have in a model; otherwise this says what is wrong.
        read_mask(flags, Signal.infer(array, kind), len(array), part)
        return X
    wide = flags.reshape(*flags.shape, *[1] * (array.ndim - flags.ndim))
    if isinstance(array, Tensor):
        return torch.where(torch.from_numpy(wide), array, torch.zeros((), dtype=array.dtype))
    return np.where(wide, array, np.zeros((), array.dtype))


def _is_floating(array: Any) -> bool:
    """Whether values may be NaN."""
    return array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"


def _few(levels: Sequence[str]) -> str:
    return ", ".join(map(repr, levels[:8])) + (", ..." if len(levels) > 8 else "")
