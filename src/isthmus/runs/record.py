"""How a run's pieces come together: data, options, model, folder, and what is noted of them."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from isthmus import data, notices
from isthmus.anatomy import Autoencoder, Reading, Source
from isthmus.data.given import Columns
from isthmus.recipes import Recipe
from isthmus.recipes.origin import distribution
from isthmus.recipes.registry import module_options
from isthmus.recipes.scaling import modes_of
from isthmus.runs.data import DataLike
from isthmus.training import (
    TrainingOptions,
)
from isthmus.training.plan import Plan
from isthmus.training.reference import stored

FINGERPRINT_ROWS = 4096


def title_of(config: Mapping[str, Any]) -> str:
    """What to call a run: its recipe's name."""
    origin = config.get("origin") or {}
    return str(origin.get("name") or config.get("recipe") or "an autoencoder of your own")


def storable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for ``config.json``; a module of the user's own is stored as its class name."""
    modules = module_options(options)
    plain: dict[str, Any] = {}
    for name, value in options.items():
        if name in modules or callable(value):
            kind = type(value) if name in modules else value
            plain[name] = {"module": f"{kind.__module__}.{getattr(kind, '__qualname__', kind)}"}
        else:
            plain[name] = list(value) if isinstance(value, tuple) else value
    return plain


def described(
    X: DataLike,
    source: Source,
    columns: Columns | None = None,
    reading: Reading | None = None,
    left_out: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Where the data came from, and a fingerprint of up to 4096 rows spread over them.

    ``reading`` is what was said of how to read them, so that they are read in the same way again.
    A source that knows its own fingerprint is asked for that instead of for rows.
    """
    spec = source.spec
    if spec is None and isinstance(X, (str, Path)):
        spec = os.path.abspath(X) if Path(X).exists() and not data.is_name(X) else str(X)
    signal = _in_order(source.signal.to_dict())
    digest = hashlib.sha256(json.dumps([len(source), signal]).encode())
    fingerprint = source.fingerprint()
    if fingerprint is None:
        spread = torch.arange(0, len(source), max(1, len(source) // FINGERPRINT_ROWS))
        for name, tensor in sorted(stored(source.batch(spread)).items()):
            if name != "input":  # of runs made before, which had one array, the name is no part
                digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
    else:
        digest.update(fingerprint.encode())
    about: dict[str, Any] = {"spec": spec, "rows": len(source), "fingerprint": digest.hexdigest()}
    how = {} if reading is None else reading.to_dict()
    if not any(part.axis for part in (source.signal, *source.signal.parts.values())):
        how.pop("features", None)
    if how:
        about["reading"] = how
    if left_out:
        about["max_norm"] = dict(left_out)
    return {**about, "given": columns.to_dict()} if columns and columns.column else about


def _in_order(signal: dict[str, Any]) -> dict[str, Any]:
    """A signal as a dictionary, its parts by their names: their order says nothing of the data.

    Nor does the layout of raw rows, which came to be noted later.
    """
    signal = {name: value for name, value in signal.items() if name not in ("flat", "axis")}
    if "parts" not in signal:
        return signal
    parts = {name: _in_order(part) for name, part in sorted(signal["parts"].items())}
    return {**signal, "parts": parts}


def config_of(
    recipe: Recipe,
    model: Autoencoder,
    options: Mapping[str, Any],
    training: TrainingOptions,
    about: Mapping[str, Any],
    *,
    own_validation: bool,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """What ``config.json`` says of a run on the data ``about``, as :func:`described` them.

    A recipe that is not of this library is named as ``package.module:function``; ``origin`` has
    its short name, its distribution and whether it can be imported, and ``scaling`` what was done
    to the data. The recipe of an autoencoder that was passed is None. ``threads`` is how many
    worked on it, with which a resumed run goes on, since others round otherwise. ``notes`` is what
    was said on the user's behalf, and grows by what is yet to be said in the same call.
    """
    return {
        "recipe": recipe.name if recipe.builtin else recipe.source or None,
        **_foreign(recipe, model),
        "options": storable(options),
        "training": training.model_dump(mode="json"),
        "signal": model.signal.to_dict(),
        "data": dict(about),
        "own_validation": own_validation,
        "threads": torch.get_num_threads(),
        **({} if plan is None else {"plan": plan.to_dict()}),
        "notes": notices.heard(),
    }


def _foreign(recipe: Recipe, model: Autoencoder) -> dict[str, Any]:
    if recipe.builtin:  # its options say how data are scaled, but for the formulas of others' files
        modes = modes_of(model.scaler)
        return {"scaling": modes} if modes in ("rows-sample", "rows-length") else {}
    if not recipe.source:
        return {"scaling": modes_of(model.scaler)}
    package = distribution(recipe.source.partition(":")[0])
    return {
        "origin": {
            "name": recipe.name,
            "distribution": None if package is None else list(package),
            "importable": recipe.importable,
        },
        "scaling": modes_of(model.scaler),
    }
