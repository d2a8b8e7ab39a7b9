"""Rows in whatever form users give them: how many they are, some of them, and a mask that fits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.anatomy import tree
from isthmus.anatomy.batch import Batch
from isthmus.anatomy.masks import check_rows
from isthmus.anatomy.source import Source
from isthmus.errors import IsthmusError


def length(X: Any) -> int:
    """How many rows there are; none is an error."""
    total = tree.count(X) if isinstance(X, Mapping) else len(X)
    if total == 0:
        raise IsthmusError("the data are empty: pass at least one row")
    return total


def cut_rows(X: Any, start: int, stop: int) -> Any:
    """The rows from ``start`` to ``stop``, or those of each part."""
    if X is None:
        return None
    if isinstance(X, Mapping):
        return {name: cut_rows(part, start, stop) for name, part in X.items()}
    if isinstance(X, (np.ndarray, Tensor, Sequence)):
        return X[start:stop]
    return X.take(torch.arange(start, stop))


def check_mask(X: Any, mask: Any, rows: int) -> None:
    """An error for a mask that would not be looked at, or not be one of these rows."""
    if mask is not None and isinstance(X, (Source, Batch)):
        raise IsthmusError(
            f"a {type(X).__name__} has its own mask: make it with the mask, as in "
            "isthmus.data.given_source(X, mask=mask)[0]"
        )
    for name, leaf in tree.leaves(mask):
        check_rows(leaf, rows, name)
