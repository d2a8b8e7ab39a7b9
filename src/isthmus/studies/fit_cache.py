"""Models that studies have fitted, kept by what they were made of, so that each is fitted once.

The key is a hash of the recipe, its options, the data, and of the weights after twenty steps: code
that trains differently makes other weights, and so another key. Models lie under ``fits`` in the
folder of fetched data (``ISTHMUS_CACHE``), and may be deleted at any time.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import isthmus
from isthmus.anatomy import Autoencoder, Source
from isthmus.data.catalogue import cache_folder
from isthmus.errors import IsthmusError

WORTH = 400
"""Shorter fits are made anew: the key itself costs twenty steps."""

PROBED = 20


def weights_hash(model: Autoencoder) -> str:
    """A hash of all parameters and buffers, bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def fitted(recipe: Any, X: Any, options: Mapping[str, Any]) -> Autoencoder:
    """The model of :func:`isthmus.fit` with these arguments, from the cache where it is there."""
    key = None
    if isinstance(recipe, str) and options.get("steps", 0) >= WORTH:
        key = _key(recipe, X, options)
    if key is None:
        return isthmus.fit(recipe, X, **options)
    folder = cache_folder() / "fits" / key
    if folder.exists():
        try:
            return isthmus.load(folder)
        except IsthmusError:  # damaged, or written by another version: made anew
            shutil.rmtree(folder, ignore_errors=True)
    model = isthmus.fit(recipe, X, **options)
    _keep(model, folder)
    return model


def _keep(model: Autoencoder, folder: Path) -> None:
    """Put the model there, whole or not at all; a cache that cannot be written is no error."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            isthmus.save(model, Path(place) / "run")
            (Path(place) / "run").rename(folder)
    except (OSError, IsthmusError):
        return


def _key(recipe: str, X: Any, options: Mapping[str, Any]) -> str | None:
    """What the fit is known by; None where an argument has no bytes to tell it by."""
    about = {name: value for name, value in options.items() if name != "progress"}
    try:
        plain = json.dumps([recipe, about], sort_keys=True, default=_plain)
        data = _plain(X)
    except TypeError:
        return None
    probe = isthmus.fit(recipe, X, **{**options, "steps": PROBED})
    text = f"{plain}{data}{weights_hash(probe)}{torch.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _plain(value: Any) -> str:
    if isinstance(value, np.ndarray | Tensor):
        digest = hashlib.sha256(_bytes(torch.as_tensor(value)))
        return f"{value.dtype}{tuple(value.shape)}{digest.hexdigest()}"
    known = getattr(value, "cache_key", None)
    if known is None and isinstance(value, Source):
        known = value.fingerprint()
    if isinstance(known, str):
        return known
    raise TypeError(f"{type(value).__name__} has no bytes to be known by")


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
