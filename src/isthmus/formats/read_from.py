"""Where the rows that a run was fitted to stood: model and point, for what is written of it."""

from collections.abc import Mapping
from typing import Any

from isthmus.activations.store import Store
from isthmus.errors import IsthmusError
from isthmus.formats.hook_names import FAMILIES, names_of
from isthmus.formats.record import Record


def note_origin(record: Record, config: Mapping[str, Any]) -> None:
    """Fill in the model and the places of a run on ``lm:`` or ``store:``, as far as they are told.

    What the record says already stays. A name of TransformerLens is given where all families of
    models that have such a path call it the same. A point of the gradient is no place to read.
    """
    spec = str((config.get("data") or {}).get("spec") or "")
    scheme, _, rest = spec.partition(":")
    if scheme not in ("lm", "store") or record.model_name or record.module:
        return
    name, at, listed = rest.partition("?")[0].rpartition("@")
    points = [point for point in listed.split(",") if point]
    if not at or len(points) != (2 if record.transcoder else 1):
        return
    if any(point.endswith(":gradient") for point in points):
        return
    record.model_name = _stored(name) if scheme == "store" else name
    places = [_place(point) for point in points]
    record.module, record.side = places[0]
    record.hook_name = _lens(points[0])
    if record.transcoder:
        record.module_out, record.side_out = places[1]
        record.hook_name_out = _lens(points[1])


def _stored(folder: str) -> str | None:
    """The model whose activations a store holds, where it is still there."""
    try:
        model = Store(folder).provenance.model
    except (IsthmusError, OSError):
        return None
    return str(model.get("opened") or model["name"])


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
