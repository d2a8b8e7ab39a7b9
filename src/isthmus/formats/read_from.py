"""Where the rows that a run was fitted to stood: model and point, for what is written of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.activations.points import is_gradient
from isthmus.activations.spec import places_named
from isthmus.activations.store import Store
from isthmus.errors import IsthmusError
from isthmus.formats.hook_names import FAMILIES, names_of
from isthmus.formats.record import Record


def host_of(config: Mapping[str, Any]) -> str | None:
    """The language model whose activations a run was fitted to, by name; None of other data.

    Of one that lies in a folder of this machine it is the folder's name alone, and of a store the
    model that it holds, where the store is still there.
    """
    spec = _spec(config)
    named = places_named(spec)
    if named is None:
        return None
    name: str | None = named[0]
    if spec.startswith("store:"):
        try:
            model = Store(named[0]).provenance.model
        except (IsthmusError, OSError):
            return None
        name = str(model.get("opened") or model["name"])
    return Path(name).name if name and Path(name).is_absolute() else name


def note_origin(record: Record, config: Mapping[str, Any]) -> None:
    """Fill in the model and the places of a run on ``lm:`` or ``store:``, as far as they are told.

    What the record says already stays. A name of TransformerLens is given where all families of
    models that have such a path call it the same. Patterns and gradients are no places.
    """
    _, points = places_named(_spec(config)) or ("", ())
    if record.model_name or record.module or len(points) != (2 if record.transcoder else 1):
        return
    if any("*" in point or is_gradient(point) for point in points):
        return
    record.model_name = host_of(config)
    record.module, record.side = _place(points[0])
    record.hook_name = _lens(points[0])
    if record.transcoder:
        record.module_out, record.side_out = _place(points[1])
        record.hook_name_out = _lens(points[1])


def _spec(config: Mapping[str, Any]) -> str:
    return str((config.get("data") or {}).get("spec") or "")


def _place(point: str) -> tuple[str, Any]:
    path, _, side = point.partition(":")
    return path, side or "out"


def _lens(point: str) -> str | None:
    """TransformerLens's name of a point; None also where families differ about it."""
    names = {
        names_of(point, kind)["transformer_lens"]
        for kind, stacks in FAMILIES.items()
        if any(point.startswith(f"{family.stack}.") for family in stacks)
    }
    return names.pop() if len(names) == 1 else None
