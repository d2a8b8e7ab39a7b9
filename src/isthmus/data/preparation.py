"""The preparation of a fit: learnt on the training rows, for tables and arrays that need one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import notices
from isthmus.anatomy import Autoencoder, Batch, Source, Tree
from isthmus.data.conversion import as_source
from isthmus.data.ragged import GivenSource
from isthmus.data.sources import ArraySource, CollectionSource, Subset
from isthmus.errors import IsthmusError
from isthmus.tables import CentredSource, Centring, PrepareOptions, Table, TableSource, as_table
from isthmus.tables import Preparation as OfTable
from isthmus.tables.frames import is_framed
from isthmus.tables.restoring import array, given_back

OfPart = OfTable | Centring
Leaf = Callable[[Source, str], Source]


@dataclass(frozen=True, eq=False)
class DataPreparation:
    """The preparations of the parts of the data, by name; of data that are no collection ``""``."""

    parts: Mapping[str, OfPart]

    @classmethod
    def learn(
        cls, source: Source, index: np.ndarray | None, options: PrepareOptions
    ) -> "DataPreparation | None":
        """From the rows ``index`` of a source; None where its rows are read as they are."""
        parts: dict[str, OfPart] = {}

        def look(leaf: Source, name: str) -> Source:
            part = _learnt(leaf, index, options, name)
            if part is not None:
                parts[name] = part
            return leaf

        _each(source, look)
        if options != PrepareOptions() and not any(isinstance(p, OfTable) for p in parts.values()):
            raise IsthmusError("prepare is for tables, and these data are none: leave it out")
        return cls(parts) if parts else None

    def source(self, source: Source) -> Source:
        """The source with its parts prepared; what is prepared already stays."""

        def prepared(leaf: Source, name: str) -> Source:
            preparation = self.parts.get(name)
            if isinstance(preparation, OfTable):
                return _as_table_has_it(leaf, preparation)
            if isinstance(preparation, Centring) and isinstance(leaf, ArraySource | TableSource):
                raw = _raw(leaf)
                if raw is not None and raw(np.arange(1)).shape[-1] == len(preparation.offset):
                    return CentredSource(leaf, raw, preparation)
            return leaf

        return _each(source, prepared)

    def read(self, X: Any) -> Any:
        """See :class:`isthmus.anatomy.Preparation`."""
        if isinstance(X, Batch):
            return X
        if isinstance(X, Source):
            return self.source(X)
        if "" not in self.parts:
            return self._read_parts(X) if isinstance(X, Mapping) else self.source(as_source(X))
        preparation = self.parts[""]
        whole = isinstance(X, (np.ndarray, Tensor)) and not isinstance(X, np.ma.MaskedArray)
        if whole and not is_framed(X):
            return _array_read(X, preparation)
        if isinstance(X, (list, tuple)) and not is_framed(X):
            return _array_read(np.asarray(X), preparation)
        return self.source(as_source(X))

    def _read_parts(self, X: Mapping[Any, Any]) -> Any:
        if any(_is_framed(part) for part in X.values()) or _is_framed(X):
            return self.source(as_source(X))
        by_name = {name: self.parts.get(str(name)) for name in X}
        return {
            name: part if by_name[name] is None else DataPreparation({"": by_name[name]}).read(part)  # type: ignore[dict-item]
            for name, part in X.items()
        }

    def layout(self, X: Any) -> Any:
        """See :class:`isthmus.anatomy.Preparation`."""
        if isinstance(X, Source):
            return None if _table_of(X) is not None else X
        return np.empty(0) if isinstance(X, (str, Path)) or _is_framed(X) else X

    def restored(self, rows: Tree, X: Any, part: str = "") -> Any:
        """See :class:`isthmus.anatomy.Preparation`."""
        if isinstance(X, Batch) or (isinstance(X, Source) and _is_prepared(X)):
            return rows
        if isinstance(rows, Mapping):
            return {
                name: _restored(part, self.parts[name], _part(X, name))
                if name in self.parts
                else part
                for name, part in rows.items()
            }
        preparation = self.parts.get(part)
        if preparation is None or not _fits(rows, preparation):
            return rows
        return _restored(rows, preparation, _part(X, part) if part else X)

    def by_column(self, values: Any, X: Any) -> Any:
        """See :class:`isthmus.anatomy.Preparation`."""
        part = self.parts.get("")
        if not isinstance(part, OfTable) or isinstance(X, Batch):
            return values
        if isinstance(X, (list, tuple)) and not is_framed(X):
            X = np.asarray(X)
        given_as_features = (
            isinstance(X, (np.ndarray, Tensor))
            and not is_framed(X)
            and X.shape[-1] != len(part.columns)
        )
        return values if given_as_features else part.by_column(values)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; :func:`recorded` reads it back."""
        return {name: part.to_dict() for name, part in self.parts.items()}


def asked(prepare: Mapping[str, Any] | None, options: dict[str, Any]) -> PrepareOptions:
    """What a user asked of the preparation: ``prepare``, and ``prepare.NAME`` among options, from
    which these are taken."""
    entries = {n: options.pop(n) for n in [*options] if n.startswith("prepare.")}
    choices = {name.removeprefix("prepare."): value for name, value in entries.items()}
    if choices and prepare is not None and not isinstance(prepare, Mapping):
        return PrepareOptions.of(prepare)
    return PrepareOptions.of(
        {**prepare, **choices} if prepare and choices else prepare or choices or None
    )


def attached(model: Autoencoder, preparation: DataPreparation | None) -> None:
    """Leave a preparation on the model, and in what is saved of its run."""
    model.preparation = preparation
    if preparation is not None:
        model.config["preparation"] = preparation.to_dict()


def recorded(config: Mapping[str, Any] | None) -> DataPreparation | None:
    """The preparation that a run's configuration holds; None where it has none."""
    plain = (config or {}).get("preparation")
    if not plain:
        return None
    kinds: dict[str, Any] = {"table": OfTable, "centring": Centring}
    return DataPreparation({n: kinds[part["kind"]].from_dict(part) for n, part in plain.items()})


def prepared(
    source: Source,
    train: Source,
    held: Source | None,
    options: PrepareOptions,
    model: Autoencoder | None = None,
) -> tuple[Source, Source, Source | None, DataPreparation | None]:
    """The data, the training and the validation rows as a preparation makes them that was learnt
    on the training rows; as they are, and None, where there is nothing to prepare.

    A ``model`` that has been fitted before keeps the preparation that it was fitted with.
    """
    index = train.index.numpy() if isinstance(train, Subset) and train is not source else None
    if model is not None and model.prepared:
        if options != PrepareOptions():
            raise IsthmusError("a fitted model keeps its preparation: leave prepare out")
        of_model = model.preparation
        preparation = of_model if isinstance(of_model, DataPreparation) else None
    else:
        preparation = DataPreparation.learn(source, index, options)
    if preparation is None:
        return source, train, held, None
    whole = preparation.source(source)

    def part(of: Source) -> Source:
        if of is source:
            return whole
        inside = isinstance(of, Subset) and of.source is _inmost(source)
        return _rebased(of, source, whole) if inside else preparation.source(of)

    return whole, part(train), None if held is None else part(held), preparation


def _inmost(source: Source) -> Source:
    return source.source if isinstance(source, Subset) else source


def _rebased(part: Source, source: Source, whole: Source) -> Source:
    """A subset of ``source`` as one of ``whole``."""
    assert isinstance(part, Subset)
    return Subset(_inmost(whole), part.index)


def _each(source: Source, change: Leaf, name: str = "") -> Source:
    """A source whose innermost sources are changed; the same where none is."""
    if isinstance(source, Subset):
        inner = _each(source.source, change, name)
        return source if inner is source.source else Subset(inner, source.index)
    if isinstance(source, GivenSource):
        inner = _each(source.source, change, name)
        return source if inner is source.source else GivenSource(inner, source.given, source.mask)
    if isinstance(source, CollectionSource):
        parts = {key: _each(part, change, key) for key, part in source.parts.items()}
        same = all(parts[key] is part for key, part in source.parts.items())
        return source if same else CollectionSource(parts)
    return change(source, name)


def _learnt(
    leaf: Source, index: np.ndarray | None, options: PrepareOptions, name: str
) -> OfPart | None:
    if isinstance(leaf, TableSource):
        return OfTable.learn(leaf.table, index, options) if leaf.preparation is None else None
    raw = _raw(leaf)
    if raw is None:
        return None
    centring = Centring.learn(raw, np.arange(len(leaf)) if index is None else index)
    if centring is not None:
        moved = int((centring.offset != 0).sum())
        of = f" of the part {name!r}" if name else ""
        notices.say(
            f"{moved} of {len(centring.offset)} features{of} are centred in double precision, "
            "since float32 is too coarse for them as they stand: subtract an offset yourself to "
            "choose it"
        )
    return centring


def _raw(leaf: Source) -> Callable[[np.ndarray], np.ndarray] | None:
    """How rows are read as they are stored, of arrays of vectors and series."""
    if not isinstance(leaf, ArraySource) or leaf.signal.kind not in ("vector", "series"):
        return None

    def read(index: np.ndarray) -> np.ndarray:
        rows = leaf.raw(torch.from_numpy(np.asarray(index, np.int64)))
        return rows.numpy(force=True) if isinstance(rows, Tensor) else np.asarray(rows)

    try:
        read(np.arange(1))
    except TypeError:  # a type that NumPy has not, which float32 holds
        return None
    return read


def _as_table_has_it(leaf: Source, preparation: OfTable) -> Source:
    if isinstance(leaf, TableSource):
        return leaf.prepared(preparation) if leaf.preparation is None else leaf
    if isinstance(leaf, ArraySource) and leaf.signal.kind == "vector":
        rows = leaf.raw(torch.arange(len(leaf)))
        source = _array_read(rows, preparation)
        return source if isinstance(source, Source) else leaf
    return leaf


def _array_read(X: Any, preparation: OfPart) -> Any:
    """An array, whose columns have no names, as the model reads it."""
    width = X.shape[-1] if X.ndim > 1 else -1
    if isinstance(preparation, Centring):
        plain = X.numpy(force=True) if isinstance(X, Tensor) else X
        if width != len(preparation.offset) or plain.dtype.kind not in "iuf":
            return X
        centred = preparation.apply(plain)
        return torch.from_numpy(centred).to(X.device) if isinstance(X, Tensor) else centred
    if preparation.is_plain:
        return X
    numeric = preparation.is_numeric and width == len(preparation.columns)
    if not numeric:
        if width == len(preparation.features) != len(preparation.columns):
            return X  # rows that are prepared already: nothing else has as many columns
        raise IsthmusError(
            f"the columns of an array have no names, and this model reads "
            f"{len(preparation.columns)} columns of a table"
            f"{'' if preparation.is_numeric else ', text or times among them'}: pass a data "
            "frame or a file"
        )
    plain = X.numpy(force=True) if isinstance(X, Tensor) else X
    table = as_table({name: plain[:, i] for i, name in enumerate(preparation.columns)})
    assert table is not None
    features = preparation.apply(table)
    return torch.from_numpy(features).to(X.device) if isinstance(X, Tensor) else features


def _restored(rows: Any, preparation: OfPart, X: Any) -> Any:
    if isinstance(preparation, Centring):
        return preparation.restored(rows)
    plain = rows.numpy(force=True) if isinstance(rows, Tensor) else np.asarray(rows)
    like = _table_of(X)
    if like is not None and like.like:
        return given_back(preparation.restored(plain), like)
    if preparation.is_numeric:
        if preparation.is_plain:
            return rows
        values = array(preparation.restored(plain), [one.is_plain for one in preparation.encoders])
        return torch.from_numpy(values) if isinstance(rows, Tensor) else values
    if isinstance(X, (np.ndarray, Tensor)):
        return rows  # which were given as features
    return given_back(preparation.restored(plain), like)


def _fits(rows: Any, preparation: OfPart) -> bool:
    width = (
        len(preparation.offset) if isinstance(preparation, Centring) else len(preparation.features)
    )
    return getattr(rows, "ndim", 0) > 1 and rows.shape[-1] == width


def _table_of(X: Any) -> Table | None:
    """The table that data are, where they are one."""
    if X is None or isinstance(X, (np.ndarray, Tensor, str, Path)):
        return None
    if isinstance(X, (Subset, GivenSource)):
        return _table_of(X.source)
    return X.table if isinstance(X, TableSource) else as_table(X)


def _part(X: Any, name: str) -> Any:
    if isinstance(X, CollectionSource):
        return X.parts.get(name)
    return X.get(name) if isinstance(X, Mapping) else None


def _is_framed(X: Any) -> bool:
    """Whether data are a table in memory, and not arrays or sources."""
    return not isinstance(X, (Tensor, Source, Batch)) and is_framed(X)


def has_tables(source: Source) -> bool:
    """Whether some of the rows are a table's of which nothing was learnt yet."""
    flags: list[bool] = []

    def look(leaf: Source, name: str) -> Source:
        flags.append(isinstance(leaf, TableSource) and leaf.preparation is None)
        return leaf

    _each(source, look)
    return any(flags)


def names_of(source: Source) -> tuple[str, ...]:
    """The features of a table, by name; none where the rows are not those of one table."""
    inner, _ = source.base(torch.arange(0))
    return tuple(inner.columns) if isinstance(inner, TableSource) else ()


def _is_prepared(source: Source) -> bool:
    flags: list[bool] = []

    def look(leaf: Source, name: str) -> Source:
        flags.append(
            isinstance(leaf, CentredSource)
            or (isinstance(leaf, TableSource) and leaf.preparation is not None)
        )
        return leaf

    _each(source, look)
    return any(flags)
