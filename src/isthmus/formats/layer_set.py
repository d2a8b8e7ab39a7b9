"""Cross-layer transcoders as circuit-tracer reads them, of which each latent writes to many layers.

``W_enc_i.safetensors`` has ``W_enc_i`` ``(F, d)``, ``b_enc_i``, ``b_dec_i`` and, of JumpReLU,
``threshold_i``; ``W_dec_i.safetensors`` has ``W_dec_i`` ``(F, L - i, d)``: what the latents of
layer i write to that layer and to each behind it.
"""

import math
import re
from collections.abc import Sequence

from isthmus.anatomy.rule import Activation
from isthmus.errors import IsthmusError
from isthmus.formats.found import Stored, needed, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.several import CROSS_LAYER, Atoms, Several, layer_parts, layer_weights

_ENCODER = re.compile(r"^W_enc_(\d+)\.safetensors$")


def recognises(place: Location) -> bool:
    """Whether there is a file of encoders for each layer."""
    return place.only is None and any(_ENCODER.match(name) for name in place.names)


def _atoms(place: Location, layers: int) -> Atoms:
    """What the latents of each layer write, some latents at a time."""
    for i in range(layers):
        first = 0
        for block in place.opened(f"W_dec_{i}.safetensors").blocks(f"W_dec_{i}"):
            for out in range(i, layers):
                yield i, out, first, block[:, out - i]
            first += len(block)


def read(place: Location, ignore: Sequence[str] = ()) -> Several:
    """What the headers of all files say, held against each other."""
    layers = _layers(place)
    if layers < 2:
        raise IsthmusError(f"{place} has one layer alone, and a set has more: fetch it again")
    entries = place.opened("W_enc_0.safetensors").entries
    rule: Activation = "jumprelu" if "threshold_0" in entries else "relu"
    if "W_enc_0" not in entries or len(entries["W_enc_0"].shape) != 2:
        raise IsthmusError(f"{place} lacks a matrix W_enc_0: fetch it again, nothing is filled in")
    latents, d = entries["W_enc_0"].shape
    for i in range(layers):
        encoder = place.opened(f"W_enc_{i}.safetensors")
        decoder = place.opened(f"W_dec_{i}.safetensors")
        encoder_shapes = {f"W_enc_{i}": (latents, d), f"b_enc_{i}": (latents,), f"b_dec_{i}": (d,)}
        if rule == "jumprelu":
            encoder_shapes[f"threshold_{i}"] = (latents,)
        only(place, encoder_shapes, encoder.entries, "tensors", ignore)
        only(place, [f"W_dec_{i}"], decoder.entries, "tensors", ignore)
        needed(place, encoder, encoder_shapes)
        needed(place, decoder, [f"W_dec_{i}"])
        shapes = {name: encoder.entries[name].shape for name in encoder_shapes}
        shapes[f"W_dec_{i}"] = decoder.entries[f"W_dec_{i}"].shape
        for name, shape in {**encoder_shapes, f"W_dec_{i}": (latents, layers - i, d)}.items():
            if shapes[name] != shape:
                raise IsthmusError(
                    f"{place} has {name} of shape {shapes[name]} where {shape} is wanted, for "
                    f"{latents} latents of {layers} layers: decoders go by the layer that is read"
                )
    record = Record(
        format="circuit-tracer-layers", activation=rule, d_in=d, d_sae=latents * layers, d_out=d,
        threshold="per latent" if rule == "jumprelu" else None, transcoder=True,
        dtype=entries["W_enc_0"].dtype, metadata={"layers": layers},
    )  # fmt: skip
    files = [f"W_{side}_{i}.safetensors" for i in range(layers) for side in ("enc", "dec")]
    stored = [entry for name in files for entry in place.opened(name).entries.values()]
    names = ["W_enc", "b_enc", "b_dec"] + (["threshold"] if rule == "jumprelu" else [])
    weights = [
        {name: Stored(place.opened(f"W_enc_{i}.safetensors"), f"{name}_{i}") for name in names}
        for i in range(layers)
    ]
    return Several(
        record,
        CROSS_LAYER,
        dict.fromkeys(layer_parts(layers), d),
        {"latent_dim": latents, "activation": rule},
        lambda: layer_weights(weights, d, _atoms(place, layers), str(place)),
        sum(math.prod(entry.shape) for entry in stored),
    )


def _layers(place: Location) -> int:
    numbers = {int(m[1]) for name in place.names if (m := _ENCODER.match(name))}
    if numbers != set(range(len(numbers))):
        raise IsthmusError(
            f"{place} has encoders of layers {', '.join(map(str, sorted(numbers)))} alone, and a "
            "cross-layer transcoder has those of all: fetch the others"
        )
    lacking = [i for i in sorted(numbers) if f"W_dec_{i}.safetensors" not in place.names]
    if lacking:
        raise IsthmusError(
            f"{place} lacks W_dec_{lacking[0]}.safetensors: fetch it again, nothing is filled in"
        )
    return len(numbers)
