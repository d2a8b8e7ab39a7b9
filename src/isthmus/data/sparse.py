"""Sparse matrices of SciPy as rows of numbers."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import notices
from isthmus.anatomy import Signal, Source
from isthmus.data.sources import ArraySource
from isthmus.errors import IsthmusError

DENSE = 1 << 29
"""Bytes up to which a matrix is filled up with its zeros in memory."""


def opened(matrix: Any) -> Source:
    """A source over a sparse matrix of any format: dense where that is small, else row by row."""
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise IsthmusError(
            f"the sparse matrix is of shape {matrix.shape}: pass rows of at least one column"
        )
    rows, columns = matrix.shape
    size = 4 * rows * columns
    how = f"a sparse matrix of {rows:,} x {columns:,} is"
    if size <= DENSE:
        notices.say(f"{how} filled up with its zeros ({size / 1e6:.0f} MB): pass X.toarray()")
        dense = matrix.toarray()
        return ArraySource(dense if dense.dtype.kind in "biuf" else dense.astype(np.float32))
    notices.say(f"{how} filled up with its zeros row by row, as it is read: that is slower")
    return SparseSource(matrix)


class SparseSource(Source):
    """Rows of a sparse matrix, dense when they are asked for."""

    signal: Signal

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix.tocsr()
        values = self.matrix.data
        if not np.isfinite(values).all():
            row = int(np.searchsorted(self.matrix.indptr, int((~np.isfinite(values)).argmax()),
                                      "right")) - 1  # fmt: skip
            raise IsthmusError(
                f"the data contain NaN or infinity (first in row {row}): drop or fill these first"
            )
        low, high = float(self.matrix.min()), float(self.matrix.max())
        self.signal = Signal("vector", (self.matrix.shape[1],)).bounded(low, high)

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def rows(self, index: Tensor) -> Tensor:
        """Float32 rows ``(len(index), columns)``."""
        return torch.from_numpy(self.matrix[index.numpy()].toarray().astype(np.float32))
