"""Models that studies have fitted, kept by what they were made of, so that each is fitted once.

The key is a hash of the recipe, its options, the data, the code of all parts that train, torch and
the processor: any edit of these makes models anew, if only of a comment, since what a change does
may show after the last step alone. Models lie under ``fits`` in the folder of fetched data
(``ISTHMUS_CACHE``), and may be deleted at any time.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
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
"""Shorter fits are made anew: reading and checking a kept one takes as long."""

TRAINS = (
    "activations", "anatomy", "bottlenecks", "corruptions", "data", "kernels", "likelihoods",
    "networks", "objectives", "recipes", "runs", "tables", "training",
)  # fmt: skip
"""Packages that a fit may depend on."""


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
    except (TypeError, ValueError):
        return None
    place = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
    text = f"{plain}{data}{code()}{place} {torch.get_num_threads()}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@cache
def code() -> str:
    """A hash of the files of all packages that a fit may depend on."""
    root, digest = Path(isthmus.__file__).parent, hashlib.sha256()
    for package in TRAINS:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".c", ".h"):
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _plain(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        digest = hashlib.sha256(_bytes(value))
        return f"{value.dtype}{tuple(value.shape)}{digest.hexdigest()}"
    known = value.fingerprint() if isinstance(value, Source) else None
    if isinstance(known, str):
        return known
    raise TypeError(f"{type(value).__name__} has no bytes to be known by")


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
