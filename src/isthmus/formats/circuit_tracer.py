"""Transcoders as circuit-tracer reads them, a file a layer; mwhanna's are of this kind.

``layer_i.safetensors`` with ``W_enc`` and ``W_dec`` by latents' rows; whole cross-layer sets are
read by :mod:`isthmus.formats.layer_set`.
"""

import re
from collections.abc import Sequence
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.formats.found import Found, Stored, linear, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record

_FOUR = {"W_enc", "W_dec", "b_enc", "b_dec"}
_THETA, _SKIP = "activation_function.threshold", "W_skip"
_LAYER = re.compile(r"layer_(\d+)\.safetensors$")
_CROSS = re.compile(r"^W_(enc|dec)_\d+$")


def recognises(place: Location) -> bool:
    """Whether there are files of layers, or of a cross-layer set."""
    return any(_LAYER.search(name) for name in place.tensors) or _crosses(place)


def _crosses(place: Location) -> bool:
    names = [name for name in place.tensors if name.startswith(("W_enc_", "W_dec_"))]
    return any(_CROSS.match(key) for name in names[:1] for key in place.opened(name).entries)


def read(place: Location, ignore: Sequence[str] = ()) -> Found:
    """The transcoder of one layer."""
    if _crosses(place):
        raise IsthmusError(
            f"{place} is a part of a cross-layer transcoder, each latent of which writes to every "
            "later layer: pass the folder that has the files of all layers"
        )
    layers = sorted((name for name in place.tensors if _LAYER.search(name)), key=_number)
    if len(layers) != 1:
        raise IsthmusError(
            f"{place} is a set of transcoders of {len(layers)} layers: name one of them, "
            f"{place}/{layers[0]}, or read all by isthmus.formats.read_layers"
        )
    file = place.opened(layers[0])
    extra = {name for name in (_THETA, _SKIP) if name in file}
    only(place, _FOUR | extra, file.entries, "tensors", ignore)
    weights = linear(place, file, W_enc=("W_enc", False), b_enc="b_enc", W_dec=("W_dec", False),
                     b_dec="b_dec")  # fmt: skip
    if weights["W_enc"].shape[0] != weights["W_dec"].shape[0]:
        raise IsthmusError(
            f"{place} has encoders of {weights['W_enc'].shape[0]} and decoders of "
            f"{weights['W_dec'].shape[0]} latents, which stand first in this layout: transpose the "
            "one that has them last"
        )
    d_sae, d_in = weights["W_enc"].shape
    layer = _number(layers[0])
    about = _settings(place)
    if str(about.get("activation", "relu")) not in ("relu", "jump_relu", "jumprelu"):
        raise IsthmusError(
            f"{place} says activation={about['activation']!r} in config.yaml, and its k is not "
            "stored: it is not read here"
        )
    record = Record(
        format="circuit-tracer",
        activation="jumprelu" if _THETA in extra else "relu",
        d_in=d_in,
        d_sae=d_sae,
        d_out=weights["W_dec"].shape[1],
        transcoder=True,
        skip=_SKIP in extra,
        model_name=about.get("model_name"),
        metadata=about,
    )
    for field, key in (
        ("hook_name", "feature_input_hook"),
        ("hook_name_out", "feature_output_hook"),
    ):
        hook = about.get(key)
        setattr(record, field, None if hook is None else f"blocks.{layer}.{hook}")
    if _THETA in extra:
        weights["threshold"] = Stored(file, _THETA)
        record.threshold = "per latent"
    if _SKIP in extra:
        weights["W_skip"] = Stored(file, _SKIP)
    return Found(record, weights)


def _number(name: str) -> int:
    match = _LAYER.search(name)
    return -1 if match is None else int(match[1])


def _settings(place: Location) -> dict[str, Any]:
    """The plain lines of ``config.yaml``, ``name: value``; lists and the rest are left out."""
    path = place.folder / "config.yaml"
    if not path.is_file():
        return {}
    place.used.add("config.yaml")
    pairs = re.findall(
        r"^(\w+):[ \t]+(\S.*?)[ \t]*$", path.read_text(errors="replace"), re.MULTILINE
    )
    return {name: value.strip("\"'") for name, value in pairs if not value.startswith(("[", "{"))}
