"""Data of any kind made ready for every method alike, and a note of all that was done to them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from isthmus import data
from isthmus.anatomy import Kind, Reading
from isthmus.comparison.layout import Layout
from isthmus.data import tables
from isthmus.data.files import located, opened_npz
from isthmus.errors import IsthmusError, unknown

LEVELS = 30
"""Levels up to which a text column is taken for categories."""
CLASSES = 30
"""Distinct numbers up to which a column of labels is taken for classes."""
LABELS = ("y", "label", "labels", "y_train")
"""Members of an archive that are taken for the labels, in this order."""

LabelKind = Literal["classes", "numbers"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows and labels, with what was done to them.

    ``x`` is ``(rows, *shape)``; vectors may hold NaN, which each split fills from its training
    part. ``labels`` ``(rows,)`` are class numbers or real values, as ``kind`` says; None without.
    ``classes`` names the classes. ``columns`` are the names of a table's final columns.
    ``reads`` is the kind as which rows of more axes than one were read.
    """

    name: str
    x: np.ndarray
    labels: np.ndarray | None
    kind: LabelKind | None
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    layout: Layout | None = None
    reads: Kind | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test rows of one seed, filled and scaled by the training rows alone."""

    train: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None
    test_labels: np.ndarray | None
    kind: LabelKind | None
    layout: Layout | None = None
    reads: Kind | None = None

    @property
    def flat_train(self) -> np.ndarray:
        """``(rows, elements)`` for methods that know vectors only."""
        return self.train.reshape(len(self.train), -1)

    @property
    def flat_test(self) -> np.ndarray:
        """The same of the test rows."""
        return self.test.reshape(len(self.test), -1)


def prepare(X: Any, labels: Any = None, reading: Reading | None = None) -> Prepared:
    """Make ``X`` ready: a name, a file, an array or anything :func:`isthmus.data.as_source` takes.

    ``labels`` is an array, the name of a column of the table, or a file with one value a row.
    Where a set of that name, or an .npz file, brings labels of its own, they are used. In a CSV
    file, text columns of up to 30 levels become categories (one 0/1 column each); others are left
    out, as are columns that never vary. All of it is noted. ``reading`` is how the data are read.
    """
    notes: list[str] = []
    columns: tuple[str, ...] = ()
    path, layout = None, None
    reads: Kind | None = None
    if isinstance(X, (str, Path)) and not data.is_name(X):
        found = located(X)
        path = found[0] if found and found[1] is None else None
    if path is not None and tables.is_table(path) and path.suffix.lower() != ".parquet":
        x, columns, labels = _from_table(path, labels, notes)
        name = path.name
    elif isinstance(X, str) and data.is_name(X):
        held = data.load(X)
        parts = [held.train] if held.test is None else [held.train, held.test]
        how = (reading or Reading()).or_kind(held.kind)
        source = data.as_source(np.concatenate(parts), how)
        x, name, reads = _rows(source), held.name, source.signal.kind
        if labels is None and held.train_labels is not None:
            both = [held.train_labels]
            if held.test is not None and held.test_labels is not None:
                both.append(held.test_labels)
            labels = np.concatenate(both)
            notes.append("labels: those that come with the set")
            if labels.ndim > 1:
                labels = labels[:, 0]
                notes.append("of several labels the first column is used")
        if held.test is not None:
            notes.append("the set's own training and test parts are joined, and split anew")
    else:
        source = data.as_source(X, reading)
        reads = source.signal.kind
        if source.signal.kind == "collection":
            layout = Layout.of(source.signal)
            notes.append(
                f"the parts {', '.join(layout.places)} stand side by side for methods that read "
                "one array"
            )
        x = _rows(source, layout)
        name = "the data" if not isinstance(X, (str, Path)) else path.name if path else str(X)
        if labels is None and path is not None and path.suffix == ".npz":
            labels = _labels_of_archive(path, len(x), notes)
    if x.ndim == 2:
        notes.append(
            "each split brings columns to mean 0 and standard deviation 1 of its training rows"
        )
    values, kind, classes = _labels(labels, len(x), notes)
    if values is not None and kind == "numbers" and np.isnan(values).any():
        whole = ~np.isnan(values)
        notes.append(f"{(~whole).sum()} rows without a label are left out")
        x, values = x[whole], values[whole]
    reads = reads if x.ndim > 2 else None
    return Prepared(name, x, values, kind, classes, columns, notes, layout, reads)


def split(prepared: Prepared, seed: int, share: float = 0.25) -> Split:
    """A quarter of the rows for testing, drawn by ``seed``, with classes in proportion.

    Missing values become the median of the training rows; vectors are brought to mean 0 and
    standard deviation 1 of the training rows, which leaves out what does not vary there.
    """
    rng = np.random.default_rng(seed)
    n = len(prepared.x)
    test = np.zeros(n, bool)
    for group in _groups(prepared):
        if len(group) > 1:
            number = min(len(group) - 1, max(1, round(share * len(group))))
            test[rng.permutation(group)[:number]] = True
    train_x, test_x = prepared.x[~test], prepared.x[test]
    if prepared.x.ndim == 2:
        with np.errstate(all="ignore"):
            middle = np.nan_to_num(np.nanmedian(train_x, 0))
        train_x = np.where(np.isnan(train_x), middle, train_x)
        test_x = np.where(np.isnan(test_x), middle, test_x)
        mean, spread = train_x.mean(0, dtype=np.float64), train_x.std(0, dtype=np.float64)
        vary = spread > 1e-12 * np.maximum(1.0, np.abs(mean))
        if not vary.any():
            raise IsthmusError("no column of the data varies: there is nothing to compare")
        train_x, test_x = (
            ((part[:, vary] - mean[vary]) / spread[vary]).astype(np.float32)
            for part in (train_x, test_x)
        )
    labels, layout = prepared.labels, prepared.layout
    if layout is not None:
        layout = layout.kept(vary)
    return Split(
        train_x,
        test_x,
        None if labels is None else labels[~test],
        None if labels is None else labels[test],
        prepared.kind,
        layout,
        prepared.reads,
    )


def _groups(prepared: Prepared) -> Iterator[np.ndarray]:
    if prepared.kind != "classes" or prepared.labels is None:
        yield np.arange(len(prepared.x))
        return
    for label in np.unique(prepared.labels):
        yield np.flatnonzero(prepared.labels == label)


def _rows(source: Any, layout: Layout | None = None) -> np.ndarray:
    if len(source) < 8:
        raise IsthmusError(f"{len(source)} rows are too few to compare anything: pass at least 8")
    rows = source.rows(torch.arange(len(source)))
    if layout is not None:
        return layout.together(rows)
    if source.signal.ragged or not source.signal.is_real:
        raise IsthmusError(f"methods are compared on numbers, and the data are {source.signal}")
    whole: np.ndarray = rows.numpy()
    return whole


def _labels_of_archive(path: Path, rows: int, notes: list[str]) -> np.ndarray | None:
    with opened_npz(path) as archive:
        for name in LABELS:
            if name in archive.files and archive[name].shape[:1] == (rows,):
                notes.append(f"labels: the member {name!r} of the archive")
                found: np.ndarray = archive[name]
                return found.reshape(rows, -1)[:, 0]
    return None


def _labels(
    given: Any, rows: int, notes: list[str]
) -> tuple[np.ndarray | None, LabelKind | None, tuple[str, ...]]:
    if given is None:
        return None, None, ()
    if isinstance(given, (str, Path)):
        given = _label_file(Path(given))
    values = np.asarray(given)
    if values.shape != (rows,):
        raise IsthmusError(
            f"the labels have the shape {values.shape} and the data {rows} rows: pass one label "
            "for each row"
        )
    if values.dtype.kind in "fiub":
        numbers = values.astype(np.float64)
        distinct = np.unique(numbers[~np.isnan(numbers)])
        if len(distinct) > CLASSES or (distinct != np.round(distinct)).any():
            notes.append("labels are numbers, taken as values to predict")
            return numbers, "numbers", ()
        if np.isnan(numbers).any():
            raise IsthmusError("some labels are missing: give every row a class, or leave rows out")
        values = numbers
    names, codes = np.unique(values, return_inverse=True)
    if len(names) < 2:
        raise IsthmusError("all labels are the same: pass labels of at least two classes")
    notes.append(f"{len(names)} classes")
    texts = tuple(f"{one:g}" if values.dtype.kind == "f" else str(one) for one in names)
    return codes, "classes", texts


def _label_file(path: Path) -> np.ndarray:
    if not path.exists():
        raise IsthmusError(
            f"there is no column and no file {str(path)!r}: name a column of the table, or a file "
            "with one label a row"
        )
    if tables.is_table(path):
        header, cells = tables.text(path)
        if len(header) != 1:
            raise IsthmusError(f"{str(path)!r} has {len(header)} columns: keep the labels only")
        return _parsed([row[0] for row in cells])
    if path.suffix == ".npy":
        held: np.ndarray = np.load(path, allow_pickle=False)
        return held
    return _parsed(path.read_text(encoding="utf-8").split("\n")[: -1 or None])


def _from_table(
    path: Path, label: Any, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...], Any]:
    header, cells = tables.text(path)
    for number, row in enumerate(cells):
        if len(row) != len(header):
            raise IsthmusError(
                f"row {number + 1} of {str(path)!r} has {len(row)} cells instead of {len(header)}: "
                "correct or remove it"
            )
    if len(cells) < 8:
        raise IsthmusError(f"{str(path)!r} has {len(cells)} rows: pass at least 8")
    columns = dict(zip(header, map(list, zip(*cells, strict=True)), strict=True))
    if isinstance(label, str) and (label in columns or not Path(label).exists()):
        if label not in columns:
            raise unknown(f"column of {path.name!r}", label, header)
        label = _parsed(columns.pop(label))
    features: list[np.ndarray] = []
    names: list[str] = []
    missing = 0
    for name, texts in columns.items():
        values = _parsed(texts)
        if values.dtype.kind == "f":
            if np.unique(values[~np.isnan(values)]).size < 2:
                notes.append(f"{name!r} never varies and is left out")
                continue
            if np.isinf(values).any():
                raise IsthmusError(f"the column {name!r} holds infinity: correct these rows")
            missing += int(np.isnan(values).sum())
            features.append(values)
            names.append(name)
            continue
        levels = np.unique(values)
        if len(levels) > LEVELS:
            notes.append(f"{name!r} is text with {len(levels)} different values and is left out")
        elif len(levels) > 1:
            notes.append(f"{name!r} is text: one 0/1 column for each of {len(levels)} values")
            features += [(values == level).astype(np.float64) for level in levels]
            names += [f"{name}={level}" for level in levels]
    if missing:
        notes.append(f"{missing} missing values become their column's median")
    if not features:
        raise IsthmusError(f"{str(path)!r} has no usable column: pass columns of numbers")
    return np.stack(features, 1).astype(np.float32), tuple(names), label


def _parsed(cells: list[str]) -> np.ndarray:
    """Numbers where all cells are (missing ones NaN), else the texts."""
    numbers = [tables.number(cell) for cell in cells]
    if any(number is None for number in numbers):
        return np.array([cell.strip() for cell in cells])
    return np.array(numbers, dtype=np.float64)
