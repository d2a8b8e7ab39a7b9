"""What earlier formats of checkpoints called things, so that they are read as they are."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

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


def from_format_1(
    config: Mapping[str, Any], progress: dict[str, Any], *groups: dict[str, Tensor], where: str
) -> None:
    """Rename, in place, what a run of format 1 stored; an error where it cannot go on.

    ``groups`` are its weights and its training state, whose names may have a prefix.
    """
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
            for prefix in ("", "model.", "best.", "average."):
                found = group.pop(prefix + old, None)
                if found is not None and new is not None:
                    group[prefix + new] = found
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
