"""What earlier formats of checkpoints called things, so that they are read as they are."""

import math
from typing import Any

from torch import Tensor

from isthmus.anatomy.each import key_of
from isthmus.errors import IsthmusError

_RENAMED: dict[str, dict[str, str | None]] = {
    "ard-vae": {
        "bottleneck.variance": "prior.variance",
        "bottleneck.squares": "prior.squares",
        "bottleneck.counted": "prior.counted",
        "bottleneck.rows": None,
    },
    "beta-tcvae": {"bottleneck.rows": None},
    "ciwae": {"bottleneck.logit": "objectives.0.terms.0.decoder.logit"},
    "msae": {"bottleneck.variance": "objectives.0.terms.0.variance"},
    "topological": {"bottleneck.scale": "objectives.0.terms.1.scale"},
}
"""Names of tensors in format 1, by recipe; None for what is no longer stored."""

_REORDERED = ("ciwae", "topological")
"""Recipes whose parameters had another order, by which an optimiser's state is stored."""


_PREFIXES = ("", "model.", "best.", "average.")
"""What may stand before the name of a tensor."""


def from_format_1(
    config: dict[str, Any],
    progress: dict[str, Any],
    *groups: dict[str, Tensor],
    reference: dict[str, Tensor],
    where: str,
) -> None:
    """Rename, in place, what a run of format 1 stored; an error where it cannot go on.

    ``groups`` are its weights and its training state, whose names may have a prefix, ``reference``
    its reference tensors.
    """
    if config.get("recipe") == "transcoder":
        # What it was trained with: the weighting by rows is newer.
        config["options"].setdefault("weighting", "none")
        _in_parts(config, progress, groups, reference, where)
        return
    recipe = config.get("recipe")
    names = _RENAMED.get(str(recipe), {})
    state = groups[-1] if len(groups) > 1 else {}
    moved = any(f"model.{name}" in state for name in names) and recipe in _REORDERED
    if moved and not progress.get("finished"):
        raise IsthmusError(
            f"{where} was begun by an earlier version, with another order of its weights: go on "
            "with isthmus 0.1.0, or fit it anew"
        )
    for old, new in names.items():
        for group in groups:
            for prefix in _PREFIXES:
                tensor = group.pop(prefix + old, None)
                if tensor is not None and new is not None:
                    group[prefix + new] = tensor
        for kept in ("best_weights", "average"):
            _rename(progress.get(kept), kept.split("_")[0], old, new)


def _rename(nested: Any, prefix: str, old: str, new: str | None) -> None:
    """The same in the names of a dictionary of tensors, as a checkpoint's progress has it."""
    if not isinstance(nested, dict):
        return
    items = nested["__dict__"]
    for place, (name, _) in enumerate(list(items)):
        if name == old:
            if new is None:
                del items[place]
            else:
                items[place] = [new, {"__tensor__": f"{prefix}.{new}"}]
            return


# --- transcoders -----------------------------------------------------------------------------


def _in_parts(
    config: dict[str, Any],
    progress: dict[str, Any],
    groups: tuple[dict[str, Tensor], ...],
    reference: dict[str, Tensor],
    where: str,
) -> None:
    """A transcoder's rows were one vector, the input and then the target; they are two parts now.

    The parts are called as the points were, else ``in`` and ``out``. One factor scaled the whole
    row, and one of the encoder's the input again: two scalers take their place.
    """
    signal, options = config["signal"], dict(config["options"])
    inputs = options.pop("inputs", None)
    config["options"] = options
    whole, known = math.prod(signal["shape"]), signal.get("parts", {})
    if inputs is None:
        first = next(iter(known.values()), signal)
        inputs = math.prod(first["shape"])
    if inputs == whole:  # rows that are their own target
        for group in groups:
            for prefix in _PREFIXES:
                group.pop(f"{prefix}encoder.factor", None)
        for kept in ("best_weights", "average"):
            _rename(progress.get(kept), kept.split("_")[0], "encoder.factor", None)
        return
    if groups[-1] and not progress.get("finished"):
        raise IsthmusError(
            f"{where} was begun by an earlier version, whose rows were an input and a target side "
            "by side: go on with isthmus 0.1.0, or fit it anew to the two by name"
        )
    named = len(known) == 2 and inputs == math.prod(next(iter(known.values()))["shape"])
    read, written = known if named else ("in", "out")
    about = {**signal, "parts": {}}
    config["signal"] = {
        **about,
        "kind": "collection",
        "shape": [],
        "parts": {
            read: {**about, "shape": [inputs]},
            written: {**about, "shape": [whole - inputs]},
        },
    }
    for group in groups:
        for prefix in _PREFIXES:
            if f"{prefix}scaler.scale" in group or f"{prefix}encoder.weight" in group:
                _split(group, prefix, key_of(read), key_of(written))
    # A finished run needs neither, and their tensors have other names.
    progress.update(best_weights={"__dict__": []}, average=None)
    rows = reference.pop("input").flatten(1)
    reference[f"input.{read}"], reference[f"input.{written}"] = rows.split(
        [inputs, whole - inputs], 1
    )


def _split(group: dict[str, Tensor], prefix: str, read: str, written: str) -> None:
    """The tensors of one prefix, under the names that the parts have."""
    for name in ("weight", "bias"):
        if f"{prefix}encoder.{name}" in group:
            tensor = group.pop(f"{prefix}encoder.{name}")
            group[f"{prefix}encoder.each.{read}.{name}"] = tensor
    factor = group.pop(f"{prefix}encoder.factor", None)
    if f"{prefix}scaler.scale" not in group:
        return
    for name in ("offset", "scale"):
        tensor = group.pop(f"{prefix}scaler.{name}")
        group[f"{prefix}scaler.each.{written}.{name}"] = tensor
        scaled = tensor / factor if name == "scale" and factor is not None else tensor.clone()
        group[f"{prefix}scaler.each.{read}.{name}"] = scaled
