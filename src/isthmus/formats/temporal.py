"""Temporal dictionaries, which predict a position from those before: recognised, not read."""

from collections.abc import Sequence

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found
from isthmus.formats.location import Location

CONFIG, WEIGHTS = "conf.yaml", "latest_ckpt.safetensors"


def recognises(place: Location) -> bool:
    """Whether the files are of this kind."""
    return CONFIG in place.names and WEIGHTS in place.names


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """An error that says what is missing here."""
    file = place.opened(WEIGHTS)
    layers = {name.split(".")[1] for name in file.entries if name.startswith("attn_layers.")}
    raise IsthmusError(
        f"{place} is a temporal dictionary with {len(layers)} layers of attention over positions, "
        "for which there is no recipe here yet: use SAELens for this one"
    )
