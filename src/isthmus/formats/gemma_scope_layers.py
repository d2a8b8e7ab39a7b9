"""Cross-layer transcoders of the second Gemma Scope: a file a layer, in a folder.

Each has ``w_enc`` ``(d, F)``, ``w_dec`` ``(F, L, d)``, ``b_enc``, ``b_dec``, ``threshold`` and,
with a skip, ``affine_skip_connection`` ``(d read, d written)``; its name tells the layer.
"""

import math
import re
from collections.abc import Sequence

from isthmus.errors import IsthmusError
from isthmus.formats.found import Stored, Weight, needed, only
from isthmus.formats.location import Location
from isthmus.formats.record import Record
from isthmus.formats.several import CROSS_LAYER, Atoms, Several, layer_parts, layer_weights
from isthmus.formats.tensor_file import TensorFile

FIVE = ("w_enc", "w_dec", "b_enc", "b_dec", "threshold")
SKIP = "affine_skip_connection"
CONFIG = "config.json"
_LAYER = re.compile(r"layers?_(\d+).*\.safetensors$")


def recognises(place: Location) -> bool:
    """Whether there are files of several layers, each with decoders to all of them."""
    names = [name for name in place.tensors if _LAYER.search(name)]
    if place.only is not None or len(names) < 2:
        return False
    entries = place.opened(names[0]).entries
    return {*entries} >= {*FIVE} and len(entries["w_dec"].shape) == 3


def read(place: Location, ignore: Sequence[str] = ()) -> Several:
    """The cross-layer transcoder of a folder."""
    files = _files(place)
    d, latents = files[0].entries["w_enc"].shape
    width = files[0].entries["w_dec"].shape[2]
    skip, layers = SKIP in files[0], len(files)
    shapes = {"w_enc": (d, latents), "w_dec": (latents, layers, width), "b_enc": (latents,),
              "b_dec": (width,), "threshold": (latents,)}  # fmt: skip
    if skip:
        shapes[SKIP] = (d, width)
    for file in files:
        only(place, shapes, file.entries, "tensors", ignore)
        needed(place, file, shapes)
        for name, shape in shapes.items():
            if file.entries[name].shape != shape:
                raise IsthmusError(
                    f"{place} has {name} of shape {file.entries[name].shape} in {file.path.name} "
                    f"where {shape} is wanted, for {latents} latents of {layers} layers"
                )
    record = Record(
        format="gemma-scope-2-layers", activation="jumprelu", threshold="per latent", d_in=d,
        d_sae=latents * layers, d_out=width, transcoder=True, skip=skip,
        dtype=files[0].entries["w_enc"].dtype, tokens={"prepend_bos": True},
        metadata={**_settings(place), "layers": layers},
    )  # fmt: skip
    weights: list[dict[str, Weight]] = []
    for file in files:
        tensors: dict[str, Weight] = {
            "W_enc": Stored(file, "w_enc", transposed=True),
            "b_enc": Stored(file, "b_enc"),
            "b_dec": Stored(file, "b_dec"),
            "threshold": Stored(file, "threshold"),
        }
        if skip:
            tensors["W_skip"] = Stored(file, SKIP, transposed=True)
        weights.append(tensors)
    widths = {part: d if part.endswith(":in") else width for part in layer_parts(layers)}
    return Several(
        record,
        CROSS_LAYER,
        widths,
        {"latent_dim": latents, "activation": "jumprelu", **({"skip": True} if skip else {})},
        lambda: layer_weights(weights, width, _atoms(files, record), str(place)),
        sum(math.prod(entry.shape) for file in files for entry in file.entries.values()),
    )


def _files(place: Location) -> list[TensorFile]:
    """The file of every layer, in order."""
    by_layer: dict[int, str] = {}
    for name in place.tensors:
        match = _LAYER.search(name)
        if match is None:
            continue
        layer = int(match[1])
        if layer in by_layer:
            raise IsthmusError(
                f"{place} has several files of layer {layer} ({by_layer[layer]}, {name}): put "
                "those of one transcoder into a folder of their own"
            )
        by_layer[layer] = name
    files = [place.opened(by_layer[i]) for i in sorted(by_layer)]
    needed(place, files[0], ["w_enc", "w_dec"])
    shape = files[0].entries["w_dec"].shape
    layers = shape[1] if len(shape) == 3 else 1
    lacking = {*range(layers)} ^ {*by_layer}
    if lacking:
        raise IsthmusError(
            f"{place} is a cross-layer transcoder of {layers} layers and has files of "
            f"{', '.join(map(str, sorted(by_layer)))}: fetch those of all layers"
        )
    return files


def _settings(place: Location) -> dict[str, object]:
    return place.settings(CONFIG) if CONFIG in place.names else {}


def _atoms(files: Sequence[TensorFile], record: Record) -> Atoms:
    """What each layer writes to itself and to those behind it, some latents at a time."""
    early = 0
    for source, file in enumerate(files):
        first = 0
        for block in file.blocks("w_dec"):
            early += int((block[:, :source] != 0).sum())
            for target in range(source, len(files)):
                yield source, target, first, block[:, target]
            first += len(block)
    if early:
        record.notes.append(
            f"{early:,} entries of its decoders would write to layers before the one that is read, "
            "and count as nothing, as in circuit-tracer"
        )
