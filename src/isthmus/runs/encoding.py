"""The codes of data of any kind, by a model or the folder of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from isthmus.anatomy import Autoencoder, Source
from isthmus.anatomy.inference import ENCODE_BATCH
from isthmus.errors import IsthmusError
from isthmus.runs.data import DataLike, kind_of, opened
from isthmus.runs.loading import load


def encode(
    model: Autoencoder | str | Path,
    X: DataLike,
    *,
    given: Mapping[str, Any] | None = None,
    mask: Any = None,
    code: bool = False,
    batch_size: int = ENCODE_BATCH,
) -> Any:
    """The latents of data, ``(rows, latent)``, deterministic.

    ``model`` is a fitted model or the folder of a run. ``X`` is whatever :func:`isthmus.fit` takes
    (an array, a frame, a name, a file, ...), read, prepared and scaled as the run read its own; of
    a named set its training part. ``given`` and ``mask`` are as in :func:`isthmus.fit`; columns
    that were given by name are taken again. Latents of a tensor are a tensor where that lies, all
    others float32 in NumPy. With ``code=True`` it is the :class:`isthmus.anatomy.Code` itself,
    which has what its kind adds (values and indices, variances, code-book indices), so that a
    sparse code stays sparse.

    Raises :class:`IsthmusError` for a folder that holds no sound run, and for data that the model
    does not read.
    """
    autoencoder = load(model) if isinstance(model, (str, Path)) else model
    if not isinstance(autoencoder, Autoencoder):
        raise IsthmusError(
            f"a {type(autoencoder).__name__} cannot encode: pass a fitted model or the folder of a "
            "run, and the data after it"
        )
    if isinstance(X, (np.ndarray, Tensor)) and not isinstance(X, np.ma.MaskedArray):
        method: Any = autoencoder.encode
        about = {n: v for n, v in {"given": given, "mask": mask}.items() if v is not None}
        return method(X, code=code, batch_size=batch_size, **about)
    source, _ = opened(X, given, mask, autoencoder.config, kind=kind_of(autoencoder))
    if code:
        return autoencoder.encode(source, code=True, batch_size=batch_size)
    codes = autoencoder.encode(source, batch_size=batch_size)
    return codes if isinstance(X, Source) else codes.numpy()
