"""Whatever the user has, as a source; and its division into training and validation rows."""

import sys
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from isthmus.anatomy import Asked, Reading, Rows, Source
from isthmus.data import files, huggingface, registry, schemes, sparse
from isthmus.data import streams as spooling
from isthmus.data.lists import list_source
from isthmus.data.named import Data
from isthmus.data.ragged import GivenSource, RowsSource
from isthmus.data.sources import ArraySource, Subset, collection
from isthmus.data.torch_datasets import DatasetSource
from isthmus.errors import IsthmusError
from isthmus.notices import say
from isthmus.tables import Table, TableSource, as_table
from isthmus.tables.frames import is_framed
from isthmus.tables.source import plain


def as_source(
    X: Any, kind: Asked = None, *, axis: int | None = None, size: Any = None, mode: Any = None
) -> Source:
    """A source over ``X``.

    ``X`` is an array, a tensor, a list of rows, a mapping of names to arrays (a collection), a
    frame of pandas or polars, an Arrow table, records or columns by name (a table: see
    :class:`~isthmus.tables.TableSource`), a sparse matrix, a masked array, a torch data set of
    any kind, a data set of Hugging Face, one of its columns, a stream of rows, a :class:`Data`
    (its training part), the name of a
    data set, the path of a file or a folder of images (``./mnist`` for a folder that bears the
    name of a set), a spec with a registered scheme (``lm:resident@layers.1``), or a source
    already. Arrays are scanned for NaN and infinity. What they are is found from their shape
    (:mod:`isthmus.anatomy.axes`) unless ``kind`` and ``axis`` (of features or channels) say
    it; ``size`` and ``mode`` are what images are brought to (:class:`isthmus.data.images.Images`).
    """
    if any(option is not None for option in (axis, size, mode)):
        kind = Reading.checked(kind, axis, size, mode)
    if isinstance(X, Source):
        return X
    if isinstance(X, Data):
        return X.sources()[0]
    if isinstance(X, (str, Path)):
        return _by_name(X, kind)
    if huggingface.is_hugging_face(X):
        content = huggingface.opened(X)
        if content is not X:
            return as_source(content, kind)
    if _is_sparse(X):  # before mappings: SciPy's dictionaries of keys are mappings too
        return sparse.opened(X)
    if is_framed(X):
        table = as_table(X)
        assert table is not None
        return _of_table(table, kind)
    if isinstance(X, np.ma.MaskedArray) and np.ma.getmaskarray(X).any():
        return _masked(X, kind)
    if isinstance(X, (np.ndarray, Tensor)):
        return ArraySource(X, kind)
    if isinstance(X, (list, tuple)):
        return list_source(X, Reading.of(kind))
    if isinstance(X, Mapping):
        return collection(X, kind)
    if hasattr(X, "to_numpy"):
        return ArraySource(np.asarray(X.to_numpy()), kind)
    if isinstance(X, TensorDataset) and X.tensors:
        return ArraySource(X.tensors[0], kind)
    if isinstance(X, Rows):
        return RowsSource(X, kind)
    if spooling.is_stream(X):
        return as_source(spooling.gathered(X), kind)
    if isinstance(X, Dataset) or (hasattr(X, "__getitem__") and hasattr(X, "__len__")):
        return DatasetSource(X, kind)
    raise IsthmusError(
        f"data of type {type(X).__name__} cannot be read: pass an array, a tensor, a data frame, "
        "a torch data set, or the name of a file or data set"
    )


def split(source: Source, share: float = 0.1, seed: int = 0) -> tuple[Subset, Subset]:
    """Training and validation rows: a random share of the rows, by ``seed``, is for validation.

    The validation part has ``ceil(share * rows)`` rows; both parts have at least one.
    """
    n = len(source)
    if not 0 < share < 1:
        raise IsthmusError(f"a validation share of {share} is out of range: use one in (0, 1)")
    if n < 2:
        raise IsthmusError(f"{n} row cannot be divided into two parts: pass at least two rows")
    count = min(n - 1, ceil(share * n))
    order = np.random.default_rng(seed).permutation(n)
    # Sorted, so that reading a part from first to last walks forward through a file.
    return Subset(source, np.sort(order[count:])), Subset(source, np.sort(order[:count]))


def _by_name(name: str | Path, kind: Asked) -> Source:
    if isinstance(name, str) and schemes.has_scheme(name):
        return schemes.open_spec(name)
    # A set's name wins over a folder of that name, which a run saved beside it may well have.
    if isinstance(name, str) and registry.is_name(name):
        data = registry.load(name)
        return data.source(data.train, kind)
    if files.located(name) is not None or isinstance(name, Path):
        return files.open_file(name, kind)
    looks_like_path = "\\" in name or name.startswith(("/", ".", "~")) or Path(name).suffix != ""
    if looks_like_path:
        return files.open_file(name, kind)
    data = registry.load(name)
    return data.source(data.train, kind)


def _of_table(table: Table, kind: Asked) -> Source:
    """A table as rows of features; as another kind of signal it is an array of its numbers."""
    if Reading.of(kind).kind in (None, "vector"):
        return TableSource(table)
    return ArraySource(plain(table), kind, columns=table.names)


def _masked(X: np.ma.MaskedArray, kind: Asked) -> Source:
    """A masked array: what is masked was not observed."""
    masked = np.ma.getmaskarray(X)
    say(
        f"{int(masked.sum())} masked entries of the array are taken as not observed: fill them, "
        "X.filled(0), to have them read"
    )
    filled = np.where(masked, np.zeros((), X.dtype), X.data)
    return GivenSource(ArraySource(filled, kind), {}, ~masked)


def _is_sparse(X: Any) -> bool:
    """Whether it is a sparse matrix; whoever has one has imported SciPy's already."""
    sparse_matrices = sys.modules.get("scipy.sparse")
    return sparse_matrices is not None and bool(sparse_matrices.issparse(X))
