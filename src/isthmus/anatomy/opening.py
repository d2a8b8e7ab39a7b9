"""Data by name or path, for a fitted model. Opening files is no matter of this package: whoever can
open them says how."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isthmus.anatomy.source import Source
from isthmus.errors import IsthmusError

if TYPE_CHECKING:
    from isthmus.anatomy.autoencoder import Autoencoder

Opener = Callable[["Autoencoder", Any], Source]
_openers: list[Opener] = []


def register(opener: Opener) -> Opener:
    """Open names with this from now on; returns it, so that it can stand above a function."""
    _openers[:] = [opener]
    return opener


def is_closed(X: Any) -> bool:
    """Whether data have to be opened: a set's name, the path of a file or folder, or a sparse
    matrix of SciPy, which whoever has one has imported."""
    sparse_matrices = sys.modules.get("scipy.sparse")
    sparse = sparse_matrices is not None and bool(sparse_matrices.issparse(X))
    return sparse or isinstance(X, (str, Path))


def opened(model: "Autoencoder", name: Any) -> Source:
    """What a name, a path or a sparse matrix means, read as the model's training data were."""
    if not _openers:
        raise IsthmusError(
            f"{str(name)!r} is a name, which nothing opens here: import isthmus, or pass the rows"
        )
    return _openers[-1](model, name)


def arrays(found: Any) -> Any:
    """Results for rows of a file: arrays for tensors, where NumPy has their type."""
    if isinstance(found, Mapping):
        return {name: arrays(part) for name, part in found.items()}
    plain = isinstance(found, Tensor) and found.dtype != torch.bfloat16
    return found.numpy(force=True) if plain else found
