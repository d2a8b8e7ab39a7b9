"""Data of any kind made ready for every method alike, and a note of all that was done to them."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from isthmus import data, notices, tables
from isthmus.anatomy import Kind, Reading, Source
from isthmus.comparison.collection_columns import Layout
from isthmus.data.files import located, opened_npz
from isthmus.data.preparation import DataPreparation
from isthmus.errors import IsthmusError, unknown
from isthmus.evaluation.arrays import without_label
from isthmus.tables import PrepareOptions
from isthmus.tables.cells import number
from isthmus.tables.files import values_of
from isthmus.tables.frames import is_framed

CLASSES = 30
"""Distinct numbers up to which a column of labels is taken for classes."""
LABELS = ("y", "label", "labels", "y_train")
"""Members of an archive that are taken for the labels, in this order."""

TEST_SHARE = 0.25
"""Share of the rows that each split keeps for testing."""

LabelKind = Literal["classes", "numbers"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows and labels, with what was done to them.

    ``x`` is ``(rows, *shape)``; vectors may hold NaN, which each split fills from its training
    part. Of tables it is None, and ``source`` has the rows, which each split prepares by what its
    training rows teach. ``fits`` is what a model is fitted to on all rows. ``labels`` ``(rows,)``
    are class numbers or real values, as ``kind`` says; None without. ``classes`` names the
    classes. ``columns`` are the names of a table's features. ``reads`` is the kind as which rows
    of more axes than one were read.
    """

    name: str
    x: np.ndarray | None
    labels: np.ndarray | None
    kind: LabelKind | None
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    layout: Layout | None = None
    source: Source | None = None
    options: PrepareOptions = field(default_factory=PrepareOptions)
    fits: Any = None
    reads: Kind | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.source) if self.x is None and self.source is not None else len(self._whole)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example; of a table as all rows together teach it."""
        return (len(self.columns),) if self.x is None else self.x.shape[1:]

    @property
    def _whole(self) -> np.ndarray:
        assert self.x is not None
        return self.x

    def digest(self) -> bytes:
        """What tells the rows and labels from others."""
        digest = hashlib.sha256()
        if self.x is not None:
            digest.update(np.ascontiguousarray(self.x).tobytes())
        for table in _tables(self.source):
            digest.update(f"{table.fingerprint()} {self.options}".encode())
        if self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.digest()


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test rows of one seed, filled and scaled by the training rows alone.

    ``columns`` names the features of a table, and ``test_rows`` are the test rows' numbers among
    all rows.
    """

    train: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None
    test_labels: np.ndarray | None
    kind: LabelKind | None
    layout: Layout | None = None
    reads: Kind | None = None
    columns: tuple[str, ...] = ()
    test_rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    truths: tuple[bool, ...] | None = None
    """Which columns of a table are 0 or 1 alone, and stay so."""

    @property
    def flat_train(self) -> np.ndarray:
        """``(rows, elements)`` for methods that know vectors only."""
        return self.train.reshape(len(self.train), -1)

    @property
    def flat_test(self) -> np.ndarray:
        """The same of the test rows."""
        return self.test.reshape(len(self.test), -1)


def prepare(
    X: Any, labels: Any = None, options: Any = None, reading: Reading | None = None
) -> Prepared:
    """Make ``X`` ready: a name, a file, an array or anything :func:`isthmus.data.as_source` takes.

    ``labels`` is an array, the name of a column of the table, or a file with one value a row.
    Where a set of that name, or an .npz file, brings labels of its own, they are used. Tables are
    prepared as ``fit`` prepares them, with the same ``options`` (:class:`PrepareOptions`), by the
    training rows of each split. ``reading`` is how arrays and images are read. All of it is noted.
    """
    prepare_options = PrepareOptions.of(options)
    with notices.collected(quiet=True) as notes:
        return _prepared(X, labels, prepare_options, notes, reading or Reading())


def _prepared(
    X: Any, labels: Any, options: PrepareOptions, notes: list[str], reading: Reading
) -> Prepared:
    path = None
    reads: Kind | None = None
    if isinstance(X, (str, Path)) and not data.is_name(X):
        location = located(X)
        path = location[0] if location else None
    x: np.ndarray | None = None
    source: Source | None = None
    layout: Layout | None = None
    columns: tuple[str, ...] = ()
    fits, name = X, ""
    if isinstance(X, str) and data.is_name(X):
        dataset = data.load(X)
        name = dataset.name
        parts = [dataset.train] if dataset.test is None else [dataset.train, dataset.test]
        if is_framed(dataset.train):
            import pandas as pd

            X = dataset.source(pd.concat(parts, ignore_index=True))
        else:
            whole = data.as_source(np.concatenate(parts), reading.or_kind(dataset.kind))
            x, reads = _rows(whole), whole.signal.kind
            fits = whole
        if labels is None and dataset.train_labels is not None:
            both = [dataset.train_labels]
            if dataset.test is not None and dataset.test_labels is not None:
                both.append(dataset.test_labels)
            labels = np.concatenate(both)
            notes.append("labels: those that come with the set")
            if labels.ndim > 1:
                labels = labels[:, 0]
                notes.append("of several labels the first column is used")
        if dataset.test is not None:
            notes.append("the set's own training and test parts are joined, and split anew")
    if x is None:
        source, labels, fits = _opened(X, path, labels, reading)
        if len(source) < 8:
            raise IsthmusError(f"{_title(X, path)} has {len(source)} rows: pass at least 8")
        preparation = DataPreparation.learn(source, None, options)
        ready = source if preparation is None else preparation.source(source)
        signal = ready.signal
        reads = signal.kind
        if not isinstance(ready, tables.TableSource) and signal.kind == "collection":
            layout = Layout.of(signal)
            notes.append(
                f"the parts {', '.join(layout.places)} stand side by side for methods that read "
                "one array"
            )
        if preparation is None or not _tables(source):
            x, source = _rows(ready, layout), None
        else:
            columns = _features(ready, preparation)
        name = name or (path.name if path else str(X) if isinstance(X, str) else "the data")
        if labels is None and path is not None and path.suffix == ".npz":
            labels = _labels_of_archive(path, len(ready), notes)
    rows = len(source) if x is None and source is not None else len(x if x is not None else ())
    if x is None or x.ndim == 2:
        notes.append(
            "each split brings columns to mean 0 and standard deviation 1 of its training rows "
            "(words, gaps and truth values to mean 0)"
        )
    values, kind, classes = _labels(labels, rows, notes)
    if values is not None and kind == "numbers" and np.isnan(values).any():
        whole_rows = ~np.isnan(values)
        notes.append(f"{(~whole_rows).sum()} rows without a label are left out")
        values = values[whole_rows]
        x = None if x is None else x[whole_rows]
        source = None if source is None else data.Subset(source, np.flatnonzero(whole_rows))
    return Prepared(
        name, x, values, kind, classes, columns, notes, layout, source, options, fits,
        reads if x is not None and x.ndim > 2 else None,
    )  # fmt: skip


def _title(X: Any, path: Path | None) -> str:
    return repr(str(path)) if path else "the data"


def _opened(X: Any, path: Path | None, labels: Any, reading: Reading) -> tuple[Source, Any, Any]:
    """The data without a column of labels, the labels, and what a model is fitted to."""
    column = isinstance(labels, (str, Path)) and not Path(labels).exists()
    tabular = path is not None and tables.is_table(path)
    if isinstance(labels, str) and tabular and labels in tables.header(path):  # type: ignore[arg-type]
        column = True
    if not column:
        source = data.as_source(X, reading)
        if path is not None and source.spec is None:
            source.spec = os.path.abspath(path) + str(X).removeprefix(str(path))
        return source, labels, source
    name = str(labels)
    if tabular and path is not None:
        _, choice = located(X) or (path, None)
        names = tables.header(path)
        if name not in names:
            raise unknown(f"column of {path.name!r}", name, names)
        values = tables.columns(path, [name])[name]
        spec = f"{path}:{choice}" if choice else f"{path}:-{_quoted(name)}"
        source = data.as_source(spec)
        where = os.path.abspath(path)
        inside = isinstance(source, tables.TableSource) and name in source.table.columns
        if inside and isinstance(source, tables.TableSource):
            others = [n for n in source.table.names if n != name]
            spec = f"{path}:{','.join(map(_quoted, others))}"
            source = tables.TableSource(source.table.only(others))
        # Named and not only passed, so that the run knows its data; read once.
        source.spec = where + spec.removeprefix(str(path))
        return source, values, source
    if is_framed(X) or isinstance(X, tables.TableSource):
        table = X.table if isinstance(X, tables.TableSource) else tables.as_table(X)
        assert table is not None
        if name not in table.columns:
            raise unknown("column of the data", name, table.names)
        source = tables.TableSource(table.without([name]))
        return source, values_of(table[name]), source
    source = data.as_source(X, reading)
    return source, labels, source


def _quoted(name: str) -> str:
    """A column's name as it may stand in a choice."""
    return f'"{name}"' if "," in name else name


def _tables(source: Source | None) -> list[tables.Table]:
    """The tables that a source's rows come from."""
    if isinstance(source, tables.TableSource):
        return [source.table]
    if isinstance(source, data.CollectionSource):
        return [table for part in source.parts.values() for table in _tables(part)]
    inner = getattr(source, "source", None)
    return [] if inner is None else _tables(inner)


def _features(ready: Source, preparation: DataPreparation) -> tuple[str, ...]:
    """The names of all features, or their places where they have none."""
    if ready.columns is not None:
        return tuple(ready.columns)
    return tuple(str(place) for place in range(ready.signal.numel))


def split(prepared: Prepared, seed: int, share: float = TEST_SHARE) -> Split:
    """A quarter of the rows for testing, drawn by ``seed``, with classes in proportion.

    Missing values become the median of the training rows; vectors are brought to mean 0 and
    standard deviation 1 of the training rows, which leaves out what does not vary there; what is 0
    or 1 for a word, a gap or a truth value of a table is left in these units, as fits leave it.
    """
    rng = np.random.default_rng(seed)
    n = prepared.rows
    test = np.zeros(n, bool)
    for group in _groups(prepared):
        if len(group) > 1:
            number = min(len(group) - 1, max(1, round(share * len(group))))
            test[rng.permutation(group)[:number]] = True
    if not test.any():
        raise IsthmusError(
            "every class has one row, so that none can be kept for testing: pass labels that rows "
            "share, or numbers that are no classes"
        )
    layout, columns, truths = prepared.layout, prepared.columns, None
    if prepared.x is None:
        train_x, test_x, layout, columns, truths = _taught(prepared, test)
    else:
        train_x, test_x = prepared.x[~test], prepared.x[test]  # copies
    if train_x.ndim == 2:
        with np.errstate(all="ignore"):
            middle = np.nan_to_num(np.nanmedian(train_x, 0)) if np.isnan(train_x).any() else 0.0
        for part in (train_x, test_x):
            np.copyto(part, middle, where=np.isnan(part))
        mean, spread = _moments(train_x)
        vary = spread > 1e-12 * np.maximum(1.0, np.abs(mean))
        if not vary.any():
            raise IsthmusError("no column of the data varies: there is nothing to compare")
        if truths is not None:
            spread = np.where(truths & vary, 1.0, spread)
            truths = truths[vary]
        train_x, test_x = (_standard(part, mean, spread, vary) for part in (train_x, test_x))
        if layout is not None:
            layout = layout.kept(vary)
        if columns:
            columns = tuple(n for n, varies in zip(columns, vary, strict=True) if varies)
    labels = prepared.labels
    return Split(
        train_x,
        test_x,
        None if labels is None else labels[~test],
        None if labels is None else labels[test],
        prepared.kind,
        layout,
        prepared.reads,
        columns,
        np.flatnonzero(test),
        None if truths is None else tuple(truths.tolist()),
    )


def _taught(
    prepared: Prepared, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Layout | None, tuple[str, ...], np.ndarray | None]:
    """The rows of a table as a split's training rows teach them, training and test ones; what the
    columns are called, and which are 0 or 1 alone."""
    source, train = prepared.source, np.flatnonzero(~test)
    assert source is not None
    with notices.collected(quiet=True):
        if isinstance(source, tables.TableSource):
            of_table = tables.Preparation.learn(source.table, train, prepared.options)
            parts = (
                of_table.apply(source.table, train),
                of_table.apply(source.table, np.flatnonzero(test)),
            )
            truths = np.array([truth for one in of_table.encoders for truth in one.truths])
            return *parts, None, tuple(of_table.features), truths if truths.any() else None
        preparation = DataPreparation.learn(source, train, prepared.options)
        assert preparation is not None
        ready = preparation.source(source)
        layout = Layout.of(ready.signal) if ready.signal.kind == "collection" else None
        x = _rows(ready, layout)
        return x[~test], x[test], layout, _features(ready, preparation), None


_PART = 1 << 16
"""Rows that are turned to double at once."""


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every column, in double, without the whole in double."""
    mean = x.mean(0, dtype=np.float64)
    square = np.zeros(x.shape[1])
    for start in range(0, len(x), _PART):
        square += np.square(x[start : start + _PART] - mean).sum(0)
    return mean, np.sqrt(square / len(x))


def _standard(x: np.ndarray, mean: np.ndarray, spread: np.ndarray, vary: np.ndarray) -> np.ndarray:
    """The columns that vary, at mean 0 and standard deviation 1, float32; in place where it can."""
    spread = np.where(vary, spread, 1.0)
    standard = x if x.dtype == np.float32 else np.empty(x.shape, np.float32)
    for start in range(0, len(x), _PART):
        part = slice(start, start + _PART)
        standard[part] = (x[part] - mean) / spread
    return standard if vary.all() else standard[:, vary]


def _groups(prepared: Prepared) -> Iterator[np.ndarray]:
    if prepared.kind != "classes" or prepared.labels is None:
        yield np.arange(prepared.rows)
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
                labels: np.ndarray = archive[name]
                return labels.reshape(rows, -1)[:, 0]
    return None


def _labels(
    labels: Any, rows: int, notes: list[str]
) -> tuple[np.ndarray | None, LabelKind | None, tuple[str, ...]]:
    if labels is None:
        return None, None, ()
    if isinstance(labels, (str, Path)):
        labels = _label_file(Path(labels))
    values = np.asarray(labels)
    if values.shape != (rows,):
        raise IsthmusError(
            f"the labels have the shape {values.shape} and the data {rows} rows: pass one label "
            "for each row"
        )
    missing = without_label(labels)
    if values.dtype.kind in "fiub":
        numbers = np.where(missing, np.nan, values.astype(np.float64))
        distinct = np.unique(numbers[~np.isnan(numbers)])
        if len(distinct) > CLASSES or (distinct != np.round(distinct)).any():
            notes.append("labels are numbers, taken as values to predict")
            return numbers, "numbers", ()
        values = numbers
    if missing.any():
        raise IsthmusError("some labels are missing: give every row a class, or leave rows out")
    if values.dtype.kind == "O":
        values = np.array([str(one) for one in values])
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
        header = tables.header(path)
        if len(header) != 1:
            raise IsthmusError(f"{str(path)!r} has {len(header)} columns: keep the labels only")
        return tables.columns(path, header)[header[0]]
    if path.suffix == ".npy":
        labels: np.ndarray = np.load(path, allow_pickle=False)
        return labels
    return _parsed(path.read_text(encoding="utf-8").split("\n")[: -1 or None])


def _parsed(cells: list[str]) -> np.ndarray:
    """Numbers where all cells are (missing ones NaN), else the texts."""
    numbers = [number(cell) for cell in cells]
    if any(one is None for one in numbers):
        return np.array([cell.strip() or None for cell in cells], object)
    return np.array(numbers, dtype=np.float64)
